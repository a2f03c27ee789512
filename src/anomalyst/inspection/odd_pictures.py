"""Where the odd good pictures of a product are odd, and the product without some of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.severity import severity_of
from anomalyst.calibration.verdict import chance_of_defect
from anomalyst.detection.detector import Detector
from anomalyst.detection.regions import level_below, regions_for
from anomalyst.errors import AnomalystError
from anomalyst.inspection.pipeline import Pipeline
from anomalyst.inspection.preprocessing import Stopwatch
from anomalyst.io.masks import packed
from anomalyst.measuring.settings import Measuring
from anomalyst.product import Product
from anomalyst.teaching.odd import FEWEST, OddPicture, odd_ones
from anomalyst.teaching.references import Studied, left_out_memories, left_out_scores
from anomalyst.types import Inspection, Region

PLACES_MOST = 3  # of an odd picture that are kept


def found_odd(
    pipeline: Pipeline,
    product: Product,
    studied: Studied,
    pictures: Mapping[Path, np.ndarray],
    known: Mapping[int, float],
    before: Sequence[OddPicture] = (),
) -> tuple[OddPicture, ...]:
    """The good pictures of a product that look odd beside the others, the oddest first.

    `pictures`: all of them, uint8 (H, W, 3), in order; `known`: the scores that calibrate, by
    number. Of a picture in `before` that a person called good, that stays said.
    """
    if len(pictures) < FEWEST:
        return ()
    groups = compared_scores(pipeline.detector, studied, known)
    usual = pipeline.procedural is not None
    found = odd_ones(groups, usual=usual)
    kept = {one.image for one in before if one.kept}
    odd = []
    for number, p_value in found.items():
        image = list(pictures)[number]
        scores = next(group for group in groups if number in group)
        others = Calibration(
            scores=tuple(s for i, s in scores.items() if i not in found), method="split"
        )
        size_hw = pictures[image].shape[0], pictures[image].shape[1]
        severity = severity_of(
            scores[number], others, (), size_hw, drawn=pipeline.procedural, usual=usual
        )
        seen = _beside_the_others(pipeline, product, studied, number, pictures[image])
        if not _stands_out(seen):
            continue
        one = OddPicture(
            image=image,
            spreads=severity.spreads or 0.0,
            p_value=p_value,
            regions=_places(seen.map),
            kept=image in kept,
        )
        odd.append(one)
    return tuple(odd)


def plain(studied: Studied) -> Studied:
    """The same without what was fitted to the good pictures, which makes them look less odd."""
    memories = [replace(memory, decoder=None) for memory in studied.memories]
    return replace(studied, memories=memories, decoder=None)


def compared_scores(
    detector: Detector, studied: Studied, known: Mapping[int, float]
) -> list[dict[int, float]]:
    """Scores of all good pictures by their numbers, in groups of which each is of one scale.

    `known`: those that calibrate. The others are the ones compared with, each left out in turn.
    """
    rest = [i for i in range(studied.features[0].embedding.shape[0]) if i not in known]
    groups = [dict(known)] if known else []
    if rest:
        groups.append(left_out_scores(detector, plain(studied), rest))
    return [{i: s for i, s in one.items() if math.isfinite(s)} for one in groups]


def _stands_out(seen: Inspection) -> bool:
    """Whether a place is more likely defective than not, where contrasts can say.

    A good part that differs from the others a little everywhere has a high score, too, and nobody
    could say what is odd on it (decisions.md).
    """
    contrast = seen.severity.contrast if seen.severity else None
    return contrast is None or chance_of_defect(contrast) >= 0.5


def _beside_the_others(
    pipeline: Pipeline, product: Product, studied: Studied, number: int, picture: np.ndarray
) -> Inspection:
    """What inspecting a good picture beside the others finds."""
    beside = replace(
        product,
        memories=left_out_memories(pipeline.detector, plain(studied), number),
        measuring=Measuring(),
        rule=None,
        kinds=None,
    )
    return pipeline.by_torch().run(product.references[number], picture, beside, 0.05, Stopwatch())


def _places(whole: np.ndarray) -> tuple[Region, ...]:
    """Where a good picture is odd, the oddest place first."""
    level = level_below(float(whole.max()))
    found = regions_for(whole, "anomalous")[:PLACES_MOST]
    return tuple(_outlined(region, whole, level) for region in found)


def _outlined(region: Region, whole: np.ndarray, level: float) -> Region:
    """The region with its outline kept as a mask: the map is not."""
    x0, y0, x1, y1 = region.box_xyxy
    inside = np.ascontiguousarray(whole[y0:y1, x0:x1] >= min(level, region.peak))
    size_hw = whole.shape[0], whole.shape[1]
    return replace(region, mask=packed(inside, size_hw, region.box_xyxy))


def kept(product: Product, images: Sequence[Path]) -> Product:
    """The product after a person called some of its odd pictures good; not saved yet."""
    said = set(images)
    odd = tuple(replace(one, kept=one.kept or one.image in said) for one in product.odd)
    return replace(product, odd=odd)


def left_rows(product: Product, images: Sequence[Path]) -> set[int]:
    """Which of a product's good parts go with pictures that are left out, by number.

    Raises AnomalystError for what is none of its good pictures, where none would be left, and for
    the one that its areas are drawn on.
    """
    rows = {path: row for row, path in enumerate(product.references)}
    for image in images:
        if image not in rows:
            raise AnomalystError(f"{image}: is no good picture of product {product.name!r}.")
    gone = {rows[image] for image in images}
    if len(gone) == len(rows):
        raise AnomalystError(f"product {product.name!r}: one good picture at least must stay.")
    if product.areas and 0 in gone:
        first = product.called(product.references[0])
        raise AnomalystError(
            f"{first}: the areas of {product.name!r} are drawn on it; keep it, or teach the "
            "product anew with another first picture and areas drawn on that."
        )
    return gone


def fitted_again(product: Product) -> Literal[True] | None:
    """Whether to fit a product's decoder anew, as it was: where it was although that calibrates."""
    return True if product.head and product.calibration.method == "leave-one-out" else None
