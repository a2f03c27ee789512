"""Charts as SVG inside a page: of a shift (verdicts over time, kinds, places, p-values) and of what
a line makes (yield, control chart, Pareto)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from markupsafe import Markup, escape

from anomalyst.report.production.control_chart import PChart
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
    shapes += _clocks(period, [start for start, _ in bars], step)
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


def yield_chart(period: Period, samples: Sequence[tuple[datetime, float | None, int]]) -> Markup:
    """First-pass yield over time: the start, the share and the number of parts of each sample."""
    shares = [share for _, share, _ in samples if share is not None]
    low = math.floor(20 * min(shares, default=0.0)) / 20 if min(shares, default=0) < 1 else 0.95
    step = (WIDE - LEFT) / len(samples)

    def y(share: float) -> float:
        return FLOOR - (share - low) / (1 - low) * (FLOOR - TOP)

    shapes = [_line("axis", LEFT, FLOOR, WIDE, FLOOR)]
    shapes += [_text(LEFT - 6, y(one) + 4, f"{100 * one:g} %", "end") for one in (low, 1.0)]
    shapes += _joined("yield", [
        None if share is None else (LEFT + (number + 0.5) * step, y(share))
        for number, (_, share, _) in enumerate(samples)
    ])  # fmt: skip
    for number, (start, share, count) in enumerate(samples):
        if share is not None:
            title = f"from {period.when(start)}: {100 * share:.1f} % of {count}"
            shapes.append(_dot("dot", LEFT + (number + 0.5) * step, y(share), title))
    shapes += _clocks(period, [start for start, _, _ in samples], step)
    return _svg("first-pass yield over time", shapes)


def control_chart(period: Period, starts: Sequence[datetime], chart: PChart) -> Markup:
    """Shares of defectives between their limits; a point that a rule signals says which."""
    step = (WIDE - LEFT) / len(starts)
    seen = [i for i in range(len(starts)) if chart.inspected[i] > 0]
    most = max([0.01, chart.centre, *(max(chart.share[i], chart.upper[i]) for i in seen)])

    def y(share: float) -> float:
        return FLOOR - share / most * (FLOOR - TOP)

    def x(sample: int) -> float:
        return LEFT + (sample + 0.5) * step

    shapes = [_line("axis", LEFT, FLOOR, WIDE, FLOOR)]
    for limits in (chart.lower, chart.upper):  # of each sample, as wide as it is: sizes vary
        shapes += [
            _line("limit", LEFT + i * step, y(limits[i]), LEFT + (i + 1) * step, y(limits[i]))
            for i in seen
        ]
    shapes.append(_line("centre", LEFT, y(chart.centre), WIDE, y(chart.centre)))
    shapes += [
        _text(LEFT - 6, y(one) + 4, f"{100 * one:.3g} %", "end")
        for one in (0.0, chart.centre, most)
        if one in (0.0, most) or 14 < y(0) - y(one) < FLOOR - TOP - 14
    ]
    shapes += _joined("yield", [
        (x(i), y(chart.share[i])) if chart.inspected[i] > 0 else None for i in range(len(starts))
    ])  # fmt: skip
    rules: dict[int, list[str]] = {}
    for one in chart.signals:
        rules.setdefault(one.sample, []).append(one.rule)
    for i in seen:
        said = f"from {period.when(starts[i])}: {100 * chart.share[i]:.1f} %"
        title = f"{said} of {chart.inspected[i]:g}{''.join(f'; {one}' for one in rules.get(i, ()))}"
        shapes.append(_dot("out" if i in rules else "dot", x(i), y(chart.share[i]), title))
    shapes += _clocks(period, starts, step)
    return _svg("share of anomalous parts, with limits at 3 sigma", shapes)


def pareto_chart(title: str, counts: Mapping[str, int]) -> Markup:
    """A bar for each, the commonest first, and the share of all so far."""
    total, so_far = sum(counts.values()), 0
    most, wide = max(counts.values()), WIDE - 300
    shapes, line = [], []
    for number, (name, count) in enumerate(counts.items()):
        y, so_far = 6 + 26 * number, so_far + count
        shapes.append(_text(196, y + 14, name[:28], "end"))
        long = count / most * wide * 0.8
        shapes.append(f'<rect class="bar" x="204" y="{y}" width="{long:.1f}" height="18"/>')
        shapes.append(_text(210 + long, y + 14, str(count)))
        shapes.append(_text(WIDE, y + 14, f"{100 * so_far / total:.0f} %", "end"))
        line.append((204 + so_far / total * wide, y + 9.0))
    shapes += _joined("pareto", line)
    shapes += [_dot("sum", x, y, "the share of all so far") for x, y in line]
    return _svg(title, shapes, 26 * len(counts) + 8)


def styled(chart: Markup, style: str) -> Markup:
    """A chart that brings its own colours: where a page's own style does not reach into it."""
    head, mark, rest = chart.partition(">")
    return Markup(f"{head}{mark}<style>{style}</style>{rest}")


def _joined(kind: str, points: Sequence[tuple[float, float] | None]) -> list[str]:
    """Lines between neighbours; where there is none, the line breaks."""
    return [
        _line(kind, *one, *following)
        for one, following in pairwise(points)
        if one is not None and following is not None
    ]


def _dot(kind: str, x: float, y: float, title: str) -> str:
    return (
        f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if kind == "out" else 2.6}">'
        f"<title>{escape(title)}</title></circle>"
    )


def _clocks(period: Period, starts: Sequence[datetime], step: float) -> list[str]:
    """Clock times below a chart, and days where they change."""
    shapes, every, day = [], math.ceil(len(starts) / LABELS), ""
    for number, start in list(enumerate(starts))[::every]:
        shapes.append(_text(LEFT + number * step, FLOOR + 18, period.clock(start)))
        if period.day(start) != day:
            day = period.day(start)
            shapes.append(_text(LEFT + number * step, FLOOR + 32, day[:-5]))
    return shapes


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "label") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(words)}</text>'


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg(title: str, shapes: Sequence[str], high: float = HIGH, wide: float = WIDE) -> Markup:
    head = f'<svg viewBox="0 0 {wide:.0f} {high:.0f}" role="img" aria-label="{title}">'
    return Markup(f"{head}{''.join(shapes)}</svg>")
