"""Judged products -> tables and one plot: each sense beside the verdict of all together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from anomalyst.calibration.fusion import bonferroni, cauchy
from anomalyst.evaluation.metrics import auroc
from anomalyst.evaluation.reports.plots import save_figure
from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.io.files import write_text

Record = Mapping[str, Any]
TOGETHER = "together"
OTHERS = {"Bonferroni": bonferroni, "Cauchy": cauchy}  # beside the verdict that is given
SOUND = "sound"  # the condition of a sound part


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseRow:
    """One sense, or a combination of all, over the products."""

    name: str
    auroc: float  # mean over products, sound against faulty parts of one product
    auroc_error: float  # standard error of that mean
    known: float | None  # of families the drawn towers were trained on; None: no such product
    held_out: float | None
    found: float  # share of the faulty parts with an alarm
    false_alarms: float  # share of the sound parts with an alarm
    false_alarms_error: float  # standard error, each product counted as one draw


def summary(records: Sequence[Record], rate: float) -> list[SenseRow]:
    """A row a sense, then all together and by other combinations of the same p-values."""
    senses = list(records[0]["parts"][0]["senses"])
    return [_row(name, records, rate) for name in (*senses, TOGETHER, *OTHERS)]


def by_condition(records: Sequence[Record], rate: float) -> dict[str, dict[str, float]]:
    """Condition -> sense or combination -> share of its parts with an alarm."""
    names = [*records[0]["parts"][0]["senses"], TOGETHER]
    parts = [part for record in records for part in record["parts"]]
    befallen: dict[str, list[Any]] = {}
    for part in parts:
        befallen.setdefault(part["condition"], []).append(part)
    return {
        condition: {name: _share_alarmed(befallen[condition], name, rate) for name in names}
        for condition in sorted(befallen)
        if condition != SOUND
    }


def _row(name: str, records: Sequence[Record], rate: float) -> SenseRow:
    areas = [(record, area) for record in records if (area := _area(record, name)) is not None]
    alarms = [
        _share_alarmed([p for p in record["parts"] if p["condition"] == SOUND], name, rate)
        for record in records
    ]
    faulty = [p for record in records for p in record["parts"] if p["condition"] != SOUND]
    return SenseRow(
        name=name,
        auroc=float(np.mean([area for _, area in areas])),
        auroc_error=_error([area for _, area in areas]),
        known=_mean([area for record, area in areas if not record["held_out"]]),
        held_out=_mean([area for record, area in areas if record["held_out"]]),
        found=_share_alarmed(faulty, name, rate),
        false_alarms=float(np.mean(alarms)),
        false_alarms_error=_error(alarms),
    )


def _area(record: Record, name: str) -> float | None:
    """Of one product; None where no faulty part could be drawn."""
    labels = [part["condition"] != SOUND for part in record["parts"]]
    if not any(labels):
        return None
    return auroc(labels, [_score(part, name) for part in record["parts"]])


def _score(part: Mapping[str, Any], name: str) -> float:
    if name in OTHERS:
        return -_combined(part, name)
    return float((part[TOGETHER] if name == TOGETHER else part["senses"][name])["score"])


def _combined(part: Mapping[str, Any], name: str) -> float:
    return OTHERS[name]([one["p"] for one in part["senses"].values()])


def _share_alarmed(parts: Sequence[Mapping[str, Any]], name: str, rate: float) -> float:
    return float(np.mean([_alarm(part, name, rate) for part in parts]))


def _alarm(part: Mapping[str, Any], name: str, rate: float) -> bool:
    if name in OTHERS:
        return _combined(part, name) <= rate
    one = part[TOGETHER] if name == TOGETHER else part["senses"][name]
    return bool(one["verdict"] == "anomalous")


def _error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def write_report(records: Sequence[Record], rate: float, out: Path) -> str:
    """OUT/senses.md, .json and .png; returns the Markdown."""
    rows, conditions = summary(records, rate), by_condition(records, rate)
    text = as_markdown(rows, conditions, records, rate)
    write_text(out / "senses.md", text)
    figures = {"rows": [asdict(row) for row in rows], "conditions": conditions}
    write_text(out / "senses.json", json.dumps(figures, indent=2) + "\n")
    _draw(rows, conditions, out / "senses.png")
    return text


def as_markdown(
    rows: Sequence[SenseRow],
    conditions: Mapping[str, Mapping[str, float]],
    records: Sequence[Record],
    rate: float,
) -> str:
    """Both tables, and whether false alarms are as many as promised."""
    heads = ["judged by", "AUROC, %", "known families", "held out", "faults found, %",
             "false alarms, %"]  # fmt: skip
    table = [
        [row.name, f"{100 * row.auroc:.1f} ± {100 * row.auroc_error:.1f}", _percent(row.known),
         _percent(row.held_out), _percent(row.found),
         f"{100 * row.false_alarms:.1f} ± {100 * row.false_alarms_error:.1f}"]
        for row in rows
    ]  # fmt: skip
    names = list(next(iter(conditions.values()))) if conditions else []
    shares = [[name, *(_percent(row[one]) for one in names)] for name, row in conditions.items()]
    parts = [part for record in records for part in record["parts"]]
    sound = sum(part["condition"] == SOUND for part in parts)
    seconds = np.median([part["seconds"] for part in parts])
    together = next(row for row in rows if row.name == TOGETHER)
    said = (
        f"{len(records)} products, {sound} sound and {len(parts) - sound} faulty parts judged; "
        f"median {seconds:.2f} s a part by all senses. {_as_promised(together, rate)} ± is a "
        "standard error over products."
    )
    return (
        f"{said}\n\n{markdown_table(heads, table, words=1)}\n\nFaults found, by what befell the "
        f"part, %:\n\n{markdown_table(['condition', *names], shares, words=1)}\n"
    )


def _as_promised(together: SenseRow, rate: float) -> str:
    """Whether false alarms of the verdict of all are as many as asked."""
    said = f"False alarms of the verdict of all: {100 * together.false_alarms:.2f} %"
    if not together.false_alarms_error > 0:
        return f"{said}; too few products to tell whether these are {100 * rate:g} %."
    off = (together.false_alarms - rate) / together.false_alarms_error
    side = "above" if off > 0 else "below"
    return f"{said}, {abs(off):.1f} standard errors {side} {100 * rate:g} %."


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _draw(
    rows: Sequence[SenseRow], conditions: Mapping[str, Mapping[str, float]], path: Path
) -> None:
    """AUROC as bars, and which sense finds what as a grid."""
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    shown = [row for row in rows if row.name not in OTHERS]
    colours = ["tab:orange" if row.name == TOGETHER else "tab:blue" for row in shown]
    bars = left.barh(
        [row.name for row in shown], [100 * row.auroc for row in shown], color=colours,
        xerr=[100 * row.auroc_error for row in shown],
    )  # fmt: skip
    left.bar_label(bars, fmt="%.1f", padding=4, fontsize="small")
    left.set(xlim=(50, 105), xlabel="AUROC, %", title="Sound against faulty parts")
    left.invert_yaxis()
    names = [row.name for row in shown]
    grid = np.array([[100 * row[name] for name in names] for row in conditions.values()])
    right.imshow(grid, vmin=0, vmax=100, cmap="viridis", aspect="auto")
    right.set_xticks(range(len(names)), names, rotation=30, ha="right")
    right.set_yticks(range(len(conditions)), list(conditions))
    for (down, across), value in np.ndenumerate(grid):
        right.text(across, down, f"{value:.0f}", ha="center", va="center", fontsize="small",
                   color="black" if value > 60 else "white")  # fmt: skip
    right.set_title("Faults found, %")
    save_figure(figure, path)
