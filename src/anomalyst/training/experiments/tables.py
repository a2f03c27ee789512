"""Result tables of all experiments, as Markdown or as rows of a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.training.experiments.allreduce.cost import MessageCost
from anomalyst.training.experiments.runs import RunRecord

Rows = list[tuple[str, list[str]]]  # what it is, a value per run

PATCH_NAMES = {
    "dropout": "dropout", "layer_norm": "LayerNorm", "batch_norm": "BatchNorm",
    "residual": "residual layer", "adapter": "adapter",
}  # fmt: skip
ALWAYS = ("optimizer", "learning_rate", "schedule", "batch", "micro_batch", "steps", "precision")
HIDDEN = ("task", "log_every", "checkpoint_every", "keep_checkpoints", "workers", "watch.every")
SPREAD = "± is half of the 95 % interval over seeds (Student's t)"  # what all studies mean by it
METRICS = ("auroc", "ap", "aupro_30")


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and half of its 95 % interval (Student's t); nan with a single value."""

    mean: float
    half_width: float

    def __str__(self) -> str:
        return f"{self.mean:.4f} ± {self.half_width:.4f}"


def interval(values: Sequence[float]) -> Interval:
    """Of the mean of independent values; folds share training pictures, so it is too narrow."""
    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return Interval(mean, 0.0)
    return Interval(mean, float(stats.t.ppf(0.975, count - 1) * stats.sem(values)))


def spread(values: Sequence[float], digits: int = 3, sign: str = "") -> str:
    """`0.123 ± 0.004`: the mean, and of more than one value half of its interval (SPREAD)."""
    found = interval(values)
    mean = f"{found.mean:{sign}.{digits}f}"
    return f"{mean} ± {found.half_width:.{digits}f}" if len(values) > 1 else mean


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One run."""

    engine: str
    processes: int
    apart: float  # largest difference of a step's loss from the single process's
    seconds_per_step: float  # median
    memory_mb: float  # of the first process, at its peak
    sent_kb_per_step: float  # through the loopback interface, by all processes
    communication_percent: float | None
    waiting_percent: float
    wall_seconds: float  # start and end included
    held_mb: float | None = None  # weights, gradients, optimizer of the process that has most
    bubble_percent: float | None = None  # of a step's passes in which a stage computes nothing


@dataclass(frozen=True, slots=True)
class MethodRow:
    """How well a decoder finds the real defects of one category."""

    method: str
    category: str
    seed: int
    auroc: float  # of pixels
    ap: float
    aupro_30: float


@dataclass(frozen=True, slots=True)
class AllReduceRow:
    """One all-reduce algorithm at one size."""

    way: str
    processes: int
    numbers: int
    seconds: float  # median
    sent: MessageCost | None  # as counted; None where a library sends


@dataclass(frozen=True, slots=True)
class PeftRow:
    """What one way of tuning costs and is worth."""

    method: str
    trained: int  # numbers
    whole: int  # of the model before anything was put in
    learning_rate: float  # its peak
    seconds_per_step: float  # of the processor, median
    memory_mb: float  # of its process, at its peak
    validation_loss: float
    right: int  # yes or no about held-out pictures
    neither: int  # neither yes nor no
    asked: int


def run_tables(
    runs: Sequence[RunRecord], *, accuracy: str, always: str
) -> list[tuple[str, list[str], Rows]]:
    """(corner, heads, rows) of configuration, figures and right answers of each category.

    `accuracy`: the corner of the last; `always`: its head for the answer that is always yes.
    """
    heads = [run.name for run in runs]
    tables = [("configuration", heads, _configuration(runs)), ("figures", heads, _results(runs))]
    right = _accuracies(runs)
    return [*tables, (accuracy, [*heads, always], right)] if right else tables


def runs_as_markdown(runs: Sequence[RunRecord]) -> str:
    """The tables: configuration | runs, figures | runs, category | right answers."""
    return "\n".join(
        markdown_table([corner, *heads], [(name, *cells) for name, cells in rows]) + "\n"
        for corner, heads, rows in run_tables(runs, accuracy="accuracy %", always='always "Yes"')
    )


def fold_table(rows: Sequence[tuple[int, float, float | None]]) -> str:
    """Rows (fold, validation loss, right answers in percent) and their means."""
    found: list[tuple[object, ...]] = [
        (fold, f"{loss:.4f}", "" if right is None else f"{right:.1f}") for fold, loss, right in rows
    ]
    rights = [right for _, _, right in rows if right is not None]
    last = str(interval(rights)) if rights else ""
    found.append(("mean ± 95 %", interval([loss for _, loss, _ in rows]), last))
    return markdown_table(("fold", "validation loss", "accuracy %"), found) + "\n"


def search_table(trials: Sequence[Any], keys: Sequence[str]) -> str:
    """Trials down, the best first; what was chosen and the loss across."""
    rows = []
    for trial in trials:
        half = trial.user_attrs.get("half_width") or 0.0
        spread = f" ± {half:.5f}" if half else ""
        chosen = [short_value(trial.params[key]) for key in keys]
        rows.append([trial.number, *chosen, f"{trial.value:.5f}{spread}"])
    return markdown_table(["trial", *keys, "loss"], rows)


def short_value(value: Any) -> str:
    """A value of a recipe's key, in few digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def engine_table(rows: Sequence[EngineRow]) -> str:
    """Engines down, costs across."""
    heads = ("engine", "processes", "largest difference of loss", "ms per step", "MB",
             "KB sent per step", "communication %", "waiting %", "weights and optimizer, MB",
             "bubble %")  # fmt: skip
    cells = [
        (r.engine, r.processes, f"{r.apart:.1e}", f"{1000 * r.seconds_per_step:.0f}",
         f"{r.memory_mb:.0f}", f"{r.sent_kb_per_step:.0f}", _text(r.communication_percent, ".1f"),
         f"{r.waiting_percent:.1f}", _text(r.held_mb, ".2f"), _text(r.bubble_percent, ".0f"))
        for r in rows
    ]  # fmt: skip
    return markdown_table(heads, cells) + "\n"


def allreduce_table(found: Sequence[AllReduceRow]) -> str:
    """Ways down; time at the smallest and the largest size, what the largest sends, across."""
    small, large = (end(one.numbers for one in found) for end in (min, max))
    heads = ("way", "processes", f"{4 * small >> 10} KiB ms", f"{4 * large >> 10:,} KiB ms",
             "messages", "portions by the busiest", "by all")  # fmt: skip
    seconds = {(one.way, one.processes, one.numbers): one.seconds for one in found}
    cells = []
    for one in (row for row in found if row.numbers == large):
        portion = 4 * large / one.processes  # bytes
        sent = one.sent and (
            str(one.sent.messages), f"{one.sent.most_bytes / portion:g}",
            f"{one.sent.all_bytes / portion:g}",
        )  # fmt: skip
        first = seconds[one.way, one.processes, small]
        cells.append((one.way, one.processes, f"{1000 * first:.2f}", f"{1000 * one.seconds:.1f}",
                      *(sent or ("", "", ""))))  # fmt: skip
    return markdown_table(heads, cells) + "\n"


def method_table(found: Sequence[MethodRow]) -> str:
    """Methods down, categories and their mean across: pixel AUROC / AP / AUPRO in percent."""
    categories = list(dict.fromkeys(row.category for row in found))
    lines = []
    for method in dict.fromkeys(row.method for row in found):
        mine = [row for row in found if row.method == method]
        cells = [_percents([row for row in mine if row.category == name]) for name in categories]
        seeds = sorted({row.seed for row in mine})
        means = [
            100 * float(np.mean([row.auroc for row in mine if row.seed == seed])) for seed in seeds
        ]
        lines.append([method, *cells, _percents(mine), spread(means, 1)])
    heads = ["trained on", *categories, "mean", "pixel AUROC ± 95 % over seeds"]
    return markdown_table(heads, lines, words=1)


def peft_table(rows: Sequence[PeftRow]) -> str:
    """Methods down; parameters, costs and worth across."""
    heads = ("trained", "parameters", "share %", "learning rate", "CPU ms per step", "peak MB",
             "validation loss", "right %", "neither %")  # fmt: skip
    cells = []
    for r in rows:
        cost = (f"{r.learning_rate:g}", f"{1000 * r.seconds_per_step:.0f}", f"{r.memory_mb:.0f}")
        cells.append(
            (r.method, f"{r.trained:,}", f"{100 * r.trained / r.whole:.3f}",
             *(cost if r.trained else ("", "", "")), f"{r.validation_loss:.4f}",
             f"{100 * r.right / r.asked:.1f}", f"{100 * r.neither / r.asked:.1f}")
        )  # fmt: skip
    return markdown_table(heads, cells) + "\n"


def _percents(rows: Sequence[MethodRow]) -> str:
    means = [np.mean([getattr(row, name) for row in rows]) for name in METRICS]
    return " / ".join(f"{100 * mean:.1f}" for mean in means)


def _configuration(runs: Sequence[RunRecord]) -> Rows:
    """Rows (key, a value per run): the usual keys, and all in which the runs differ."""
    flat = [_flat(run.recipe) for run in runs]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    rows = []
    for key in keys:
        values = [one.get(key, "") for one in flat]
        if key not in HIDDEN and (key in ALWAYS or len(set(values)) > 1):
            rows.append((key, values))
    return sorted(rows, key=lambda row: (row[0] not in ALWAYS, keys.index(row[0])))


def _results(runs: Sequence[RunRecord]) -> Rows:
    """Rows (figure, a value per run)."""
    each = [_figures(run) for run in runs]
    names = list(dict.fromkeys(name for one in each for name in one))
    return [(name, [one.get(name, "") for one in each]) for name in names]


def _accuracies(runs: Sequence[RunRecord]) -> Rows:
    """Rows (category, right answers in percent per run, and of always saying yes)."""
    names = sorted({name for run in runs for name in run.accuracy})
    rows = []
    for name in names:
        found = [run.accuracy.get(name) for run in runs]
        known = next(row for row in found if row)
        cells = [f"{100 * row['right'] / row['asked']:.1f}" if row else "" for row in found]
        rows.append((name, [*cells, f"{100 * known['spoiled'] / known['asked']:.1f}"]))
    return rows


def _flat(recipe: dict[str, Any], before: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in recipe.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{key}.")
        elif key == "patches":
            found[key] = "; ".join(_patch(patch) for patch in value) or "none"
        else:
            found[before + key] = f"{value:g}" if isinstance(value, float) else str(value)
    return found


def _patch(patch: dict[str, Any]) -> str:
    name = PATCH_NAMES[patch["layer"]]
    share = f" {patch['dropout']:g}" if patch["layer"] == "dropout" else ""
    return f"{name}{share} {patch['at'].replace('_', ' ')}"


def _figures(run: RunRecord) -> dict[str, str]:
    """Figures of the run, as a table shows them."""
    rates = [line["learning_rate"] for line in run.lines if "learning_rate" in line]
    right = {name: row["right"] / row["asked"] for name, row in run.accuracy.items()}
    shown = {
        "effective peak learning rate": f"{max(rates):.3g}" if rates else "",
        "loss": _text(run.last("loss"), ".4f"),
        "validation loss": _text(run.last("validation_loss"), ".4f"),
        "accuracy %": f"{100 * sum(right.values()) / len(right):.2f}" if right else "",
        "test accuracy %": _text(run.last("test_accuracy"), ".2f", 100),
        "test AUROC": _text(run.last("test_auroc"), ".4f"),
        "seconds per step": _text(run.last("seconds_per_step"), ".4f"),
        "samples per second": _text(run.last("samples_per_second"), ".1f"),
        "waiting for data %": _text(run.last("waiting_share"), ".1f", 100),
        "communication %": _text(run.last("communication_share"), ".1f", 100),
        "memory MB": _text(run.last("memory_mb"), ".0f"),
        "processes": str(run.end.get("world", "")),
        "ended": f"{run.end.get('how', 'unfinished')} {run.end.get('why', '')}".strip(),
    }
    return {name: text for name, text in shown.items() if text}


def _text(value: float | None, form: str, factor: float = 1.0) -> str:
    return "" if value is None else format(factor * value, form)
