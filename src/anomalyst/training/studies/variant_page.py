"""The study of the variants as a page: measured beside reported, never in one column."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from anomalyst.report.sections import Section
from anomalyst.training.experiments.plots import draw_runs
from anomalyst.training.studies.page import write_page
from anomalyst.training.studies.variant_table import Reported, VariantTable
from anomalyst.training.studies.variants import (
    AEBAD_LIKE,
    FASTER,
    FEWER_EPOCHS,
    SMALLER,
    TESTED,
    VariantRun,
    VariantStudyConfig,
)

NONE = "–"
Figures = Mapping[str, Mapping[str, float]]


def write_variant_page(
    out: Path, config: VariantStudyConfig, table: VariantTable, runs: Sequence[VariantRun]
) -> str:
    """OUT/variants.html, variants.md and curves; returns the Markdown."""
    here = "measured here at tiny size" if config.tiny else "measured here"
    sections = [
        _results(table, runs, here),
        _by_category(runs, here),
        _findings(runs),
        Section(
            title="Curves",
            picture=draw_runs([one.run for one in runs]),
            shows="Loss, learning rate, gradient norm and time of every run",
        ),
        _configuration(table, runs),
        Section(title="Slips of the reports", rows=[[slip] for slip in table.slips],
                heads=["what they say"]),
    ]  # fmt: skip
    return write_page(out, "variants", "The six variants", _intro(config), sections)


def _intro(config: VariantStudyConfig) -> list[str]:
    peak = "what is written" if config.reading == "written" else "the scheduler's own maximum"
    said = [
        "AnomalyGPT's AeBAD-S successor trained six variants; here they are trained again by "
        "recipes that say what its table says, and judged alike.",
        f"Reading of the learning rate: {config.reading}, so its peak is {peak}.",
    ]
    if config.overrides:
        said.append(f"Changed in every recipe: {', '.join(config.overrides)}.")
    if config.tiny:
        said.append(
            "Tiny: drawn products and a LLaMA of 0.2 M parameters that has learnt to read maps on "
            "blobs and noise, as AnomalyGPT starts from a model that reads pictures. Good pictures "
            f"are 1/{SMALLER} of the originals', epochs 1/{FEWER_EPOCHS}, learning rates {FASTER} "
            "times as high, precision float32, a step's batch in two parts. "
            f"{' and '.join(AEBAD_LIKE)} stand in for AeBAD-S's blades. Each category is asked "
            f"about {TESTED} good and {TESTED} defective test pictures, so one answer is 6 % of a "
            "category. It shows that all six run and how they fail, not which is best: a tiny "
            "model says little about one of 7 B parameters."
        )
    return said


def _results(table: VariantTable, runs: Sequence[VariantRun], here: str) -> Section:
    heads = ["", f"image / pixel AUROC, 1-shot map ({here})", f"learnt map ({here})",
             f"accuracy % ({here})", "neither yes nor no %", "image / pixel AUROC (reported)",
             "accuracy % (reported)"]  # fmt: skip
    rows = []
    largest = max((one.run.accuracy for one in runs), key=len)
    for one in runs:
        found, told = one.run.accuracy, one.column.reported if one.column else table.baseline
        rows.append(
            [
                _name(one.name),
                _pair(found, "image_auroc", "pixel_auroc"),
                _pair(found, "learnt_image_auroc", "learnt_pixel_auroc"),
                _accuracy(found) if found else f"stopped ({one.stopped.partition(':')[0].lower()})",
                _share(found, "neither"),
                _told_aurocs(told),
                NONE if told.accuracy is None else f"{told.accuracy:.2f}",
            ]
        )
        if one.forgetful:
            name = f"{_name(one.name)}, BatchNorm's statistics lost"
            rows.append([name, NONE, NONE, _accuracy(one.forgetful),
                         _share(one.forgetful, "neither"), NONE, NONE])  # fmt: skip
    return Section(
        title="Measured, and reported",
        sentences=[
            "Means over categories. The 1-shot map depends on nothing that is trained, so it is "
            "alike for all runs on the same pictures. The figures reported are those of the "
            "original size and cannot be compared with the others.",
            f"Who always says yes is right in {_share(largest, 'spoiled')} % here.",
        ],
        heads=heads,
        rows=rows,
    )


def _by_category(runs: Sequence[VariantRun], here: str) -> Section:
    names = list(dict.fromkeys(name for one in runs for name in one.run.accuracy))
    rows = []
    for name in names:
        cells = []
        for one in runs:
            row = one.run.accuracy.get(name)
            cells.append(_right_and_wrong(row) if row else NONE)
        rows.append([name, *cells])
    return Section(
        title="Right and wrong answers by category",
        sentences=[f"Right / wrong, in brackets those of the wrong that say neither; {here}."],
        heads=["category", *(_name(one.name) for one in runs)],
        rows=rows,
    )


def _findings(runs: Sequence[VariantRun]) -> Section:
    """What stopped a run, its last questions, and each remark once with the runs it is about."""
    rows, remarks = [], dict[str, list[str]]()
    for one in runs:
        if one.stopped:
            rows.append([_name(one.name), "stopped", one.stopped])
        if one.look.get("flowing"):
            block, arrived = next(iter(one.look["flowing"].items()))
            rows.append([
                _name(one.name), f"step {one.look['step']}",
                f"the output of {block} is {one.look['activations'][block]:.2g} large (root mean "
                f"square), the gradient that reaches it {arrived:.1e}",
            ])  # fmt: skip
        rounds = [line for line in one.run.lines if "answered" in line]
        if rounds:
            last = rounds[-1]
            rows.append([
                _name(one.name), "questions",
                f"at step {last['step']:g} {100 * last['answered']:.0f} % are answered with yes or "
                f"no, {100 * last['answers_right']:.0f} % rightly",
            ])  # fmt: skip
        for note in one.notes:
            remarks.setdefault(note, []).append(_name(one.name))
    rows += [[", ".join(n), "before the first step", note] for note, n in remarks.items()]
    return Section(
        title="What the training monitor found",
        sentences=["The reports' V1 stopped (“vanishing gradient”) and V3 answered nothing."],
        heads=["run", "when", "what it said"],
        rows=rows,
    )


def _configuration(table: VariantTable, runs: Sequence[VariantRun]) -> Section:
    columns = [(name, column.cells()) for name, column in table.variants.items()]
    rows = [
        [title, *(cells[index][1] for _, cells in columns)]
        for index, (title, _) in enumerate(columns[0][1])
    ]
    rows.append(["training reached", *(c.reported.reached for c in table.variants.values())])
    run = {one.name: one.run for one in runs}
    rows += [
        [f"run here: {key}", *(f"{run[name].recipe[key]:g}" for name, _ in columns)]
        for key in ("epochs", "steps", "learning_rate")
    ]
    peaks = [[line["learning_rate"] for line in run[name].lines] for name, _ in columns]
    rows.append(["run here: peak learning rate", *(f"{max(x):.3g}" if x else NONE for x in peaks)])
    same = table.same
    return Section(
        title="Configuration, as the reports' table has it",
        sentences=[
            f"The same in all: dropout {same.dropout_in_mlp:g} in the MLP and a residual layer, "
            f"{same.accumulation} micro-batches a step on each GPU, {same.optimizer} "
            f"{same.betas[0]:g}/{same.betas[1]:g}, weight decay {same.weight_decay:g}, gradients "
            f"clipped at {same.clip_norm:g}, ZeRO-{same.zero_stage} with the optimizer on the CPU, "
            f"{same.precision}; the scheduler's own maximum was {same.scheduler_maximum:g}."
        ],
        heads=["", *(_name(name) for name, _ in columns)],
        rows=rows,
    )


def _name(name: str) -> str:
    return name.upper() if name.startswith("v") else name


def _mean(found: Figures, key: str) -> float | None:
    values = [row[key] for row in found.values() if key in row]
    return 100 * float(np.mean(values)) if values else None


def _pair(found: Figures, first: str, second: str) -> str:
    both = _mean(found, first), _mean(found, second)
    return NONE if None in both else f"{both[0]:.2f} / {both[1]:.2f}"


def _share(found: Figures, key: str) -> str:
    shares = [100 * row[key] / row["asked"] for row in found.values()]
    return f"{np.mean(shares):.2f}" if shares else NONE


def _accuracy(found: Figures) -> str:
    return _share(found, "right")


def _right_and_wrong(row: Mapping[str, float]) -> str:
    wrong = f"{row['right']:g} / {row['asked'] - row['right']:g}"
    return f"{wrong} ({row['neither']:g})" if row["neither"] else wrong


def _told_aurocs(told: Reported) -> str:
    if told.image_auroc is None or told.pixel_auroc is None:
        return NONE
    return f"{told.image_auroc:.2f} / {told.pixel_auroc:.2f}"
