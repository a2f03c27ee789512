"""Rows of the record -> what a line made: yield, chart, what is found most, and where."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.report.production.control_chart import PChart, p_chart
from anomalyst.report.shift.facts import Seen
from anomalyst.report.shift.period import Period

WIDTHS = tuple(timedelta(minutes=one) for one in (1, 5, 15, 30, 60, 120, 240, 480, 1440, 10080))
MOST_SAMPLES, LEAST_SAMPLES = 60, 20  # of a chart by itself; by hand it may have MOST_BY_HAND
MOST_BY_HAND = 1000
GRID = 48  # cells of the longer side of a heat map
OTHERS = "others"
MOST_BARS = 10

RelativeBox = tuple[float, float, float, float]  # x0, y0, x1, y1 as shares of the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One inspection, with where its defects lie."""

    seen: Seen
    boxes: tuple[RelativeBox, ...] = ()
    late: bool = False
    signal_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The parts of a stretch of time."""

    start: datetime
    verdicts: Mapping[str, int]
    failed: int = 0
    late: int = 0

    @property
    def inspected(self) -> int:
        """Parts that have a verdict."""
        return sum(self.verdicts.values())

    @property
    def first_pass_yield(self) -> float | None:
        """The share that was normal at the first look; None: no part."""
        return self.verdicts["normal"] / self.inspected if self.inspected else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """What a line made in a time."""

    period: Period
    product: str | None
    line: str | None
    width: timedelta  # of a sample
    samples: tuple[Sample, ...]
    chart: PChart
    kinds: Mapping[str, int]  # defects, the commonest first
    places: Mapping[str, int]
    heat: np.ndarray = field(repr=False)  # (h, w) parts with a defect there
    signal_ms: tuple[float, ...] = ()  # sorted

    @property
    def verdicts(self) -> Counter[str]:
        """Of all parts."""
        return sum((Counter(one.verdicts) for one in self.samples), Counter())

    @property
    def inspected(self) -> int:
        """Parts that have a verdict."""
        return sum(one.inspected for one in self.samples)

    @property
    def first_pass_yield(self) -> float | None:
        """The share that was normal at the first look; None: no part."""
        return self.verdicts["normal"] / self.inspected if self.inspected else None

    @property
    def late(self) -> int:
        """Parts without a signal in time."""
        return sum(one.late for one in self.samples)

    @property
    def failed(self) -> int:
        """Parts that could not be inspected."""
        return sum(one.failed for one in self.samples)

    def signal_at(self, share: float) -> float | None:
        """The milliseconds that this share of the signals did not exceed."""
        times = self.signal_ms
        return times[min(len(times) - 1, int(share * len(times)))] if times else None

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """What the rules found: when, which rule, in which direction."""
        return [
            {
                "at": self.samples[one.sample].start,
                "rule": one.rule,
                "direction": "more defects" if one.high else "fewer defects",
                "share": float(self.chart.share[one.sample]),
                "inspected": self.samples[one.sample].inspected,
            }
            for one in self.chart.signals
        ]


def production_of(
    period: Period,
    parts: Sequence[Part],
    *,
    product: str | None = None,
    line: str | None = None,
    width: timedelta | None = None,
    centre: float | None = None,
) -> Production:
    """What parts add up to. `width`: of a sample; `centre`: the share of defectives of old.

    Raises AnomalystError for a width that gives more samples than can be shown.
    """
    width = width or width_for(period)
    count = max(1, -(-(period.end - period.start) // width))
    if count > MOST_BY_HAND:
        raise AnomalystError(
            f"samples of {width.total_seconds() / 60:g} minutes: the time holds {count} of them; "
            f"take longer ones, so that it is at most {MOST_BY_HAND}."
        )
    inside = [one for one in parts if one.seen.at in period]
    binned: list[list[Part]] = [[] for _ in range(count)]
    for one in inside:
        binned[(one.seen.at - period.start) // width].append(one)
    samples = tuple(_sample(period.start + n * width, found) for n, found in enumerate(binned))
    bad = [one for one in inside if one.seen.verdict == "anomalous"]
    defects = [defect for one in bad for defect in one.seen.defects]
    return Production(
        period=period,
        product=product,
        line=line,
        width=width,
        samples=samples,
        chart=p_chart(
            np.array([one.verdicts["anomalous"] for one in samples]),
            np.array([one.inspected for one in samples]),
            centre,
        ),
        kinds=_ranked(Counter(one.kind for one in defects)),
        places=_ranked(Counter(one.place for one in defects if one.place)),
        heat=heat_of([one.boxes for one in bad]),
        signal_ms=tuple(sorted(one.signal_ms for one in inside if one.signal_ms is not None)),
    )


def width_for(period: Period) -> timedelta:
    """A sample's width by itself: the longest that still gives some twenty of them."""
    length = period.end - period.start
    fitting = [one for one in WIDTHS if LEAST_SAMPLES <= length / one <= MOST_SAMPLES]
    fewest = [one for one in WIDTHS if length / one <= MOST_SAMPLES]
    return fitting[-1] if fitting else fewest[0] if fewest else length / MOST_SAMPLES


def heat_of(parts: Sequence[Sequence[RelativeBox]], grid: int = GRID) -> np.ndarray:
    """How many parts have a defect in each cell of their pictures: (grid, grid)."""
    heat = np.zeros((grid, grid), np.int32)
    for boxes in parts:
        touched = np.zeros_like(heat, bool)
        for x0, y0, x1, y1 in boxes:
            rows = slice(int(y0 * grid), max(int(np.ceil(y1 * grid)), int(y0 * grid) + 1))
            columns = slice(int(x0 * grid), max(int(np.ceil(x1 * grid)), int(x0 * grid) + 1))
            touched[rows, columns] = True
        heat += touched
    return heat


def _sample(start: datetime, parts: Sequence[Part]) -> Sample:
    verdicts = Counter(one.seen.verdict for one in parts if one.seen.verdict is not None)
    return Sample(
        start=start,
        verdicts={name: verdicts[name] for name in ("normal", "unsure", "anomalous")},
        failed=sum(one.seen.verdict is None and one.seen.failed for one in parts),
        late=sum(one.late for one in parts),
    )


def _ranked(counts: Counter[str]) -> dict[str, int]:
    """The commonest first; what is beyond ten counts together, at the end."""
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    shown, rest = ranked[:MOST_BARS], ranked[MOST_BARS:]
    return dict(shown) | ({OTHERS: sum(count for _, count in rest)} if rest else {})
