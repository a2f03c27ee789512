"""What the predecessor's recipe learns from: good pictures, defective twins, instructions."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.backbones.base import to_pixels
from anomalyst.datasets.reading import read_dataset
from anomalyst.datasets.splits import folds
from anomalyst.detection.detector import Detector, Memory
from anomalyst.detection.regions import find_regions, joined_px
from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import canvas_for, place
from anomalyst.io.pictures import open_picture
from anomalyst.synthetic.anomalies.methods import METHODS, GoodParts
from anomalyst.training.data.dialogues.writer import messages_of, write_dialogue
from anomalyst.training.tasks.vision_language import VisionLanguageRecipe
from anomalyst.types import Features, Sample
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.huggingface import AnomalystProcessor
from anomalyst.vlm.text_aligned import text_states
from anomalyst.vlm.visual_inputs import shown

INTENTS = ("presence", "sound", "where", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyGPTRecipe(VisionLanguageRecipe):
    """A language model of any size that reads a map; `batch` counts pictures or instructions.

    With `instructions` every second step is one of these.
    """

    task: Literal["anomalygpt"] = "anomalygpt"
    data: tuple[str, ...] = ()  # sets in any layout `data check` knows; their good pictures train
    limit: int = 0  # good pictures of each category that are used, for a quick trial; 0: all
    epochs: float = 0.0  # passes over the good pictures, once good, once defective; 0: `steps`
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
    yes_weight: float = 1.0  # of the cross-entropy of answers about defective pictures
    gamma: float = 2.0  # of the focal loss
    adaptive_gamma: float = 0.0  # added to gamma, times the share of the picture that is normal
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

    def resolved(self) -> "AnomalyGPTRecipe":
        """With the steps that `epochs` means: 2 x epochs x good pictures / batch."""
        self.check_sources()
        if self.validate_every and not self.folds:
            raise AnomalystError(
                "validate_every: a part of the good pictures must be held out; say folds=5."
            )
        count = sum(map(len, _good_samples(self, held_out=False).values()))
        if not self.epochs:
            return self
        return replace(self, steps=max(1, int(2 * self.epochs * count / self.batch)))


class InspectionSamples:
    """Samples of the recipe: what is shown, a question and its true answer."""

    def __init__(self, recipe: AnomalyGPTRecipe, detector: Detector, *, held_out: bool = False):
        self.recipe, self.detector = recipe, detector
        multiple = detector.encoder.multiple_px
        self.good = {
            name: GoodParts.of([canvas_of(s.image, recipe.side_px, multiple) for s in samples])
            for name, samples in _good_samples(recipe, held_out=held_out).items()
        }
        self.states = {
            name: text_states(recipe.states, name) for name in self.good if recipe.states
        }

    def sample(self, rng: np.random.Generator, *, defective: bool) -> dict[str, Any]:
        """A good picture, or a defective one, with a question and its true answer."""
        recipe = self.recipe
        name = str(rng.choice(list(self.good)))
        pictures = self.good[name].pictures
        own = int(rng.integers(len(pictures)))
        picture, mask = pictures[own], np.zeros(pictures[own].shape[:2], bool)
        if defective:
            picture, mask = self.good[name].defective(own, recipe.defects, rng)
        features = self.encode(picture)
        facts = facts_about(mask, name)
        written = write_dialogue(facts, "", rng, turns=recipe.turns, intents=INTENTS)
        turns = [(one.question, one.answer) for one in written]
        messages = messages_of(turns, facts.as_text() if recipe.facts else "")
        given = bool(rng.random() < recipe.few_shot_share) and len(pictures) > 1
        other = pictures[int(rng.integers(len(pictures)))]
        anomaly_map = self.few_shot_map(features, other) if given else torch.zeros(8, 8)
        small = F.interpolate(
            torch.from_numpy(mask)[None, None].float(), (64, 64), mode="area"
        )  # (1, 1, 64, 64)
        extra = {
            "mask": (small > 0.25).float(),
            "given": torch.tensor([given]),
            "weight": torch.tensor([recipe.yes_weight if facts.regions else 1.0]),
            **{f"level{i}": level for i, level in enumerate(features.levels[:3])},
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

    @torch.no_grad()
    def few_shot_map(self, query: Features, good: np.ndarray) -> Tensor:
        """The few-shot map beside a good picture of the product."""
        memory: Memory = self.detector.remember(self.detector.encode([good]))
        return torch.from_numpy(self.detector.judge(query, memory, None).map)

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


def labelled_test_pictures(recipe: AnomalyGPTRecipe) -> list[Sample]:
    """The labelled test pictures of the recipe's sets."""
    found = [s for folder in recipe.data for s in read_dataset(Path(folder))]
    return [s for s in found if s.split == "test" and s.label is not None]


def _good_samples(recipe: AnomalyGPTRecipe, *, held_out: bool) -> dict[str, list[Sample]]:
    """The good training pictures of each category, or those that the fold holds out.

    Raises AnomalystError for a folder that is no set, or sets without good training pictures.
    """
    found: dict[str, list[Sample]] = {}
    for folder in recipe.data:
        for sample in read_dataset(Path(folder)):
            if sample.split == "train" and sample.label == "normal":
                found.setdefault(sample.category or Path(folder).name, []).append(sample)
    if recipe.limit:
        found = {name: samples[: recipe.limit] for name, samples in found.items()}
    if recipe.folds:
        found = _fold(recipe, found, held_out=held_out)
    if not any(found.values()):
        raise AnomalystError(f"{', '.join(recipe.data)}: no good training picture is there.")
    return {name: samples for name, samples in found.items() if samples}


def _fold(
    recipe: AnomalyGPTRecipe, found: dict[str, list[Sample]], *, held_out: bool
) -> dict[str, list[Sample]]:
    """The part of a cross-validation: every category without a fold of it, or whole categories."""
    names = sorted(found)
    if recipe.fold_by == "categories":
        if len(names) < recipe.folds:
            raise AnomalystError(
                f"folds {recipe.folds} by categories: the sets have {len(names)}; ask for "
                f"{len(names)} or fewer."
            )
        return {n: found[n] for i, n in enumerate(names)
                if (i % recipe.folds == recipe.fold) is held_out}  # fmt: skip
    parts = {}
    for name in names:
        apart = folds(found[name], recipe.folds, recipe.seed)
        kept = [s for i, part in enumerate(apart) if i != recipe.fold for s in part]
        parts[name] = apart[recipe.fold] if held_out else kept
    return parts


def canvas_of(path: Path, side_px: int, multiple_px: int) -> np.ndarray:
    """A picture on the square canvas: uint8 (S, S, 3)."""
    return place(open_picture(path), canvas_for((side_px, side_px), side_px, multiple_px))[0]
