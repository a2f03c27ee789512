"""The predecessor's table: class | image AUROC | pixel AUROC | right | wrong | accuracy."""

from collections.abc import Sequence
from pathlib import Path

from anomalyst.evaluation.language import QUESTION, strictly_yes_or_no, yes_or_no
from anomalyst.evaluation.protocols.protocol import Results
from anomalyst.evaluation.protocols.run_records import Row, Run, by_category, read_rows
from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.io.files import write_text

COLUMNS = (
    "class", "image AUROC", "pixel AUROC", "right", "wrong", "accuracy", "strict", "verdict",
    "place", "box IoU", "contradictions",
)  # fmt: skip


def write_language_table(results: Results, out: Path) -> str:
    """Write language.md and language.csv, all draws of a class together; returns the table."""
    lines = [_line(name or "all", runs, out) for name, runs in by_category(results.runs).items()]
    lines.append(_mean(lines))
    table = markdown_table(COLUMNS, lines)
    text = (
        f'# What the words say\n\nAsked: "{QUESTION}". Accuracy: "Yes" for a defect, "No" for '
        "none, in percent;\nstrict: as the first word, and not both. Verdict: the accuracy of the "
        "calibrated verdict alone,\nunsure counted as wrong. Place: the first place named is one "
        f"of the defect's cells.\n\n{table}\n"
    )
    write_text(out / "language.md", text)
    rows = "".join(",".join(line) + "\n" for line in (COLUMNS, *lines))
    write_text(out / "language.csv", rows)
    return table


def _line(name: str, runs: Sequence[Run], out: Path) -> list[str]:
    rows = [row for run in runs for row in read_rows(out, run)]
    truth = [row.label == "anomalous" for row in rows]
    said = [yes_or_no(row.words) for row in rows]
    strict = [strictly_yes_or_no(row.words) for row in rows]
    verdicts = [{"anomalous": True, "normal": False}.get(row.verdict) for row in rows]
    right = sum(s is t for s, t in zip(said, truth, strict=True))
    places = [row.place_right == "yes" for row in rows if row.place_right]
    ious = [float(row.box_iou) for row in rows if row.box_iou]
    return [
        name,
        _percent(_average([run.metrics["image_auroc"] for run in runs])),
        _percent(_average([run.metrics["pixel_auroc"] for run in runs])),
        str(right),
        str(len(rows) - right),
        _percent(right / len(rows)),
        _percent(_share(strict, truth)),
        _percent(_share(verdicts, truth)),
        _percent(_average(places)),
        _percent(_average(ious)),
        str(sum(contradicts(row) for row in rows)),
    ]


def contradicts(row: Row) -> bool:
    """Whether the words say yes of a normal verdict, or no of another."""
    said = strictly_yes_or_no(row.words)
    return said is (row.verdict == "normal")


def _share(said: Sequence[bool | None], truth: Sequence[bool]) -> float:
    return sum(s is t for s, t in zip(said, truth, strict=True)) / len(truth)


def _average(values: Sequence[float | None]) -> float | None:
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
