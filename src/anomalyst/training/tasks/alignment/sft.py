"""Supervised fine-tuning: people's better answers, blended with the grammar's dialogues."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from anomalyst.errors import AnomalystError
from anomalyst.inspection.config import EMBEDDED_LANGUAGE
from anomalyst.training.alignment.preferences import HELD_OUT, load_preferences
from anomalyst.training.alignment.prompts import Prompt, held_out_looks, training_looks
from anomalyst.training.alignment.rollouts import with_answers
from anomalyst.training.task import Share
from anomalyst.training.tasks.language import LanguageRecipe, LanguageTask, load_initial
from anomalyst.vlm.huggingface import AnomalystModel, AnomalystProcessor


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendConfig:
    """Shares of what is learnt from; they count relative to one another."""

    corrections: float = 0.3
    grammar: float = 0.7

    def __post_init__(self) -> None:
        if min(self.corrections, self.grammar) < 0 or not self.corrections + self.grammar:
            raise ValueError(
                f"blend has corrections {self.corrections} and grammar {self.grammar}; shares of "
                "0 or more are needed, not both 0"
            )

    @property
    def corrected(self) -> float:
        """The share of corrections."""
        return self.corrections / (self.corrections + self.grammar)


@dataclass(frozen=True, slots=True, kw_only=True)
class SFTRecipe(LanguageRecipe):
    """Step 1 of InstructGPT (Ouyang et al. 2022); `initial` empty: the shipped model."""

    task: Literal["sft"] = "sft"  # type: ignore[assignment]
    preferences: str = ""  # rankings, as `anomalyst store preferences` writes them; empty: none
    blend: BlendConfig = field(default_factory=BlendConfig)
    held_out: float = HELD_OUT  # share of the pictures that is not learnt from

    def divisible(self) -> None:
        """Nothing: the model is the shipped one or `initial`, not the recipe's own."""
        return


class SFTTask(LanguageTask):
    """Corrected answers among the grammar's dialogues."""

    recipe: SFTRecipe

    def __init__(self, recipe: SFTRecipe, out: Path):
        self.corrections: list[tuple[Prompt, str]] = []
        self.others: list[tuple[Prompt, str]] = []
        if recipe.preferences:
            found = load_preferences(Path(recipe.preferences), recipe.held_out)
            self.corrections, self.others = found.corrections(), found.held_out_corrections()
            if not self.corrections and recipe.blend.corrections:
                raise AnomalystError(
                    f"{recipe.preferences}: holds no answer to learn from; correct some answers, "
                    "or set blend.corrections=0."
                )
        super().__init__(recipe, out)
        self.all_looks = self.looks
        self.looks = list(training_looks(self.all_looks))

    def held_out(self, share: Share, count: int) -> Iterator[dict[str, Tensor]]:
        """Corrections and dialogues about pictures that nothing is learnt from."""
        other = copy.copy(self)
        other.corrections, other.looks = self.others, list(held_out_looks(self.all_looks))
        return super(SFTTask, other).held_out(share, count)

    def _start(self) -> tuple[AnomalystModel, AnomalystProcessor]:
        return load_actor(self.recipe.initial)

    def _sample(self, rng: np.random.Generator) -> dict[str, Any]:
        if not self.corrections or rng.random() >= self.recipe.blend.corrected:
            return super()._sample(rng)
        prompt, better = self.corrections[int(rng.integers(len(self.corrections)))]
        return sample_of(prompt, better, self.processor, self.family)


def load_actor(initial: str) -> tuple[AnomalystModel, AnomalystProcessor]:
    """The model to align, as `load_initial` gives it; empty: the shipped one."""
    return load_initial(Path(initial) if initial else EMBEDDED_LANGUAGE)


def sample_of(
    prompt: Prompt, answer: str, processor: AnomalystProcessor, family: str
) -> dict[str, Tensor]:
    """A question and its answer as a sample of the language task; only the answer is learnt."""
    made = with_answers([prompt], [answer], processor, family)
    ids = made.ids[0]
    asked = len(ids) - made.said.shape[1]
    labels = torch.cat([torch.full((asked,), -100), ids[asked:]])
    return {"input_ids": ids, "labels": labels} | made.shown
