"""The predecessor's table: class | image AUROC | pixel AUROC | right | wrong | accuracy."""

from collections.abc import Sequence
from pathlib import Path

from anomalyst.evaluation.language import QUESTION, strictly_yes_or_no, yes_or_no
from anomalyst.evaluation.protocols.protocol import Results
from anomalyst.evaluation.protocols.run_records import Row, Run, read_rows
from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.io.files import write_text

COLUMNS = (
    "class", "image AUROC", "pixel AUROC", "right", "wrong", "accuracy", "strict", "verdict",
    "place", "box IoU", "contradictions",
)  # fmt: skip


def write_language_table(results: Results, out: Path) -> str:
    """Write language.md and language.csv, all draws of a class together; returns the table."""
    by_class: dict[str, list[tuple[Run, list[Row]]]] = {}
    for run in results.runs:
        by_class.setdefault(run.category or "all", []).append((run, read_rows(out, run)))
    lines = [_line(name, runs) for name, runs in by_class.items()]
    lines.append(_mean(lines))
    table = markdown_table(COLUMNS, lines)
    text = (
        f'# What the words say\n\nAsked: "{QUESTION}". Accuracy: "Yes" for a defect, "No" for '
        "none, in percent;\nstrict: as the first word, and not both. Verdict: the accuracy of the "
        "calibrated verdict alone,\nunsure counted as wrong. Place: the first place named is one "
        f"of the defect's cells.\n\n{table}\n"
    )
    write_text(out / "language.md", text)
    rows = [",".join(COLUMNS), *(",".join(line) for line in lines)]
    write_text(out / "language.csv", "\n".join(rows) + "\n")
    return table


def _line(name: str, runs: Sequence[tuple[Run, list[Row]]]) -> list[str]:
    rows = [row for _, some in runs for row in some]
    truth = [row.label == "anomalous" for row in rows]
    said = [yes_or_no(row.words) for row in rows]
    strict = [strictly_yes_or_no(row.words) for row in rows]
    verdicts = [{"anomalous": True, "normal": False}.get(row.verdict) for row in rows]
    right = sum(s is t for s, t in zip(said, truth, strict=True))
    places = [row.place_right == "yes" for row in rows if row.place_right]
    ious = [float(row.box_iou) for row in rows if row.box_iou]
    return [
        name,
        _percent(_metric(runs, "image_auroc")),
        _percent(_metric(runs, "pixel_auroc")),
        str(right),
        str(len(rows) - right),
        _percent(right / len(rows)),
        _percent(_share(strict, truth)),
        _percent(_share(verdicts, truth)),
        _percent(sum(places) / len(places) if places else None),
        _percent(sum(ious) / len(ious) if ious else None),
        str(sum(contradicts(row) for row in rows)),
    ]


def contradicts(row: Row) -> bool:
    """Whether the words say yes of a normal verdict, or no of another."""
    said = strictly_yes_or_no(row.words)
    return said is (row.verdict == "normal")


def _share(said: Sequence[bool | None], truth: Sequence[bool]) -> float:
    return sum(s is t for s, t in zip(said, truth, strict=True)) / len(truth)


def _metric(runs: Sequence[tuple[Run, list[Row]]], name: str) -> float | None:
    values = [run.metrics[name] for run, _ in runs]
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"


def _mean(lines: Sequence[list[str]]) -> list[str]:
    """The mean over classes; of counts the sum."""
    mean = ["mean"]
    for column, values in enumerate(list(zip(*lines, strict=True))[1:], start=1):
        known = [float(value) for value in values if value != "-"]
        if COLUMNS[column] in ("right", "wrong", "contradictions"):
            mean.append(str(int(sum(known))))
        else:
            mean.append(f"{sum(known) / len(known):.1f}" if known else "-")
    return mean
