"""The two stages of LLaVA and PandaGPT: captions teach the projector, instructions the rest.

The loss is the negative log-likelihood of every answer's tokens given all that was said before:
-log of the product over turns of p(answer_i | questions, earlier answers, picture), per token.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.training.data.dialogues.drawn import DrawnConfig, write_drawn
from anomalyst.training.task import ProbeAnswer, Share, prefetched
from anomalyst.training.tasks.inspection_data import as_tokens
from anomalyst.training.tasks.instruction_data import (
    Instruction,
    InstructionSamples,
    read_instructions,
)
from anomalyst.training.tasks.language import ask_yes_or_no, collated
from anomalyst.training.tasks.tuning import PARTS, checked_words
from anomalyst.training.tasks.vision_language import VisionLanguageRecipe, VisionLanguageTask
from anomalyst.vlm.huggingface import AnomalystModel
from anomalyst.vlm.huggingface.loading import load_model

WITHOUT_DECODER = tuple(part for part in PARTS if part != "decoder")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstructionRecipe(VisionLanguageRecipe):
    """Dialogues about pictures, captions among them; `batch` counts dialogues."""

    task: Literal["instructions"] = "instructions"
    # Drawn pictures with their sentences, kept in the run's folder, where `instructions` is empty.
    drawn: DrawnConfig = field(default_factory=DrawnConfig)
    held_out: float = 0.0  # share of the dialogues, the last ones, that are never trained on
    epochs: float = 0.0  # passes over the dialogues; 0: `steps`
    accuracy: bool = True  # at the end, ask about every held-out picture whose truth is known

    def __post_init__(self) -> None:
        checked_words(self.train, parts=WITHOUT_DECODER)
        self.check()
        if not (self.language_model or self.initial):
            raise ValueError("language_model or initial is needed: a model's folder")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out is {self.held_out}; a share below 1 is needed")
        if self.validate_every and not self.held_out:
            raise ValueError("validate_every: nothing is held out; say held_out=0.1")

    def resolved(self) -> "InstructionRecipe":
        """With the steps that `epochs` means."""
        self.check_sources()
        count = len(read_instructions(self)) if self.instructions else self.drawn.count
        if not self.epochs:
            return self
        kept = count - round(self.held_out * count)
        return replace(self, steps=max(1, int(self.epochs * kept / self.batch)))


class InstructionTask(VisionLanguageTask):
    """Every dialogue once, in a new order each time around."""

    has_decoder = False

    def __init__(self, recipe: InstructionRecipe, out: Path):
        super().__init__(recipe, out)
        if not recipe.instructions:
            written = write_drawn(out / "drawn", recipe.drawn)
            recipe = replace(recipe, instructions=str(written), images="")
        self.recipe = recipe
        self.samples = InstructionSamples.of(recipe, self.detector)
        entries = self.samples.entries
        kept = len(entries) - round(recipe.held_out * len(entries))
        if not kept:
            raise AnomalystError(
                f"held_out {recipe.held_out}: nothing is left of {len(entries)} dialogues to train "
                "on; hold out less."
            )
        self.trained_on, self.held = entries[:kept], entries[kept:]
        if recipe.validate_every and not self.held:
            raise AnomalystError(
                f"held_out {recipe.held_out}: of {len(entries)} dialogues none is held out, and "
                "validate_every needs one; hold out more."
            )
        self.choose_sparse()

    def single(self, index: int) -> dict[str, Any]:
        """A micro-batch of one dialogue, the index-th of the run."""
        return self._batch([self._at(index)])

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Any]]:
        """Dialogues in an order that is drawn anew for each time around."""
        make = partial(self._micro_batch, share.of)
        return prefetched(make, range(first_step, self.recipe.steps), share, self.recipe.workers)

    def held_out(self, share: Share, count: int) -> Iterator[dict[str, Any]]:
        """The dialogues that are held out, in order, and again from the first."""
        size = self.recipe.batch // share.of

        def make(step: int, part: int) -> dict[str, Any]:
            first = (step * share.of + part) * size
            return self._batch([self.held[(first + i) % len(self.held)] for i in range(size)])

        return prefetched(make, range(count), share, 0)

    def loss(self, batch: dict[str, Any], device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of all that the assistant says, the mean over its tokens."""
        moved = self.seen({name: values.to(device) for name, values in batch.items()})
        labels = moved.pop("labels")[:, 1:]
        logits = self.model(**moved).logits[:, :-1].float()
        said = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        return said / (labels >= 0).sum().clamp(min=1), {}

    def probe(self) -> list[ProbeAnswer]:
        """The training monitor's questions, about held-out pictures whose truth is known."""
        known = [one for one in self.held if one.defective is not None]
        return [
            self._ask(self.model, one, self.seen(self.samples.inputs(one)))
            for one in known[: self.recipe.probe_pictures]
        ]

    def finish(self, weights: Path) -> None:
        """accuracy.json: right answers about the held-out pictures whose truth is known."""
        super().finish(weights)
        if self.recipe.accuracy and any(one.defective is not None for one in self.held):
            counts = self.right_answers(load_model(weights)[0])
            write_text(self.out / "accuracy.json", json.dumps({"held out": counts}) + "\n")

    def right_answers(self, model: AnomalystModel) -> dict[str, int]:
        """How a model answers whether there is a defect: asked, right, neither, spoiled."""
        known = [one for one in self.held if one.defective is not None]
        answers = [self._ask(model, one, self.samples.shown(one)) for one in known]
        return {
            "asked": len(known),
            "right": sum(answer.right is True for answer in answers),
            "neither": sum(answer.right is None for answer in answers),
            "spoiled": sum(bool(one.defective) for one in known),
        }

    def _ask(self, model: AnomalystModel, one: Instruction, seen: dict[str, Tensor]) -> ProbeAnswer:
        return ask_yes_or_no(model, self.processor, "", seen, defective=bool(one.defective))

    def _micro_batch(self, parts: int, step: int, part: int) -> dict[str, Any]:
        size = self.recipe.batch // parts
        first = step * self.recipe.batch + part * size
        return self._batch([self._at(first + i) for i in range(size)])

    def _at(self, index: int) -> Instruction:
        around, place = divmod(index, len(self.trained_on))
        return self.trained_on[_order(self.recipe.seed, around, len(self.trained_on))[place]]

    def _batch(self, some: list[Instruction]) -> dict[str, Any]:
        longest = self.recipe.longest
        return collated(
            [as_tokens(self.samples.sample_of(one), self.processor, self.family, longest)
             for one in some]
        )  # fmt: skip


@lru_cache(maxsize=2)
def _order(seed: int, around: int, count: int) -> np.ndarray:
    """The order of dialogues of one time around: (count,) int."""
    return np.random.default_rng((seed, around)).permutation(count)
