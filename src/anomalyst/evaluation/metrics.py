"""How well scores and maps tell anomalous from good: exact, every distinct score is a threshold.

Nothing is binned or sampled. A metric that needs both classes is nan where only one is present
(no anomalous pixel, no good pixel, no picture at all). Scores may have any range and sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomalyst.errors import AnomalystError

Labels = Sequence[int] | np.ndarray  # (n,) of 0 good, 1 anomalous
Scores = Sequence[float] | np.ndarray  # (n,), higher is worse
Maps = Sequence[np.ndarray]  # (H, W) each; sizes may differ
PRO_LIMIT = 0.3  # MVTec AD, Bergmann et al. 2021, IJCV 129, section 5.2
STRICT_PRO_LIMIT = 0.05  # MVTec LOCO and MVTec AD 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMetrics:
    """One number per question about the scores of whole pictures, each in [0, 1] or nan."""

    auroc: float
    ap: float
    f1_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelMetrics(ImageMetrics):
    """The same of all pixels of all maps, and the areas under the per-region overlap curve."""

    aupro_30: float
    aupro_05: float


@dataclass(frozen=True, slots=True)
class Ranking:
    """What lies at or above each distinct score, from the highest score down.

    `hits` counts the anomalous, `alarms` the good: int64 (S,), S distinct scores.
    """

    hits: np.ndarray
    alarms: np.ndarray

    def has_both(self) -> bool:
        """Whether there are anomalous and good ones, without which no metric is defined."""
        return bool(len(self.hits) and self.hits[-1] and self.alarms[-1])

    def auroc(self) -> float:
        """Chance that an anomalous one scores above a good one; a tie counts half."""
        if not self.has_both():
            return float("nan")
        rates, recall = self.roc()
        return float(np.trapezoid(recall, rates))

    def average_precision(self) -> float:
        """Sum over thresholds of (gain in recall) x precision: no interpolation, as scikit-learn.

        The share of anomalous ones is its floor, so compare it only on the same pictures.
        """
        if not self.has_both():
            return float("nan")
        precision = self.hits / (self.hits + self.alarms)
        gains = np.diff(self.hits, prepend=0)
        return float(np.dot(gains, precision) / self.hits[-1])

    def f1_max(self) -> float:
        """The highest F1 any threshold reaches: an upper bound, no threshold was chosen for it."""
        if not self.has_both():
            return float("nan")
        # F1 = 2 TP / (TP + FP + P), which needs no division by a precision of 0 / 0.
        return float(np.max(2 * self.hits / (self.hits + self.alarms + self.hits[-1])))

    def figures(self) -> dict[str, float]:
        """The fields of `ImageMetrics`."""
        precision = self.average_precision()
        return {"auroc": self.auroc(), "ap": precision, "f1_max": self.f1_max()}

    def roc(self) -> tuple[np.ndarray, np.ndarray]:
        """(false alarm rate, recall), float64 (S + 1,) each, from (0, 0) to (1, 1)."""
        return _from_zero(self.alarms / self.alarms[-1]), _from_zero(self.hits / self.hits[-1])

    def precision_recall(self) -> tuple[np.ndarray, np.ndarray]:
        """(recall, precision), float64 (S,) each, from the highest score down."""
        return self.hits / self.hits[-1], self.hits / (self.hits + self.alarms)


def checked_scores(labels: Labels, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """Both as int64 and float64 (N,).

    Raises AnomalystError for unequal lengths, other labels, or scores that are not numbers.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if truth.shape != values.shape or truth.ndim != 1:
        raise AnomalystError(
            f"labels have shape {truth.shape}, scores {values.shape}; "
            "one label per score in one row is needed."
        )
    if not np.isin(truth, (0, 1)).all():
        raise AnomalystError("labels must be 0 (good) or 1 (anomalous); others were given.")
    if np.isnan(values).any():
        raise AnomalystError(
            f"{int(np.isnan(values).sum())} of {len(values)} scores are not numbers (nan); "
            "leave those pictures out."
        )
    return truth.astype(np.int64), values


def rank(labels: Labels, scores: Scores) -> Ranking:
    """Sort once, ask often.

    Raises AnomalystError for unequal lengths, other labels, or scores that are not numbers.
    """
    truth, values = checked_scores(labels, scores)
    order = np.argsort(-values)
    ends = _last_of_each(values[order])
    hits = np.cumsum(truth[order].astype(np.int64))[ends]
    return Ranking(hits, ends + 1 - hits)


def auroc(labels: Labels, scores: Scores) -> float:
    """Area under the ROC curve, see `Ranking.auroc`; input as for `rank`."""
    return rank(labels, scores).auroc()


def image_metrics(labels: Labels, scores: Scores) -> ImageMetrics:
    """All metrics of picture scores with one sort; input as for `rank`."""
    return ImageMetrics(**rank(labels, scores).figures())


def pixel_metrics(maps: Maps, masks: Maps, ignored: Maps | None = None) -> PixelMetrics:
    """All metrics of the maps, with one sort of all pixels.

    maps: float (H, W) each, compared as float32, higher is more anomalous; masks: (H, W) each,
    not 0 is anomalous, all 0 for a normal picture. Sizes may differ from picture to picture.
    ignored: bool (H, W) each, pixels that count as neither.
    Raises AnomalystError for unequal counts or shapes, and for values that are not numbers.
    """
    ranking, overlap = _rank_pixels(maps, masks, ignored)
    return PixelMetrics(
        **ranking.figures(),
        aupro_30=_area_up_to(PRO_LIMIT, ranking, overlap),
        aupro_05=_area_up_to(STRICT_PRO_LIMIT, ranking, overlap),
    )


def _rank_pixels(
    maps: Maps, masks: Maps, ignored: Maps | None = None
) -> tuple[Ranking, np.ndarray]:
    """(ranking of all pixels, mean share of a region at or above each score: float64 (S,))."""
    keys, areas_px = _keyed_pixels(maps, masks)
    if ignored is not None and len(ignored):
        keys = keys[~np.concatenate([np.asarray(one, bool).ravel() for one in ignored])]
    keys.sort()
    regions = keys & np.uint64(0xFFFFFFFF)
    keys >>= np.uint64(32)
    ends = _last_of_each(keys)
    hits = np.cumsum(regions > 0, dtype=np.int64)[ends]
    # A pixel of a region of A pixels, one of R regions, adds 1 / (A R) to the mean overlap.
    weights = np.zeros(len(areas_px) + 1)
    weights[1:] = 1.0 / (np.asarray(areas_px, dtype=np.float64) * max(1, len(areas_px)))
    overlap = np.minimum(np.cumsum(weights[regions])[ends], 1.0)
    return Ranking(hits, ends + 1 - hits), overlap


def _keyed_pixels(maps: Maps, masks: Maps) -> tuple[np.ndarray, list[int]]:
    """(one uint64 per pixel: falling score | number of its region, 0 if good; pixels per region).

    Sorting these sorts scores and regions together: numpy sorts plain integers several times
    faster than it sorts an index, and nothing has to be gathered afterwards.
    """
    if len(maps) != len(masks):
        raise AnomalystError(f"{len(maps)} maps and {len(masks)} masks; one mask each is needed.")
    keys = np.empty(sum(np.size(m) for m in maps), dtype=np.uint64)
    areas_px: list[int] = []
    start = 0
    for number, (scores, mask) in enumerate(zip(maps, masks, strict=True)):
        values, truth = np.asarray(scores, dtype=np.float32), np.asarray(mask) != 0
        _refuse_odd_maps(number, values, truth)
        stop = start + values.size
        keys[start:stop] = _falling(values).ravel()
        keys[start:stop] <<= np.uint64(32)
        if truth.any():
            labels, sizes_px = _regions(truth)
            keys[start:stop] |= np.where(labels > 0, labels + len(areas_px), 0).ravel()
            areas_px.extend(sizes_px)
        start = stop
    return keys, areas_px


def _refuse_odd_maps(number: int, values: np.ndarray, truth: np.ndarray) -> None:
    if values.ndim != 2 or values.shape != truth.shape:
        raise AnomalystError(
            f"map {number} has shape {values.shape}, its mask {truth.shape}; "
            "two equal shapes (height, width) are needed."
        )
    if np.isnan(values).any():
        raise AnomalystError(
            f"map {number} has {int(np.isnan(values).sum())} pixels that are not numbers (nan)."
        )


def _falling(values: np.ndarray) -> np.ndarray:
    """uint32 whose rising order is the falling order of the float32 values, ties kept.

    Positive floats order like their bits; negative ones the other way round (Herf 2001, "Radix
    tricks").
    """
    bits = (values + np.float32(0)).view(np.uint32)  # + 0: -0 and 0 are one score
    sign = np.uint32(0x80000000)
    return np.where(bits >= sign, bits, bits ^ np.uint32(0x7FFFFFFF))


def _regions(truth: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """(uint64 (H, W) numbers of the 8-connected regions from 1, pixels of each)."""
    count, labels = cv2.connectedComponents(truth.astype(np.uint8), connectivity=8)
    return labels.astype(np.uint64), np.bincount(labels.ravel(), minlength=count)[1:].tolist()


def _last_of_each(ordered: np.ndarray) -> np.ndarray:
    """Index of the last one of every run of equal values: int64 (S,)."""
    if not len(ordered):
        return np.zeros(0, dtype=np.int64)
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)


def _from_zero(curve: np.ndarray) -> np.ndarray:
    return np.concatenate(([0.0], curve))


def _area_up_to(limit: float, ranking: Ranking, overlap: np.ndarray) -> float:
    """Area under the per-region overlap curve up to a false alarm rate of `limit`, over `limit`.

    Bergmann et al. 2021, IJCV 129, section 5.2. Each 8-connected region of the masks weighs the
    same whatever its size; good pixels of all pictures, the normal ones too, make the rate.
    """
    if not ranking.has_both():
        return float("nan")
    rates, _ = ranking.roc()
    shares = _from_zero(overlap)
    beyond = int(np.searchsorted(rates, limit, side="right"))
    left, right = rates[beyond - 1], rates[beyond]
    part = (limit - left) / (right - left)
    at_limit = shares[beyond - 1] + part * (shares[beyond] - shares[beyond - 1])
    area = np.trapezoid(np.append(shares[:beyond], at_limit), np.append(rates[:beyond], limit))
    return min(1.0, float(area / limit))  # summing may end a rounding above 1
