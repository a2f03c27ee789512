"""The comparison of text models as a page."""

import json
from collections.abc import Sequence
from pathlib import Path

from anomalyst.io.files import write_text
from anomalyst.training.studies.page import Section, write_page
from anomalyst.training.studies.texts.comparison import FEW, TextRow, TextsStudy

HEADS = (
    "model", "parameters", f"kind, {FEW} labels %", "kind, all labels %", "recall@1 %", "@5 %",
    "@10 %", "bare cosine @1 / 5 / 10 %", "answers hold %", "summary topics told truly %",
    "of what it wrote, true %", "s / summary",
)  # fmt: skip


def table(rows: Sequence[TextRow]) -> list[list[str]]:
    """The rows as cells under HEADS."""
    return [
        [
            row.name,
            f"{row.parameters:,}" if row.parameters else "-",
            *(_percent(value) for value in (row.kind_few, row.kind_all, *row.recall)),
            " / ".join(map(_percent, row.plain_recall)),
            *(_percent(value) for value in (row.answers, row.facts, row.held)),
            f"{row.seconds:.2f}" if row.seconds == row.seconds else "-",
        ]
        for row in rows
    ]


def write_texts_page(out: Path, study: TextsStudy, rows: Sequence[TextRow]) -> str:
    """OUT/texts.html, texts.md and texts.json; returns the Markdown."""
    write_text(out / "texts.json", json.dumps([row.as_dict() for row in rows], indent=1) + "\n")
    intro = [
        f"Held-out drawn texts: {study.notes} notes for their kind, {study.searched} notes looked "
        f"for among as many records, {study.answers} questions, {study.shifts} shifts. Heads are "
        f"ridge regressions on each model's mean-pooled vectors, fitted on {study.fitted_on} notes "
        f"({FEW} of them labelled, or all).",
        "An answer holds if no sentence goes against the facts. A summary's topic is told truly if "
        "a sentence of the model about it holds; reports replace the others by templates. A model "
        "of BERT's class writes nothing.",
    ]
    section = Section(title="The same tasks", heads=HEADS, rows=table(rows))
    return write_page(out, "texts", "BERT, GPT-2 and BART on inspection texts", intro, [section])


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f}"
