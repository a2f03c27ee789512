"""A shift's charts as SVG inside the page: verdicts over time, kinds, places, p-values."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from markupsafe import Markup, escape

from anomalyst.report.shift.facts import VERDICTS, Seen
from anomalyst.report.shift.period import Period
from anomalyst.types import PLACES

WIDE, HIGH, LEFT, TOP, FLOOR = 720, 220, 44, 12, 186
LABELS = 9  # clock times below a chart, at most
DOTS = 1500  # of a chart; of more parts, every so-manieth is drawn
LEAST_P = 1e-3  # smaller ones are drawn there


def verdicts_chart(period: Period, bars: Sequence[tuple[datetime, Counter[str]]]) -> Markup:
    """Bars over time, verdicts on top of each other."""
    most = max(1, *(counts.total() for _, counts in bars))
    step = (WIDE - LEFT) / len(bars)
    shapes = []
    for number, (start, counts) in enumerate(bars):
        y = float(FLOOR)
        for verdict in VERDICTS:
            tall = counts[verdict] / most * (FLOOR - TOP)
            y -= tall
            if counts[verdict]:
                title = f"from {period.when(start)}: {counts[verdict]} {verdict}"
                shapes.append(
                    f'<rect class="{verdict}" x="{LEFT + number * step + 1:.1f}" y="{y:.1f}" '
                    f'width="{max(1, step - 2):.1f}" height="{tall:.1f}">'
                    f"<title>{escape(title)}</title></rect>"
                )
    every = math.ceil(len(bars) / LABELS)
    for number, (start, _) in list(enumerate(bars))[::every]:
        shapes.append(_text(LEFT + number * step, FLOOR + 18, period.clock(start)))
        if number == 0 or period.day(start) != period.day(bars[number - every][0]):
            shapes.append(_text(LEFT + number * step, FLOOR + 32, period.day(start)[:-5]))
    shapes += [_text(LEFT - 6, TOP + 8, str(most), "end"), _text(LEFT - 6, FLOOR, "0", "end")]
    shapes.append(_line("axis", LEFT, FLOOR, WIDE, FLOOR))
    return _svg("parts over time, by verdict", shapes)


def kinds_chart(kinds: Mapping[str, int]) -> Markup:
    """A bar for each kind of defect."""
    most, high = max(kinds.values()), 26 * len(kinds) + 8
    shapes = []
    for number, (kind, count) in enumerate(kinds.items()):
        y, wide = 6 + 26 * number, count / most * (WIDE - 260)
        shapes.append(_text(196, y + 14, kind[:28], "end"))
        shapes.append(f'<rect class="bar" x="204" y="{y}" width="{wide:.1f}" height="18"/>')
        shapes.append(_text(210 + wide, y + 14, str(count)))
    return _svg("defects by kind", shapes, high)


def places_chart(places: Mapping[str, int]) -> Markup:
    """The nine places as a grid, the darker the more defects lie there."""
    most, side = max(places.values()), 72
    shapes = []
    for number, place in enumerate(PLACES):
        x, y, count = number % 3 * side, number // 3 * side, places.get(place, 0)
        shapes.append(
            f'<rect class="bar" x="{x + 1}" y="{y + 1}" width="{side - 2}" height="{side - 2}" '
            f'fill-opacity="{0.08 + 0.92 * count / most:.2f}">'
            f"<title>{place}: {count}</title></rect>"
        )
        shapes.append(_text(x + side / 2, y + side / 2 + 5, str(count), "middle", "count"))
    return _svg("defects by place", shapes, 3 * side, 3 * side)


def p_values_chart(period: Period, seen: Sequence[Seen]) -> Markup:
    """A dot for each part, the less like the good ones the lower; drift alarms as lines."""
    rows = [one for one in seen if one.p_value is not None and one.at in period]
    drawn = rows[:: max(1, math.ceil(len(rows) / DOTS))]

    def x(at: datetime) -> float:
        return LEFT + (at - period.start) / (period.end - period.start) * (WIDE - LEFT)

    def y(p: float) -> float:
        return TOP + math.log10(max(p, LEAST_P)) / math.log10(LEAST_P) * (FLOOR - TOP)

    shapes = [_line("axis", LEFT, FLOOR, WIDE, FLOOR)]
    shapes += [_text(LEFT - 6, y(p) + 4, f"{p:g}", "end") for p in (1, 0.1, 0.01, LEAST_P)]
    for one in drawn:
        assert one.p_value is not None
        shapes.append(
            f'<circle class="{one.verdict}" cx="{x(one.at):.1f}" cy="{y(one.p_value):.1f}" '
            'r="2.4"/>'
        )
    for one in (row for row in seen if row.alarm and row.at in period):
        title = f"drift alarm of {one.product} at {period.when(one.at)}"
        line = _line("alarm", x(one.at), TOP, x(one.at), FLOOR)
        shapes.append(f"<g>{line}<title>{escape(title)}</title></g>")
    shapes.append(_text(LEFT, FLOOR + 18, period.when(period.start)))
    shapes.append(_text(WIDE, FLOOR + 18, period.when(period.end), "end"))
    return _svg("p-values over time", shapes)


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "label") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg(title: str, shapes: Sequence[str], high: float = HIGH, wide: float = WIDE) -> Markup:
    head = f'<svg viewBox="0 0 {wide:.0f} {high:.0f}" role="img" aria-label="{title}">'
    return Markup(f"{head}{''.join(shapes)}</svg>")
