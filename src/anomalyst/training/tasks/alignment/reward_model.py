"""The reward model: which of two answers people like better, as one number an answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from anomalyst.backbones.huggingface import quiet
from anomalyst.errors import AnomalystError
from anomalyst.io.files import folder_written_whole, write_text
from anomalyst.training.alignment.objectives import reward_loss
from anomalyst.training.alignment.preferences import HELD_OUT, Compared, load_preferences
from anomalyst.training.recipe import Recipe
from anomalyst.training.tasks.alignment.pairs import PairTask, both_answers
from anomalyst.training.tasks.alignment.sft import load_actor
from anomalyst.vlm.huggingface.layer_patches import blocks_of
from anomalyst.vlm.huggingface.modeling import SHOWN
from anomalyst.vlm.huggingface.reward import AnomalystRewardModel

LEAST_PAIRS = 40  # to learn from
BINS = 5  # of the calibration: of equal width, from a chance of 0.5 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardRecipe(Recipe):
    """Step 2 of InstructGPT (Ouyang et al. 2022, section 3.5); `batch` counts pairs.

    `initial` is the actor, of which the reward model takes the first layers; empty: the shipped
    one.
    """

    task: Literal["reward"] = "reward"
    preferences: str = ""  # rankings, as `anomalyst store preferences` writes them
    layers: int = 2  # of the actor's
    margin: float = 0.5  # by which the scores of answers must differ, for each rank beyond one
    held_out: float = HELD_OUT  # share of the pictures that is not learnt from


class RewardTask(PairTask):
    """Pairs of answers; the loss is -log sigmoid(r_chosen - r_rejected - margin)."""

    recipe: RewardRecipe

    def __init__(self, recipe: RewardRecipe, out: Path):
        self.recipe, self.out = recipe, out
        found = load_preferences(Path(recipe.preferences), recipe.held_out)
        self.pairs, self.others = found.pairs(), found.held_out_pairs()
        if len(self.pairs) < LEAST_PAIRS or not self.others:
            raise AnomalystError(
                f"{recipe.preferences}: {len(self.pairs)} pairs of answers to learn from and "
                f"{len(self.others)} held out; a reward model needs {LEAST_PAIRS} and one. "
                "Rank more answers, or align with --reward verifiable, which needs nobody."
            )
        actor, self.processor = load_actor(recipe.initial)
        try:
            self.module: AnomalystRewardModel = AnomalystRewardModel.of(actor, recipe.layers)
        except ValueError as error:
            raise AnomalystError(f"reward recipe: {error}.") from error
        self.family = str(actor.config.text_config.model_type)

    def batch_of(self, pairs: Sequence[Compared]) -> dict[str, Tensor]:
        """Both answers of each pair, the chosen ones first: ids (2 B, T); margins (B,)."""
        made = both_answers(pairs, self.processor, self.family)
        beyond = torch.tensor([one.pair.margin - 1 for one in pairs])
        return {"ids": made.ids, "attended": made.attended, "beyond": beyond} | made.shown

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The ranking loss, and how many pairs are ranked right."""
        chosen, rejected, beyond = self._scores(batch, device)
        right = (chosen > rejected).float().mean()
        return reward_loss(chosen, rejected, self.recipe.margin * beyond), {"ranked_right": right}

    def _scores(self, batch: dict[str, Tensor], device: torch.device) -> tuple[Tensor, ...]:
        moved = {name: value.to(device) for name, value in batch.items()}
        shown = {name: moved[name] for name in SHOWN}
        chosen, rejected = self.module(moved["ids"], moved["attended"], **shown).chunk(2)
        return chosen, rejected, moved["beyond"]

    def blocks(self) -> dict[str, nn.Module]:
        """The layers of its language model."""
        found = blocks_of(self.module.model.language_model)
        return {f"model.language_model.{name}": block for name, block in found.items()}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """A folder as `AnomalystRewardModel.from_pretrained` reads it, with reward.json."""
        shipped = AnomalystRewardModel(self.module.config)
        shipped.load_state_dict(average)
        shipped.eval()
        figures = self._judged(shipped)
        folder = self.out / "model"
        with folder_written_whole(folder) as part, quiet():
            shipped.save_pretrained(part)
            self.processor.save_pretrained(part)
            write_text(part / "reward.json", json.dumps(figures, indent=1) + "\n")
        return folder

    @torch.no_grad()
    def _judged(self, model: AnomalystRewardModel) -> dict[str, Any]:
        """Accuracy and calibration on held-out pairs; sets the model's mean and spread by them."""
        chosen, rejected = [], []
        for start in range(0, len(self.others), 32):
            batch = self.batch_of(self.others[start : start + 32])
            shown = {name: batch[name] for name in SHOWN}
            better, worse = model(batch["ids"], batch["attended"], **shown).chunk(2)
            chosen.append(better)
            rejected.append(worse)
        better, worse = torch.cat(chosen), torch.cat(rejected)
        scores = torch.cat([better, worse])
        model.mean.copy_(scores.mean())
        model.spread.copy_(scores.std().clamp(min=1e-3))
        return {"pairs": len(self.pairs)} | calibration((better - worse).double().numpy())


def calibration(differences: np.ndarray) -> dict[str, Any]:
    """What differences r_chosen - r_rejected (n,) of held-out pairs say of a reward model.

    Accuracy; for each bin of the chance sigmoid(|difference|) that it gives the answer it likes,
    [mean chance, share that is right, pairs]; and their expected calibration error.
    """
    chance = 1 / (1 + np.exp(-np.abs(differences)))
    right = differences > 0
    bins = np.minimum(((chance - 0.5) * 2 * BINS).astype(int), BINS - 1)
    rows = [
        [float(chance[bins == b].mean()), float(right[bins == b].mean()), int((bins == b).sum())]
        for b in range(BINS)
        if (bins == b).any()
    ]
    error = sum(abs(said - was) * n for said, was, n in rows) / len(differences)
    return {
        "held_out_pairs": len(differences),
        "accuracy": float(right.mean()),
        "calibration_error": error,
        "calibration": rows,
    }
