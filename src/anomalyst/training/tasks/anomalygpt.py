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
from anomalyst.io.files import write_text
from anomalyst.teaching.losses import dice_loss, focal_loss
from anomalyst.training.task import ProbeAnswer, Share, prefetched
from anomalyst.training.tasks.inspection_data import (
    AnomalyGPTRecipe,
    InspectionSamples,
    as_tokens,
    canvas_of,
    facts_about,
    labelled_test_pictures,
)
from anomalyst.training.tasks.instruction_data import InstructionSamples
from anomalyst.training.tasks.language import ask_yes_or_no, collated
from anomalyst.training.tasks.vision_language import VisionLanguageTask
from anomalyst.types import Features
from anomalyst.vlm.huggingface import AnomalystModel
from anomalyst.vlm.huggingface.loading import load_model


class AnomalyGPTTask(VisionLanguageTask):
    """Batches of inspections and, if there are any, of instructions in turn."""

    def __init__(self, recipe: AnomalyGPTRecipe, out: Path):
        self.recipe = recipe
        super().__init__(recipe, out)
        self.inspections = InspectionSamples(recipe, self.detector)
        self.instructions = InstructionSamples.of(recipe, self.detector)
        # Instructions have no map, and LoRA may be tuned later only.
        self.leaves_out |= bool(self.instructions.entries or recipe.lora_from)
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
        mask, weights = moved.pop("mask", None), moved.pop("weight", None)
        levels = [moved.pop(f"level{i}") for i in range(3)] if mask is not None else []
        states, given = moved.pop("states", None), moved.pop("given", None)
        parts: dict[str, Tensor] = {}
        if mask is not None:
            features = Features(levels, moved["image_embedding"])
            decoder = self.model.text_aligned
            assert decoder is not None  # its widths are in the configuration
            found = decoder.level_logits(features, mask.shape[-2:], states)
            gamma = recipe.gamma + recipe.adaptive_gamma * float(1 - mask.mean())
            parts["focal"] = torch.stack([focal_loss(x, mask, gamma) for x in found]).sum()
            parts["dice"] = torch.stack([dice_loss(x, mask) for x in found]).sum()
            learnt = decoder(features, mask.shape[-2:], states).sigmoid()
            # The words' gradient reaches the decoder through the maps that are its own.
            moved["anomaly_map"] = torch.where(
                given[:, None, None, None], moved["anomaly_map"], learnt
            )
        labels = moved.pop("labels")
        logits = self.model(**moved).logits[:, :-1].float()
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
            self._write_accuracy(load_model(weights)[0])

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
            answers.append(self._ask(self.model, name, picture, mask, other))
        return answers

    def _write_accuracy(self, model: AnomalystModel) -> None:
        counts: dict[str, dict[str, int]] = {}
        for sample in labelled_test_pictures(self.recipe):
            name = sample.category if sample.category in self.inspections.good else None
            name = name or next(iter(self.inspections.good))
            picture = canvas_of(
                sample.image, self.recipe.side_px, self.detector.encoder.multiple_px
            )
            mask = np.full(picture.shape[:2], sample.label == "anomalous")
            said = self._ask(model, name, picture, mask, self.inspections.good[name].pictures[0])
            row = counts.setdefault(name, {"asked": 0, "right": 0, "neither": 0, "spoiled": 0})
            row["asked"] += 1
            row["right"] += said.right is True
            row["neither"] += said.right is None
            row["spoiled"] += sample.label == "anomalous"
        write_text(self.out / "accuracy.json", json.dumps(counts, indent=2) + "\n")

    def _ask(
        self,
        model: AnomalystModel,
        product: str,
        picture: np.ndarray,
        mask: np.ndarray,
        good: np.ndarray,
    ) -> ProbeAnswer:
        """A question about a picture beside a good one."""
        facts = facts_about(mask, product)
        features = self.inspections.encode(picture)
        seen = self.inspections.visual_inputs(
            features, self.inspections.few_shot_map(features, good), facts
        )
        if model is self.model and "vision" in self.recipe.train:
            seen = self.seen(seen | {"pixels": to_pixels([picture])})
        told = facts.as_text() if self.recipe.facts else ""
        return ask_yes_or_no(model, self.processor, told, seen, defective=bool(facts.regions))


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over the tokens that are said, each weighing as its dialogue does: (B, T, V), (B, T)."""
    loss = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
    share = (labels >= 0).float() * (1.0 if weights is None else weights[:, None])
    return (loss * share).sum() / share.sum().clamp(min=1e-6)
