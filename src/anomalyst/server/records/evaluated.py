"""How well a record's scores and maps agree with what people said and drew."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Any

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.metrics import auroc, pixel_metrics
from anomalyst.io.geometry import resize
from anomalyst.io.masks import mask_iou, union_of
from anomalyst.io.pictures import shrink_mask
from anomalyst.report.overlay import shown_size
from anomalyst.server.records.drawn import Said, mask_of, shows_defect
from anomalyst.server.records.judged import Judged, by_picture, judgements, not_undone
from anomalyst.server.records.standing import standing
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow

MAP_PX = 512  # longest side of the maps compared: the record keeps them small, and memory is finite
METRICS = ("image_auroc", "pixel_auroc", "pixel_ap", "pixel_aupro_30", "pixel_aupro_05")
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one product, or the means over all: each metric in [0, 1], nan where it is not defined."""

    product: str
    spoiled: int  # pictures that people called so
    fine: int
    masks: int  # spoiled pictures on which they drew where
    image_auroc: float
    pixel_auroc: float
    pixel_ap: float
    pixel_aupro_30: float
    pixel_aupro_05: float
    drawn_by: Mapping[str, int] = field(default_factory=dict)  # person -> pictures
    passed: Mapping[str, int] = field(default_factory=dict)  # why -> pictures left out

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values; None for what is not defined."""
        return {k: None if v != v else v for k, v in asdict(self).items()}


def evaluate_record(
    store: Store, product: str | None = None, told: Told = lambda *_: None
) -> list[Figures]:
    """The figures of each product that people judged; of several, their means last.

    Each picture counts as it was last inspected before anybody judged it, so that nothing learnt
    from it helps. The truth is what people say of it now (`judgements`) and, pixel by pixel, the
    union of the defects that they drew. Raises AnomalystError where nobody judged anything.
    """
    names = [product] if product else sorted({name for name, _ in store.verdicts()})
    found = [one for name in names if (one := _of_product(store, name, told)) is not None]
    if not found:
        of = f" of product {product!r}" if product else ""
        raise AnomalystError(
            f"nobody called a picture{of} right, wrong or fine, or drew on one; judge some "
            "inspections, then evaluate again."
        )
    return [*found, _mean(found)] if len(found) > 1 else found


@dataclass(slots=True)
class _Compared:
    """What is compared of one product, picture by picture."""

    passed: Counter[str]
    labels: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    maps: list[np.ndarray] = field(default_factory=list)
    masks: list[np.ndarray] = field(default_factory=list)
    people: Counter[str] = field(default_factory=Counter)

    def add(self, store: Store, row: InspectionRow, one: Judged) -> None:
        """One judged picture, as an inspection of it saw it."""
        self.labels.append(int(one.spoiled))
        self.scores.append(float(row.score or 0.0))
        drawn = one.defects
        if one.spoiled and not drawn:
            return
        try:
            heat, mask = _map_and_mask(store, row, drawn)
        except AnomalystError:
            self.passed["the map or a mask is no longer kept: by its score alone"] += 1
            return
        self.maps.append(heat)
        self.masks.append(mask)
        self.people.update({painted.by for painted, _ in drawn})


def _of_product(store: Store, name: str, told: Told) -> Figures | None:
    judged = judgements(store, name)
    both = [*judged.spoiled, *judged.fine]
    if not both:
        return None
    compared = _Compared(Counter({why: len(names) for why, names in judged.passed.items()}))
    rows = _before_words(store, name, both)
    for number, one in enumerate(both, start=1):
        compared.add(store, rows[one.picture], one)
        told(number, len(both))
    pixels = pixel_metrics(compared.maps, compared.masks)
    return Figures(
        product=name,
        spoiled=len(judged.spoiled),
        fine=len(judged.fine),
        masks=sum(bool(mask.any()) for mask in compared.masks),
        image_auroc=auroc(compared.labels, compared.scores),
        pixel_auroc=pixels.auroc,
        pixel_ap=pixels.ap,
        pixel_aupro_30=pixels.aupro_30,
        pixel_aupro_05=pixels.aupro_05,
        drawn_by=dict(compared.people),
        passed=dict(compared.passed),
    )


def _before_words(store: Store, name: str, judged: Sequence[Judged]) -> dict[str, InspectionRow]:
    """Of each picture, its last inspection before anybody said anything of it."""
    first = {one.picture: min(row.created_at for row, _ in one.said) for one in judged}
    last: dict[str, InspectionRow] = {}
    for row in store.every_inspection(Filter(product=name, state="done")):
        if row.picture in first and row.done_at and row.done_at <= first[row.picture]:
            last.setdefault(row.picture, row)  # the newest comes first
    # Where a clock was set back there is none: then the first that was spoken of.
    spoken = {one.picture: min((seen for _, seen in one.said), key=_id) for one in judged}
    return spoken | last


def _id(row: InspectionRow) -> str:
    return row.id


def _map_and_mask(
    store: Store, row: InspectionRow, drawn: Sequence[Said]
) -> tuple[np.ndarray, np.ndarray]:
    """The map as the record keeps it, and what people drew at its size."""
    heat = cv2.imread(str(store.pictures.existing(str(row.heat))), cv2.IMREAD_GRAYSCALE)
    if heat is None:
        raise AnomalystError(f"{row.name}: its map cannot be read.")
    size_hw = shown_size((heat.shape[0], heat.shape[1]), MAP_PX)
    small = resize(heat.astype(np.float32) / 255, size_hw)
    if not drawn:
        return small, np.zeros(size_hw, bool)
    whole = union_of([mask_of(painted, seen, store.pictures) for painted, seen in drawn])
    return small, shrink_mask(whole, size_hw)


def _mean(found: Sequence[Figures]) -> Figures:
    """Scores of different products cannot be compared, so their metrics are averaged."""

    def mean(metric: str) -> float:
        known = [value for one in found if (value := getattr(one, metric)) == value]
        return fmean(known) if known else float("nan")

    people, passed = Counter[str](), Counter[str]()
    for one in found:
        people.update(one.drawn_by)
        passed.update(one.passed)
    return Figures(
        product="mean",
        spoiled=sum(one.spoiled for one in found),
        fine=sum(one.fine for one in found),
        masks=sum(one.masks for one in found),
        drawn_by=dict(people),
        passed=dict(passed),
        **{metric: mean(metric) for metric in METRICS},
    )


def mask_agreement(store: Store, product: str | None = None) -> dict[tuple[str, str], list[float]]:
    """Two people -> the IoU of the defects that they drew, of each picture that both drew on.

    Where one of them says that there is no defect it is 0; where both do, nothing is compared.
    """
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for said in by_picture(not_undone(store, product)).values():
        people = sorted({row.by for row, _ in said if row.kind == "mask"})
        drawn = {by: mask for by in people if (mask := _drawn_by(store, by, said)) is not None}
        for one, other in combinations(drawn, 2):
            a, b = drawn[one], drawn[other]
            if a.shape == b.shape and (a.any() or b.any()):
                found[one, other].append(mask_iou(a, b))
    return dict(found)


def _drawn_by(store: Store, by: str, said: Sequence[Said]) -> np.ndarray | None:
    """All defects that a person drew on a picture; None where they drew none, nor an empty one."""
    own = [pair for pair in standing(said) if pair[0].by == by and shows_defect(pair[0])]
    try:
        masks = [mask_of(row, seen, store.pictures) for row, seen in own]
    except AnomalystError:  # no longer kept
        return None
    return union_of(masks) if masks else None


def agreement_lines(found: Mapping[tuple[str, str], Sequence[float]]) -> list[str]:
    """The same in words."""
    return [
        f"  {one} and {other}: IoU {fmean(values):.2f} on average, {min(values):.2f} at least "
        f"(n = {len(values)})"
        for (one, other), values in sorted(found.items())
    ]
