"""The predecessor's own recipe, on any set of pictures: map, prompt and words trained together.

Good pictures and their defective twins, question and answer with place words; one batch of these,
one of general instructions. Cross-entropy + focal + dice, weights 1, 1, 1 (AnomalyGPT, AAAI 2024,
equation 8). First the language model is frozen, then LoRA is tuned with the rest.
"""

import json
from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.backbones.base import to_pixels
from anomalyst.detection.classifiers.text_aligned import aligned_levels
from anomalyst.io.files import write_text
from anomalyst.teaching.losses import dice_loss, focal_loss
from anomalyst.training.task import ProbeAnswer, Share, prefetched
from anomalyst.training.tasks.category_figures import (
    LEARNT,
    ONE_SHOT,
    CategoryFigures,
    open_on_canvas,
)
from anomalyst.training.tasks.good_pictures import labelled_test_pictures
from anomalyst.training.tasks.inspection_data import (
    AnomalyGPTRecipe,
    InspectionSamples,
    as_tokens,
    facts_about,
)
from anomalyst.training.tasks.instruction_data import InstructionSamples
from anomalyst.training.tasks.language import ask_yes_or_no, collated
from anomalyst.training.tasks.vision_language import VisionLanguageTask
from anomalyst.types import Features
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.huggingface import AnomalystModel
from anomalyst.vlm.huggingface.loading import load_model


class AnomalyGPTTask(VisionLanguageTask):
    """Batches of inspections and, if there are any, of instructions in turn."""

    def __init__(self, recipe: AnomalyGPTRecipe, out: Path):
        self.recipe = recipe
        super().__init__(recipe, out)
        self.inspections = InspectionSamples(recipe, self.detector)
        self.instructions = InstructionSamples.of(recipe, self.detector)
        if recipe.limit_samples:
            self.instructions.entries = self.instructions.entries[: recipe.limit_samples]
        # Instructions have no map, and LoRA may be tuned later only.
        self.leaves_out |= bool(self.instructions.entries or recipe.lora_from or recipe.text_tower)
        self.choose_sparse()

    def single(self, index: int) -> dict[str, Any]:
        """A micro-batch of one sample, the index-th of the run."""
        step, part = divmod(index, self.recipe.batch)
        return self._micro_batch(self.inspections, self.recipe.batch, step, part)

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Any]]:
        """Inspections in even steps and instructions in odd ones, each drawn by its own numbers."""
        make = partial(self._micro_batch, self.inspections, share.of)
        return prefetched(make, range(first_step, self.recipe.steps), share, self.recipe.workers)

    def held_out(self, share: Share, count: int) -> Iterator[dict[str, Any]]:
        """Pictures of the fold that is held out."""
        make = partial(self._micro_batch, self._held, share.of)
        for batch in prefetched(make, range(0, 2 * count, 2), share, 0):
            yield batch | {"step": self.recipe.steps}

    @cached_property
    def _held(self) -> InspectionSamples:
        return InspectionSamples(self.recipe, self.detector, held_out=True)

    def _micro_batch(
        self, inspections: InspectionSamples, parts: int, step: int, part: int
    ) -> dict[str, Any]:
        recipe = self.recipe
        count = recipe.batch // parts
        samples = []
        for index in range(part * count, (part + 1) * count):
            rng = np.random.default_rng((recipe.seed, step, index))
            if self.instructions.entries and step % 2:
                sample = self.instructions.sample(rng)
            else:
                sample = inspections.sample(rng, defective=index % 2 == 1)
            samples.append(as_tokens(sample, self.processor, self.family, recipe.longest))
        return collated(samples) | {"step": step}

    def loss(self, batch: dict[str, Any], device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of what the words and the map lose; instructions have no map."""
        recipe = self.recipe
        for layer in self.adapted:
            layer._disable_adapters = batch["step"] < recipe.lora_from
        moved = {name: values.to(device) for name, values in batch.items() if name != "step"}
        moved = self.seen(moved)
        mask, weight = moved.pop("mask", None), moved.pop("weight", None)
        levels = [moved.pop(name) for name in sorted(moved) if name.startswith("level")]
        states, given = moved.pop("states", None), moved.pop("given", None)
        parts: dict[str, Tensor] = {}
        if mask is not None:
            decoder = self.model.text_aligned
            assert decoder is not None  # its widths are in the configuration
            found = decoder.level_logits(levels, mask.shape[-2:], states)
            # gamma_y = gamma / w_y: the rarer the category, the more its easy pixels count, too.
            gamma = recipe.gamma / weight if recipe.map_loss == "adaptive_focal" else recipe.gamma
            parts["focal"] = torch.stack([focal_loss(x, mask, gamma) for x in found]).sum()
            parts["dice"] = torch.stack([dice_loss(x, mask) for x in found]).sum()
            learnt = decoder(levels, mask.shape[-2:], states).sigmoid()
            # The words' gradient reaches the decoder through the maps that are its own.
            moved["anomaly_map"] = torch.where(
                given[:, None, None, None], moved["anomaly_map"], learnt
            )
        labels = moved.pop("labels")
        logits = self.model(**moved).logits[:, :-1].float()
        weights = weight if recipe.language_loss == "weighted" else None
        parts["language"] = weighted_cross_entropy(logits, labels[:, 1:], weights)
        shares = {"language": recipe.language_weight, "focal": recipe.focal_weight,
                  "dice": recipe.dice_weight}  # fmt: skip
        return torch.stack([shares[k] * v for k, v in parts.items()]).sum(), parts

    def outputs(self, device: torch.device) -> dict[str, Tensor]:
        """The map beside a good picture, and the words' loss."""
        batch = self._micro_batch(self.inspections, self.recipe.batch, 0, 0)
        found = {"the 1-shot map (image and pixel AUROC)": batch["anomaly_map"]}
        return found | {"the answers (accuracy)": self.loss(batch, device)[1]["language"]}

    def finish(self, weights: Path) -> None:
        """accuracy.json: right answers on the test pictures of every category, one good picture."""
        super().finish(weights)
        if self.recipe.accuracy:
            found = self.figures_by_category(load_model(weights)[0])
            write_text(self.out / "accuracy.json", json.dumps(found, indent=2) + "\n")

    def probe(self) -> list[ProbeAnswer]:
        """The fixed questions of the training monitor: good pictures and defective ones in turn."""
        rng = np.random.default_rng(self.recipe.seed)
        names = list(self.inspections.good)
        answers = []
        for index in range(self.recipe.probe_pictures):
            name = names[index % len(names)]
            good = self.inspections.good[name]
            pictures, own = good.pictures, int(rng.integers(len(good.pictures)))
            picture, mask = pictures[own], np.zeros(pictures[own].shape[:2], bool)
            if index % 2:
                picture, mask = good.defective(own, self.recipe.defects, rng)
            other = pictures[int(rng.integers(len(pictures)))]
            features, facts = self.inspections.encode(picture), facts_about(mask, name)
            beside = self.inspections.few_shot_map(features, other)
            pixels = to_pixels([picture]) if "vision" in self.recipe.train else None
            defective = bool(facts.regions)
            told = self._ask(self.model, features, beside, facts, defective, pixels)
            answers.append(told)
        return answers

    def figures_by_category(self, model: AnomalystModel) -> dict[str, dict[str, float]]:
        """Its answers about all test pictures, and its maps: `CategoryFigures.as_values`."""
        counted: dict[str, CategoryFigures] = {}
        for category, sample in labelled_test_pictures(self.recipe):
            name = (
                category if category in self.inspections.good else next(iter(self.inspections.good))
            )
            anomalous = sample.label == "anomalous"
            picture, mask = open_on_canvas(
                sample, self.recipe.side_px, self.detector.encoder.multiple_px
            )
            size_hw = (picture.shape[0], picture.shape[1])
            features = self.inspections.encode(picture)
            good = self.inspections.good[name].pictures[0]
            beside = self.inspections.few_shot_map(features, good)
            known = np.full(size_hw, anomalous) if mask is None else mask
            said = self._ask(model, features, beside, facts_about(known, name), anomalous)
            row = counted.setdefault(category, CategoryFigures())
            row.add(right=said.right, anomalous=anomalous, mask=mask)
            row.add_map(ONE_SHOT, beside.numpy(), size_hw)
            row.add_map(LEARNT, self._learnt_map(model, name, features, size_hw), size_hw)
        return {name: row.as_values() for name, row in counted.items()}

    @torch.no_grad()
    def _learnt_map(
        self, model: AnomalystModel, name: str, features: Features, size_hw: tuple[int, int]
    ) -> np.ndarray:
        """What the text-aligned decoder sees without a good picture: float32 (H, W)."""
        assert model.text_aligned is not None
        found = model.text_aligned(
            aligned_levels(features), size_hw, self.inspections.states.get(name)
        )
        return np.asarray(found.sigmoid()[0, 0].float())

    def _ask(
        self,
        model: AnomalystModel,
        features: Features,
        anomaly_map: Tensor,
        facts: Facts,
        defective: bool,
        pixels: Tensor | None = None,
    ) -> ProbeAnswer:
        """The fixed question about what was seen; only a recipe with facts is told them.

        `pixels` (1, 3, H, W): for an encoder in training to see.
        """
        seen = self.inspections.visual_inputs(features, anomaly_map, facts)
        if pixels is not None:
            seen = self.seen(seen | {"pixels": pixels})
        told = facts.as_text() if self.recipe.facts else ""
        return ask_yes_or_no(model, self.processor, told, seen, defective=defective)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over the tokens that are said, each times its dialogue's weight: (B, T, V), (B, T).

    Not over the sum of the weights: a micro-batch of one category would then not be weighted.
    """
    loss = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
    if weights is not None:
        loss = loss * weights[:, None]
    return loss.sum() / (labels >= 0).sum().clamp(min=1)
