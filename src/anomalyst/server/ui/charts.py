"""Two small charts as SVG that follow the page's colours: calibration and the trend of scores."""

from collections.abc import Sequence
from html import escape
from typing import Any

WIDE, HIGH, LEFT, BOTTOM, TOP = 640, 220, 44, 30, 12
BINS = 24


def calibration_chart(scores: Sequence[float], limit: float | None) -> str:
    """A histogram of good scores, and the score from which a part is called anomalous."""
    if not scores:
        return "<p class='an-hint'>One good picture gives no scores of its own; teach more.</p>"
    low, high = min(scores), max([*scores, *([limit] if limit is not None else [])])
    span = max(high - low, 1e-6)
    low, high = low - 0.08 * span, high + 0.08 * span
    counts = [0] * BINS
    for score in scores:
        counts[min(BINS - 1, int((score - low) / (high - low) * BINS))] += 1
    wide = (WIDE - LEFT) / BINS
    bars = "".join(
        f"<rect class='an-bar' x='{LEFT + i * wide + 1:.1f}' width='{wide - 2:.1f}' "
        f"y='{y:.1f}' height='{HIGH - BOTTOM - y:.1f}'/>"
        for i, y in enumerate(_y(count, 0, max(counts)) for count in counts)
        if counts[i]
    )
    mark = ""
    if limit is not None:
        x = LEFT + (limit - low) / (high - low) * (WIDE - LEFT)
        mark = (
            f"<line class='an-limit' x1='{x:.1f}' x2='{x:.1f}' y1='{TOP}' y2='{HIGH - BOTTOM}'/>"
            f"<text x='{x - 4:.1f}' y='{TOP + 10}' text-anchor='end'>anomalous from here</text>"
        )
    return _svg(f"{bars}{mark}{_axis(low, high)}", f"scores of {len(scores)} good pictures")


def trend_chart(recent: Sequence[dict[str, Any]], limit: float | None) -> str:
    """Scores of the newest inspections, the oldest at the left."""
    if not recent:
        return "<p class='an-hint'>No inspection yet.</p>"
    scores = [one["score"] for one in recent]
    ends = [*scores, *([limit] if limit is not None else [])]
    low, high = min(ends), max(ends)
    step = (WIDE - LEFT - 10) / max(1, len(recent) - 1)
    dots = "".join(
        f"<circle class='an-dot-{escape(one['verdict'])}' r='3.5' cx='{LEFT + 5 + i * step:.1f}' "
        f"cy='{_y(one['score'], low, high):.1f}'><title>{one['score']:.2f}</title></circle>"
        for i, one in enumerate(recent)
    )
    line = ""
    if limit is not None:
        y = _y(limit, low, high)
        line = f"<line class='an-limit' x1='{LEFT}' x2='{WIDE}' y1='{y:.1f}' y2='{y:.1f}'/>"
    marks = "".join(
        f"<text x='{LEFT - 5}' y='{_y(v, low, high) + 4:.1f}' text-anchor='end'>{v:.1f}</text>"
        for v in (low, high)
    )
    return _svg(dots + line + marks, f"scores of the last {len(recent)} inspections")


def limit_of(scores: Sequence[float], rate: float) -> float | None:
    """The score from which a part is called anomalous; None: too few scores for the rate."""
    allowed = int(rate * (len(scores) + 1)) - 1  # good scores that may be at or above it
    return sorted(scores, reverse=True)[allowed] if allowed >= 0 and scores else None


def _y(value: float, low: float, high: float) -> float:
    share = (value - low) / max(high - low, 1e-6)
    return HIGH - BOTTOM - share * (HIGH - BOTTOM - TOP)


def _axis(low: float, high: float) -> str:
    marks = [low + (high - low) * i / 4 for i in range(5)]
    texts = "".join(
        f"<text x='{LEFT + (WIDE - LEFT - 20) * i / 4:.0f}' y='{HIGH - 10}'>{v:.1f}</text>"
        for i, v in enumerate(marks)
    )
    y = HIGH - BOTTOM
    return f"<line class='an-axis' x1='{LEFT}' x2='{WIDE}' y1='{y}' y2='{y}'/>{texts}"


def _svg(inside: str, title: str) -> str:
    return (
        f"<figure style='margin:0'><svg class='an-chart' viewBox='0 0 {WIDE} {HIGH}' role='img' "
        f"aria-label='{escape(title)}'>{inside}</svg>"
        f"<figcaption class='an-note'>{escape(title)}</figcaption></figure>"
    )
