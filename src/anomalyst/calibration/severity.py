"""How bad a part is: what the p-value cannot say, for it ends at 1 / (good pictures + 1).

With 19 good pictures a scratch and a broken half both have p = 0.05. How far a score lies above the
good ones has no end. It carries no guarantee; it orders what was found.
"""

import math
import statistics
from collections.abc import Sequence

from anomalyst.calibration.conformal import USUAL_SPREAD, USUAL_WORTH, Calibration
from anomalyst.types import Region, Severity

AS_SD = 1.4826  # median absolute deviation -> standard deviation of normal scores


def severity_of(
    score: float,
    own: Calibration,
    regions: Sequence[Region],
    size_hw: tuple[int, int],
    *,
    contrast: float | None = None,
    drawn: Calibration | None = None,
    shift: float = 0.0,
    usual: bool = True,
) -> Severity:
    """The severity of a picture with this score, whose regions these are.

    From two good pictures on, their scores tell the spread, with that of drawn products as prior
    knowledge (`usual`: where the score is of their scale, and `drawn` knows some). Beside one good
    picture or none it is the contrast, among those of drawn products' good pictures, which are
    lower by `shift`.
    """
    spreads, beside = _own_spreads(score, own, drawn is not None and usual), "own"
    if spreads is None and len(own.scores) < 2 and drawn is not None and contrast is not None:
        middle, spread = middle_and_spread(drawn.scores)
        spreads, beside = (contrast - shift - middle) / spread, "drawn"
    return Severity(
        spreads=spreads,
        beside=beside,  # type: ignore[arg-type]
        area_share=area_share(regions, size_hw),
        contrast=contrast,
    )


def severest(
    found: Sequence[Severity | None], regions: Sequence[Region], size_hw: tuple[int, int]
) -> Severity | None:
    """Of a part that several senses judged each by itself: the worst of them, on its drawing."""
    known = [one for one in found if one is not None]
    if not known:
        return None
    worst = max(known, key=lambda one: one.rank)
    return Severity(
        spreads=worst.spreads,
        beside=worst.beside,
        area_share=area_share(regions, size_hw),
        contrast=worst.contrast,
    )


def middle_and_spread(scores: Sequence[float]) -> tuple[float, float]:
    """Median, and the spread that outliers do not move: the median absolute deviation, as an sd.

    Where most scores are equal, their standard deviation; 0 where all are.
    """
    middle = statistics.median(scores)
    spread = AS_SD * statistics.median(abs(score - middle) for score in scores)
    return middle, spread or statistics.pstdev(scores)


def area_share(regions: Sequence[Region], size_hw: tuple[int, int]) -> float:
    """The share of the picture that regions cover, [0, 1]."""
    return min(1.0, sum(region.area_px for region in regions) / (size_hw[0] * size_hw[1]))


def _own_spreads(score: float, own: Calibration, usual: bool) -> float | None:
    """How far above its good pictures a score lies; None where they cannot tell.

    A median absolute deviation of few scores is near nothing by chance now and then, which the
    prior prevents.
    """
    count = len(own.scores)
    if count < 2 or not math.isfinite(score):
        return None
    middle, spread = middle_and_spread(own.scores)
    if usual:
        spread = math.sqrt(
            (USUAL_WORTH * USUAL_SPREAD**2 + count * spread**2) / (USUAL_WORTH + count)
        )
    return (score - middle) / spread if spread > 0 else None
