"""Direct preference optimization: pairs of answers without a reward model."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from anomalyst.errors import AnomalystError
from anomalyst.training.alignment.objectives import dpo_loss, masked_mean
from anomalyst.training.alignment.preferences import HELD_OUT, Compared, load_preferences
from anomalyst.training.alignment.rollouts import answer_states, token_logprobs
from anomalyst.training.recipe import Recipe
from anomalyst.training.tasks.alignment.pairs import PairTask, both_answers
from anomalyst.training.tasks.alignment.sft import load_actor
from anomalyst.training.tasks.language import DialogueTask
from anomalyst.vlm.huggingface import AnomalystModel


@dataclass(frozen=True, slots=True, kw_only=True)
class DPORecipe(Recipe):
    """Rafailov et al. 2023; `batch` counts pairs, `initial` is the model after step 1."""

    task: Literal["dpo"] = "dpo"
    preferences: str = ""  # rankings, as `anomalyst store preferences` writes them
    beta: float = 0.1  # how dear it is to leave the model of the start
    sft_weight: float = 0.0  # of the cross-entropy of the chosen answer beside it
    held_out: float = HELD_OUT  # share of the pictures that is not learnt from


class DPOTask(PairTask, DialogueTask):
    """The actor beside a frozen copy of itself."""

    recipe: DPORecipe

    def __init__(self, recipe: DPORecipe, out: Path):
        self.recipe, self.out = recipe, out
        found = load_preferences(Path(recipe.preferences), recipe.held_out)
        self.pairs, self.others = found.pairs(), found.held_out_pairs()
        if not self.pairs:
            raise AnomalystError(
                f"{recipe.preferences}: holds no two answers of unequal rank; rank some answers."
            )
        if recipe.validate_every and not self.others:
            raise AnomalystError(
                f"{recipe.preferences}: nothing can be held out of so few pictures; set "
                "validate_every=0."
            )
        self.model, self.processor = load_actor(recipe.initial)
        self.module = self.model
        self.reference = copy.deepcopy(self.model).eval().requires_grad_(False)

    def batch_of(self, pairs: Sequence[Compared]) -> dict[str, Tensor]:
        """Both answers of each pair as `answer_states` takes them, the chosen ones first."""
        return both_answers(pairs, self.processor, self.family).inputs

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation 7 of the paper, and how many pairs are ranked right."""
        moved = {name: value.to(device) for name, value in batch.items()}
        said = moved["said"]
        logprobs, _ = token_logprobs(self.model, answer_states(self.model, moved), moved)
        with torch.no_grad():
            reference = self.reference.to(device)
            before, _ = token_logprobs(reference, answer_states(reference, moved), moved)
        chosen, rejected = (logprobs * said).sum(1).chunk(2)
        ref_chosen, ref_rejected = (before * said).sum(1).chunk(2)
        loss, right = dpo_loss(chosen, rejected, ref_chosen, ref_rejected, self.recipe.beta)
        half = len(said) // 2
        if self.recipe.sft_weight:
            loss = loss - self.recipe.sft_weight * masked_mean(logprobs[:half], said[:half])
        return loss, {"ranked_right": right, "chosen_gain": (chosen - ref_chosen).mean()}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """A folder as `AnomalystModel.from_pretrained` reads it, in single precision."""
        shipped = AnomalystModel(self.model.config)
        shipped.load_state_dict(average)
        return self.write_model(shipped)
