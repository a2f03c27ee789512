"""Inspecting within the limits of a small computer: whether it fits, and what it then costs.

Every command runs in a process of its own, once within the limits and once without, in turns, so
that other programs slow both.
"""

import hashlib
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.hardware.limits import Finished, Limits, run_limited

WARM_UP = 1  # first pictures, which load and build


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeWay:
    """One way to inspect: at a quality, by an engine, or by an exported folder's own runner."""

    quality: str
    engine: str  # torch, onnx, openvino; "runner": `anomalyst export`'s folder by itself

    def __str__(self) -> str:
        return f"{self.quality}, {self.engine}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeRow:
    """What a way took; None where it did not fit, and `said` tells what happened.

    `peak_mb` and `resident_mb` as `Finished` has them, within the limits; `free_mb` the peak
    without. `seconds` of one picture within the limits (median), of the runner the whole process
    by pictures; `times` as a multiple of the same without limits.
    """

    way: EdgeWay
    peak_mb: float | None
    resident_mb: float | None
    free_mb: float
    seconds: float | None
    times: float | None
    said: str


def bench_edge(
    good: Sequence[Path],
    pictures: Sequence[Path],
    ways: Sequence[EdgeWay],
    limits: Limits,
    out: Path,
    *,
    rounds: int = 2,
    on_run: Callable[[], None] = lambda: None,
    on_row: Callable[[EdgeRow], None] = lambda _: None,
) -> tuple[list[EdgeRow], str]:
    """Rows, and what held the commands. Products and exports are made in `out`, without limits.

    Raises AnomalystError where a command fails for another reason than memory.
    """
    rows, held = [], ""
    for way in ways:
        command = _prepared(way, good, out)
        within: list[Finished] = []
        free: list[Finished] = []
        for _ in range(rounds):
            for found, limit in ((free, Limits()), (within, limits)):
                found.append(_run([*command, *map(str, pictures)], limit))
                on_run()
            if within[-1].out_of_memory:
                break
        held = within[0].held_by
        rows.append(_row(way, within, free, len(pictures), limits))
        on_row(rows[-1])
    return rows, held


def _prepared(way: EdgeWay, good: Sequence[Path], out: Path) -> list[str]:
    """The command that inspects; its product, and where needed its export, made first."""
    anomalyst = [sys.executable, "-m", "anomalyst"]
    products = ["--products", str(out / "products")]
    pictures = hashlib.sha256(b"".join(path.read_bytes() for path in good)).hexdigest()
    name = f"{way.quality}-{pictures[:8]}"  # other good pictures make another product
    if not (out / "products" / name).is_dir():
        _run([*anomalyst, "teach", name, *map(str, good), "--quality", way.quality, *products,
              "--precision", "float32"], Limits())  # fmt: skip
    if way.engine == "torch":
        return [*anomalyst, "inspect", "--product", name, *products, "--json", "--engine", "torch",
                "--precision", "float32"]  # fmt: skip
    engine = "onnx" if way.engine == "runner" else way.engine
    folder = out / "exports" / f"{name}-{engine}"
    if not folder.is_dir():
        _run([*anomalyst, "export", name, "--format", engine, "--out", str(folder), *products],
             Limits())  # fmt: skip
    if way.engine == "runner":
        return [sys.executable, str(folder / "runner.py")]
    return [*anomalyst, "inspect", "--product", name, *products, "--json", "--engine", engine]


def _run(command: Sequence[str], limits: Limits) -> Finished:
    threads = {"OMP_NUM_THREADS": str(limits.cores)} if limits.cores else {}
    found = run_limited(command, limits, environment=threads)
    if found.code != 0 and not found.out_of_memory:
        last = (found.error.strip().splitlines() or ["it said nothing"])[-1]
        raise AnomalystError(f"`{' '.join(command[1:4])} ...` ended with {found.code}: {last}")
    return found


def _row(
    way: EdgeWay, within: Sequence[Finished], free: Sequence[Finished], count: int, limits: Limits
) -> EdgeRow:
    most = max(one.peak_mb for one in free)
    if any(one.out_of_memory for one in within):
        return EdgeRow(
            way=way, peak_mb=None, resident_mb=None, free_mb=most, seconds=None, times=None,
            said=f"does not fit: ended for want of memory at {limits.memory_mb} MiB",
        )  # fmt: skip
    seconds, alone = (statistics.median(_seconds(way, one, count) for one in some)
                      for some in (within, free))  # fmt: skip
    return EdgeRow(
        way=way,
        peak_mb=max(one.peak_mb for one in within),
        resident_mb=max(one.resident_mb for one in within),
        free_mb=most,
        seconds=seconds,
        times=seconds / alone,
        said="whole process, its start counted" if way.engine == "runner" else "",
    )


def _seconds(way: EdgeWay, found: Finished, count: int) -> float:
    """Of one picture: the median of its stages' sum; of the runner the process by pictures."""
    if way.engine == "runner":
        return found.seconds / count
    told = [json.loads(line)["seconds"] for line in found.out.splitlines() if line.startswith("{")]
    return statistics.median(sum(one.values()) for one in told[WARM_UP:] or told)


def edge_line(row: EdgeRow) -> str:
    """A row in a sentence, for the terminal."""
    if row.peak_mb is None:
        return f"{row.way}: {row.said}"
    seconds, times = _cell(row.seconds, 2), _cell(row.times, 2)
    return f"{row.way}: peak {row.peak_mb:.0f} MiB, {seconds} s a picture, {times} times as long"


def edge_table(rows: Sequence[EdgeRow]) -> str:
    """Markdown: a row a way."""
    heads = ["quality, engine", "peak, MiB", "resident, MiB", "peak without limits, MiB",
             "s a picture", "times as long as without limits", ""]  # fmt: skip
    lines = [
        [str(row.way), _cell(row.peak_mb, 0), _cell(row.resident_mb, 0), _cell(row.free_mb, 0),
         _cell(row.seconds, 3), _cell(row.times, 2), row.said]
        for row in rows
    ]  # fmt: skip
    return markdown_table(heads, lines, words=1) + "\n"


def _cell(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def rows_as_dicts(rows: Sequence[EdgeRow]) -> list[dict[str, object]]:
    """The rows as plain JSON values."""
    return [{**(told := asdict(row)).pop("way"), **told} for row in rows]
