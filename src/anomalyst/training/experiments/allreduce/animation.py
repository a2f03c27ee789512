"""An all-reduce drawn turn by turn, from the messages that were counted: an SVG that moves.

Each worker is a column, each portion of its message a cell; a coloured square in a cell stands for
the worker whose numbers are in it. The start was 2^worker in every portion, so the bits of a sum
say which these are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from anomalyst.training.distributed.wire import Sent

COLOURS = ("#1f77b4", "#e0701a", "#2ca02c", "#9467bd", "#8c564b", "#17becf", "#bcbd22", "#d62728")
CELL_PX, GAP_PX, TOP_PX, LEFT_PX = (118, 34), (62, 10), 92, 32
TURN_S = 2.4  # a turn: shown, moved, shown
MOVING = (0.25, 0.8)  # part of a turn in which its messages are on their way

Held = list[list[int]]  # of each worker, of each portion: bits of the workers whose numbers it has


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What happens at the same time."""

    before: tuple[tuple[int, ...], ...]  # what is held when it begins
    sent: tuple[Sent, ...]
    reduces: bool  # whether what arrives is combined; else it replaces
    counted: tuple[int, ...]  # portions sent by each worker, with this turn's


def turns_of(messages: Sequence[Sent], workers: int) -> list[Turn]:
    """The turns in their order, and a last one in which nothing is sent."""
    held: Held = [[1 << worker] * workers for worker in range(workers)]
    counted = [0] * workers
    found = []
    for number in sorted({one.turn for one in messages}):
        sent = tuple(one for one in messages if one.turn == number)
        before = tuple(tuple(row) for row in held)
        for one in sent:
            counted[one.source] += len(one.values)
        combined = [_arrive(held, one) for one in sent]
        found.append(Turn(before=before, sent=sent, reduces=all(combined), counted=tuple(counted)))
    last = tuple(tuple(row) for row in held)
    return [*found, Turn(before=last, sent=(), reduces=False, counted=tuple(counted))]


def draw_animation(way: str, messages: Sequence[Sent], workers: int) -> str:
    """The SVG of an all-reduce of as many portions as workers."""
    turns = turns_of(messages, workers)
    width = LEFT_PX * 2 + workers * (CELL_PX[0] + GAP_PX[0]) - GAP_PX[0]
    height = TOP_PX + workers * (CELL_PX[1] + GAP_PX[1]) + 44
    body = [_frame(way, turns, number) for number in range(len(turns))]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="system-ui, sans-serif" font-size="14">\n'
        f"<title>{escape(way)} all-reduce of {workers} workers, turn by turn</title>\n"
        f'<rect width="{width}" height="{height}" fill="#fff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _arrive(held: Held, one: Sent) -> bool:
    """Put what a message brings where it goes; whether it was combined with what was there."""
    combined = False
    for place, value in enumerate(one.values, one.first):
        bits, own = int(value), held[one.to][place]
        combined = not bits & own  # nobody's numbers are added twice: else it is the whole
        held[one.to][place] = bits | own if combined else bits
    return combined


def _frame(way: str, turns: Sequence[Turn], number: int) -> str:
    turn, last = turns[number], len(turns) - 1
    if number == last:
        head = f"{way}: every worker has everything"
    else:
        phase = "share-reduce" if turn.reduces else "share-only"
        head = f"{way}, turn {number + 1} of {last}: {phase}"
    told = (
        f"portions sent by each: {', '.join(map(str, turn.counted))}; by the busiest "
        f"{max(turn.counted)}, by all {sum(turn.counted)}"
    )
    parts = [_text(LEFT_PX, 28, head, 18), _text(LEFT_PX, 50, told, 14)]
    for worker, row in enumerate(turn.before):
        parts.append(_text(_corner(worker, 0)[0], TOP_PX - 10, f"worker {worker}", 13))
        parts += [_cell(_corner(worker, place), bits, len(row)) for place, bits in enumerate(row)]
    for one in turn.sent:
        parts += [_moving(one, index, number, turns) for index in range(len(one.values))]
    shown = _animate("opacity", {0: 0, number: 1, number + 1: 0}, len(turns))
    return f'<g opacity="{int(number == 0)}">{shown}{"".join(parts)}</g>'


def _moving(one: Sent, index: int, number: int, turns: Sequence[Turn]) -> str:
    """A portion on its way, and a thin line along it."""
    place, workers = one.first + index, len(turns[0].before)
    start, end = _corner(one.source, place), _corner(one.to, place)
    begun, done = ((number + share) / len(turns) for share in MOVING)
    steps = f'dur="{TURN_S * len(turns):g}s" repeatCount="indefinite"'
    way = (
        f'<animateTransform attributeName="transform" type="translate" {steps} '
        f'keyTimes="0;{begun:.4f};{done:.4f};1" values="0 0;0 0;{end[0] - start[0]} '
        f'{end[1] - start[1]};{end[0] - start[0]} {end[1] - start[1]}"/>'
    )
    middle = start[1] + CELL_PX[1] / 2
    forward = end[0] > start[0]
    line = (
        f'<line x1="{start[0] + CELL_PX[0] * forward}" y1="{middle}" stroke="#888" '
        f'x2="{end[0] + CELL_PX[0] * (not forward)}" y2="{middle}" stroke-dasharray="3 3"/>'
    )
    cell = _cell(start, int(one.values[index]), workers, moves=True)
    return f"{line}<g>{way}{cell}</g>"


def _cell(corner: tuple[int, int], bits: int, workers: int, *, moves: bool = False) -> str:
    (x, y), (wide, high) = corner, CELL_PX
    whole = bits == (1 << workers) - 1
    edge = "#c00" if moves else "#2c8a3c" if whole else "#999"
    thick = 2.5 if moves or whole else 1
    parts = [
        f'<rect x="{x}" y="{y}" width="{wide}" height="{high}" rx="5" fill="#f7f7f7" '
        f'fill-opacity="{0.9 if moves else 1}" stroke="{edge}" stroke-width="{thick}"/>'
    ]
    side = min(20.0, (wide - 12) / workers - 5)
    step = (wide - 12) / workers
    for worker in range(workers):
        has = bits >> worker & 1
        colour = COLOURS[worker % len(COLOURS)] if has else "none"
        left = x + 6 + worker * step + (step - side) / 2
        parts.append(
            f'<rect x="{left:.1f}" y="{y + (high - side) / 2:.1f}" width="{side:.1f}" '
            f'height="{side:.1f}" rx="2" fill="{colour}" stroke="{"none" if has else "#ccc"}"/>'
        )
    return "".join(parts)


def _corner(worker: int, place: int) -> tuple[int, int]:
    """Upper left of the cell of a worker's portion, px."""
    return (
        LEFT_PX + worker * (CELL_PX[0] + GAP_PX[0]),
        TOP_PX + place * (CELL_PX[1] + GAP_PX[1]),
    )


def _text(x: float, y: float, words: str, size: int) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="#222">{escape(words)}</text>'


def _animate(name: str, values: Mapping[int, int], turns: int) -> str:
    """Steps of an attribute: turn -> value from then on."""
    steps = {turn: value for turn, value in sorted(values.items()) if turn < turns}
    return (
        f'<animate attributeName="{name}" calcMode="discrete" dur="{TURN_S * turns:g}s" '
        f'repeatCount="indefinite" keyTimes="{";".join(f"{t / turns:.4f}" for t in steps)}" '
        f'values="{";".join(map(str, steps.values()))}"/>'
    )
