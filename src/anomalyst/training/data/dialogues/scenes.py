"""What a dialogue is about: a record of facts and the picture's features, true or imagined."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.training.data.dialogues.patterns import one_of, sentences
from anomalyst.training.data.feature_cache import MAP_PX, CachedFeatures
from anomalyst.types import Region, Verdict, place_of
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.prompt_learner import region_figures

Scene = tuple[Facts, str, dict[str, Tensor]]  # facts, the product's look, what a model is shown
# What a product looks like, in words that hold for families never seen.
LOOK_OF = {
    "a flat surface": (
        "surface", "textile", "paper", "leather", "wood", "stone", "metal sheet", "tiles", "ridges",
        "cell panel", "label",
    ),
    "a circuit board": ("bare board", "circuit module"),
    "an assembly of several parts": ("assembly",),
    "several loose pieces": ("tray", "loose goods"),
    "a single part": (
        "machined part", "screw", "moulded figure", "casting", "seal", "lens", "bottle", "cap",
        "pill", "biscuit", "cable", "zipper", "brush",
    ),
}  # fmt: skip
LOOKS = {family: look for look, families in LOOK_OF.items() for family in families}


def draw_scene(
    looks: Sequence[CachedFeatures], rng: np.random.Generator, *, imagined: float, size_px: int
) -> Scene:
    """Facts, what the product looks like, and what is shown.

    `imagined`: the share of scenes whose regions never were.
    """
    look = looks[int(rng.integers(len(looks)))]
    size_hw = (size_px, size_px)
    verdict: Verdict = str(rng.choice(["normal", "anomalous", "unsure"], p=[0.3, 0.48, 0.22]))  # type: ignore[assignment]
    anomaly_map, regions = look.map, look.regions
    if rng.random() < imagined:
        anomaly_map, regions = imagined_regions(rng, size_hw)
    if verdict == "normal":
        regions = ()
    elif not regions:
        verdict = "normal"
    regions = tuple(replace(r, kind=str(rng.choice(KINDS))) for r in regions)
    facts = _drawn_facts(verdict, regions, size_hw, look, rng)
    shown = {
        "anomaly_map": anomaly_map[None],
        "regions": region_figures(regions, size_hw, most=MOST_NAMED)[None],
        "image_embedding": look.embedding[None],
        "patches": look.patches[None],
    }
    return facts, LOOKS[look.family], shown


def imagined_regions(
    rng: np.random.Generator, size_hw: tuple[int, int]
) -> tuple[Tensor, tuple[Region, ...]]:
    """A map (1, 64, 64) with up to seven places that never were, and these as regions."""
    height, width = size_hw
    canvas = rng.random((MAP_PX, MAP_PX), np.float32) * 0.1
    regions = []
    for _ in range(int(rng.choice([1, 1, 1, 2, 2, 3, 4, 5, 7]))):
        w, h = (float(v) for v in np.exp(rng.uniform(np.log(0.02), np.log(0.4), 2)))
        x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
        box = (int(x * width), int(y * height), int((x + w) * width) + 1, int((y + h) * height) + 1)
        peak = float(rng.uniform(0.5, 1.0))
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        area = max(4, int((box[2] - box[0]) * (box[3] - box[1]) * rng.uniform(0.3, 1.0)))
        scaled = [round(v * MAP_PX / s) for v, s in zip(box, (width, height) * 2, strict=True)]
        cv2.rectangle(canvas, scaled[:2], scaled[2:], peak, -1)
        place = place_of(centre, size_hw)
        regions.append(Region(box_xyxy=box, area_px=area, peak=peak, centre_xy=centre, place=place))
    return torch.from_numpy(canvas)[None], tuple(sorted(regions, key=lambda r: -r.peak))


_P_VALUES = {"anomalous": (0.002, 0.05), "unsure": (0.03, 0.6), "normal": (0.1, 1.0)}


def _drawn_facts(
    verdict: Verdict,
    regions: tuple[Region, ...],
    size_hw: tuple[int, int],
    look: CachedFeatures,
    rng: np.random.Generator,
) -> Facts:
    """Facts about a verdict and its regions, the rest drawn."""
    low, high = _P_VALUES[verdict]
    return Facts(
        verdict=verdict,
        p_value=float(np.exp(rng.uniform(np.log(low), np.log(high)))),
        confidence=0.5,
        regions=regions,
        size_hw=size_hw,
        num_good=int(rng.choice([0, 1, 1, 1, 2, 4, 8, 12, 24])),
        guaranteed=bool(rng.random() < 0.4),
        colours=look.colours if rng.random() < 0.9 else (),
        product=_users_words(rng, "names") if rng.random() < 0.4 else "",
        told=_users_words(rng, "notes") if rng.random() < 0.25 else "",
    )


def _users_words(rng: np.random.Generator, heading: str) -> str:
    """Words of a user: some of ours, or letters that mean nothing."""
    if rng.random() < 0.5:
        return one_of(sentences("user")[heading], rng)
    words = ["".join(rng.choice(list("abcdefghiklmnoprstuvw0123"), int(rng.integers(2, 8))))
             for _ in range(int(rng.integers(1, 6)))]  # fmt: skip
    return " ".join(words)
