"""What the predecessor's recipe learns from: good pictures, defective twins, instructions."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.backbones.base import to_pixels
from anomalyst.detection.classifiers.text_aligned import aligned_levels
from anomalyst.detection.detector import Detector, Memory
from anomalyst.detection.regions import find_regions, joined_px
from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import canvas_for, place
from anomalyst.io.pictures import open_picture
from anomalyst.synthetic.anomalies.methods import METHODS, GoodParts
from anomalyst.training.data.dialogues.writer import messages_of, write_dialogue
from anomalyst.training.tasks.category_balance import (
    Sampling,
    drawing_shares,
    inverse_frequency_weights,
    refuse_single_pictures,
)
from anomalyst.training.tasks.good_pictures import good_samples, training_counts
from anomalyst.training.tasks.vision_language import VisionLanguageRecipe
from anomalyst.types import Features
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.huggingface import AnomalystProcessor
from anomalyst.vlm.text_tower import TextTower
from anomalyst.vlm.visual_inputs import shown

KEPT = 512  # good pictures whose features are remembered, some 1 MB each at 256 px
INTENTS = ("presence", "sound", "where", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyGPTRecipe(VisionLanguageRecipe):
    """A language model of any size that reads a map; `batch` counts pictures or instructions.

    With `instructions` every second step is one of these.
    """

    task: Literal["anomalygpt"] = "anomalygpt"
    data: tuple[str, ...] = ()  # sets in any layout `data check` knows; their good pictures train
    limit: int = 0  # good pictures of each category that are used, for a quick trial; 0: all
    limit_samples: int = 0  # of all good pictures together, and of the instructions; 0: all
    epochs: float = 0.0  # passes over the good pictures, once good, once defective; 0: `steps`
    warmup_share: float = 0.0  # of the steps, in place of warmup_steps; 0: those
    # Where a scheduler had a maximum of its own, the learning rate that was written may never have
    # acted: `reading` says which of the two this run has.
    reading: Literal["written", "scheduler"] = "written"
    scheduler_learning_rate: float = 0.0  # that maximum; 0: there was none
    folds: int = 0  # cross-validation: the good pictures in so many parts, one held out; 0: none
    fold: int = 0  # which part is held out
    fold_by: Literal["pictures", "categories"] = "pictures"
    train: tuple[str, ...] = ("projector", "prompt_learner", "decoder", "lora")
    defects: str = "mixed"  # how good pictures are defective; the predecessor: patch-blend
    few_shot_share: float = 0.5  # of the pictures whose map comes from a good one instead
    lora_from: int = 0  # step from which LoRA is tuned; before it the language model is frozen
    language_weight: float = 1.0
    focal_weight: float = 1.0
    dice_weight: float = 1.0
    sampling: Sampling = "uniform"  # how a category is drawn: category_balance.py
    language_loss: Literal["plain", "weighted"] = "plain"  # weighted: times the category's weight
    map_loss: Literal["focal", "adaptive_focal"] = "focal"  # adaptive: gamma / category's weight
    gamma: float = 2.0  # of the focal loss
    accuracy: bool = True  # at the end, ask about every test picture of the sets

    def __post_init__(self) -> None:
        self.check()
        if not (self.data and (self.language_model or self.initial)):
            raise ValueError("data and language_model are needed: a set, and a model's folder")
        if self.defects not in METHODS:
            raise ValueError(f"defects is {self.defects!r}; one of {', '.join(METHODS)}")
        if self.folds == 1 or (self.folds and not 0 <= self.fold < self.folds):
            raise ValueError(f"fold {self.fold} of folds {self.folds}: two or more are needed")
        if self.lora_from and "lora" not in self.train:
            raise ValueError(f"lora_from {self.lora_from}: train has no lora")
        if self.reading == "scheduler" and not self.scheduler_learning_rate > 0:
            raise ValueError(
                "reading is 'scheduler', but scheduler_learning_rate says no maximum; give it, "
                "or say reading: written"
            )

    @property
    def peak_learning_rate(self) -> float:
        """What was written, or the scheduler's own maximum; never a mixture."""
        if self.reading == "scheduler":
            return self.scheduler_learning_rate
        return self.learning_rate

    def resolved(self) -> "AnomalyGPTRecipe":
        """With the steps that `epochs` means, 2 x epochs x good pictures / batch, and warm-up."""
        self.check_sources()
        if self.validate_every and not self.folds:
            raise AnomalystError(
                "validate_every: a part of the good pictures must be held out; say folds=5."
            )
        counts = training_counts(self)
        refuse_single_pictures(counts, self.sampling)
        steps, warmup = self.steps, self.warmup_steps
        if self.epochs:
            steps = max(1, int(2 * self.epochs * sum(counts.values()) / self.batch))
        if self.warmup_share:
            warmup = max(1, round(self.warmup_share * steps))
        return replace(self, steps=steps, warmup_steps=warmup)


class InspectionSamples:
    """Samples of the recipe: what is shown, a question and its true answer."""

    def __init__(self, recipe: AnomalyGPTRecipe, detector: Detector, *, held_out: bool = False):
        self.recipe, self.detector = recipe, detector
        multiple = detector.encoder.multiple_px
        self.good = {
            name: GoodParts.of([canvas_of(s.image, recipe.side_px, multiple) for s in samples])
            for name, samples in good_samples(recipe, held_out=held_out).items()
        }
        counts = {name: len(good.pictures) for name, good in self.good.items()}
        self.weights = inverse_frequency_weights(training_counts(recipe))
        # None draws as ever: the curves of earlier runs stay.
        self.shares = None
        if recipe.sampling != "uniform":
            self.shares = drawing_shares(counts, recipe.sampling)
        self._good_features: dict[tuple[str, int], Features] = {}
        tower = TextTower(recipe.text_tower) if recipe.text_tower else None
        self.states = {} if tower is None else {name: tower.states(name) for name in self.good}

    def category(self, rng: np.random.Generator) -> str:
        """One of the categories, as often as the recipe's sampling says."""
        return str(rng.choice(list(self.good), p=self.shares))

    def sample(self, rng: np.random.Generator, *, defective: bool) -> dict[str, Any]:
        """A good picture, or a defective one, with a question and its true answer."""
        recipe = self.recipe
        name = self.category(rng)
        pictures = self.good[name].pictures
        own = int(rng.integers(len(pictures)))
        picture, mask = pictures[own], np.zeros(pictures[own].shape[:2], bool)
        if defective:
            picture, mask = self.good[name].defective(own, recipe.defects, rng)
        features = self.encode(picture) if defective else self._features_of_good(name, own)
        facts = facts_about(mask, name)
        written = write_dialogue(facts, "", rng, turns=recipe.turns, intents=INTENTS)
        turns = [(one.question, one.answer) for one in written]
        messages = messages_of(turns, facts.as_text() if recipe.facts else "")
        given = bool(rng.random() < recipe.few_shot_share) and len(pictures) > 1
        other = self._features_of_good(name, int(rng.integers(len(pictures)))) if given else None
        anomaly_map = torch.zeros(8, 8) if other is None else self._map_beside(features, other)
        small = F.interpolate(
            torch.from_numpy(mask)[None, None].float(), (64, 64), mode="area"
        )  # (1, 1, 64, 64)
        extra = {
            "mask": (small > 0.25).float(),
            "given": torch.tensor([given]),
            "weight": torch.tensor([self.weights.get(name, 1.0)]),  # held out: of no training
            **{f"level{i}": level for i, level in enumerate(aligned_levels(features))},
        }
        if "vision" in recipe.train:
            extra["pixels"] = to_pixels([picture])
        if self.states:
            extra["states"] = self.states[name][None]
        seen = self.visual_inputs(features, anomaly_map, facts)
        return {"messages": messages} | seen | extra

    @torch.no_grad()
    def encode(self, picture: np.ndarray) -> Features:
        """What the frozen encoder sees."""
        return self.detector.encode([picture])

    def few_shot_map(self, query: Features, good: np.ndarray) -> Tensor:
        """The few-shot map beside a good picture of the product."""
        return self._map_beside(query, self.encode(good))

    @torch.no_grad()
    def _map_beside(self, query: Features, good: Features) -> Tensor:
        memory: Memory = self.detector.remember(good)
        return torch.from_numpy(self.detector.judge(query, memory, None).map)

    def _features_of_good(self, name: str, index: int) -> Features:
        """Of a good picture; the encoder is frozen, so the last KEPT are not computed twice."""
        key = name, index
        if key not in self._good_features:
            if len(self._good_features) >= KEPT:
                self._good_features.pop(next(iter(self._good_features)))
            self._good_features[key] = self.encode(self.good[name].pictures[index])
        return self._good_features[key]

    def visual_inputs(
        self, features: Features, anomaly_map: Tensor, facts: Facts
    ) -> dict[str, Tensor]:
        """What a picture is shown as."""
        small = F.interpolate(anomaly_map[None, None], (64, 64), mode="bilinear")[0, 0]
        regions = facts.regions if self.recipe.facts else ()
        return shown(small, regions, facts.size_hw, features, most=MOST_NAMED)


def facts_about(mask: np.ndarray, product: str) -> Facts:
    """What is true of a picture with this mask (H, W) bool."""
    regions = find_regions(mask.astype(np.float32), 0.5, 4, join_px=joined_px(mask.shape))
    return Facts(
        verdict="anomalous" if regions else "normal", p_value=0.02 if regions else 0.5,
        confidence=0.9, regions=regions, size_hw=(mask.shape[0], mask.shape[1]), num_good=1,
        guaranteed=False, product=product,
    )  # fmt: skip


def as_tokens(
    sample: dict[str, Any], processor: AnomalystProcessor, family: str, longest: int
) -> dict[str, Any]:
    """A sample with its messages as token ids and labels."""
    ids, labels = processor.training_ids(sample.pop("messages"), family)
    return {"input_ids": ids[:longest], "labels": labels[:longest]} | sample


def canvas_of(path: Path, side_px: int, multiple_px: int) -> np.ndarray:
    """A picture on the square canvas: uint8 (S, S, 3)."""
    return place(open_picture(path), canvas_for((side_px, side_px), side_px, multiple_px))[0]
