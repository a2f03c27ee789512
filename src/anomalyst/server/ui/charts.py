"""Two small charts as SVG that follow the page's colours: calibration and the trend of scores."""

from collections.abc import Sequence
from typing import Any

from anomalyst.server.ui.components import hint, render
from anomalyst.server.ui.wording import t

WIDE, HIGH, LEFT, BOTTOM, TOP = 640, 220, 44, 30, 12
FLOOR = HIGH - BOTTOM
BINS = 24


def calibration_chart(scores: Sequence[float], limit: float | None) -> str:
    """A histogram of good scores, and the score from which a part is called anomalous."""
    if not scores:
        return hint(t("chart.one"))
    low, high = min(scores), max([*scores, *([limit] if limit is not None else [])])
    span = max(high - low, 1e-6)
    low, high = low - 0.08 * span, high + 0.08 * span
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, int((score - low) / (high - low) * BINS))] += 1
    wide = (WIDE - LEFT) / BINS
    bars = [
        (f"{LEFT + i * wide + 1:.1f}", f"{wide - 2:.1f}", f"{y:.1f}", f"{FLOOR - y:.1f}")
        for i, y in enumerate(_y(count, 0, max(counts)) for count in counts)
        if counts[i]
    ]
    lines: list[tuple[Any, ...]] = []
    if limit is not None:
        x = LEFT + (limit - low) / (high - low) * (WIDE - LEFT)
        words = [(f"{x - 4:.1f}", TOP + 10, True, t("chart.from"))]
        lines.append(("limit", f"{x:.1f}", f"{x:.1f}", TOP, FLOOR, words))
    marks = [  # the last one ends where the axis does
        (f"{LEFT + (WIDE - LEFT) * i / 4:.0f}", HIGH - 10, i == 4, f"{value:.1f}")
        for i, value in enumerate(low + (high - low) * i / 4 for i in range(5))
    ]
    lines.append(("axis", LEFT, WIDE, FLOOR, FLOOR, marks))
    return _chart(t("chart.good", count=len(scores)), bars=bars, lines=lines)


def trend_chart(recent: Sequence[dict[str, Any]], limit: float | None) -> str:
    """Scores of the newest inspections, the oldest at the left."""
    if not recent:
        return hint(t("chart.none"))
    ends = [*(one["score"] for one in recent), *([limit] if limit is not None else [])]
    low, high = min(ends), max(ends)
    step = (WIDE - LEFT - 10) / max(1, len(recent) - 1)
    dots = [
        (verdict, f"{LEFT + 5 + i * step:.1f}", f"{_y(score, low, high):.1f}", f"{score:.2f}")
        for i, (verdict, score) in enumerate((one["verdict"], one["score"]) for one in recent)
    ]
    y = "" if limit is None else f"{_y(limit, low, high):.1f}"
    marks = [(LEFT - 5, f"{_y(v, low, high) + 4:.1f}", True, f"{v:.1f}") for v in (low, high)]
    return _chart(
        t("chart.recent", count=len(recent)), dots=dots, marks=marks,
        lines=[("limit", LEFT, WIDE, y, y, [])] if y else [],
    )  # fmt: skip


def limit_of(scores: Sequence[float], rate: float) -> float | None:
    """The score from which a part is called anomalous; None: too few scores for the rate."""
    allowed = int(rate * (len(scores) + 1)) - 1  # good scores that may be at or above it
    return sorted(scores, reverse=True)[allowed] if allowed >= 0 and scores else None


def _y(value: float, low: float, high: float) -> float:
    return FLOOR - (value - low) / max(high - low, 1e-6) * (FLOOR - TOP)


def _chart(title: str, **shapes: list[Any]) -> str:
    return render("chart.html.j2", size=(WIDE, HIGH), title=title, **shapes)
