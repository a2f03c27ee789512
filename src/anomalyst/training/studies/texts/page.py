"""The comparison of text models as a page."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from anomalyst.io.files import write_text
from anomalyst.report.sections import Section
from anomalyst.training.studies.page import write_page
from anomalyst.training.studies.texts.comparison import FEW, TextRow, TextsStudy

TASKS: dict[str, Callable[[TextRow], str]] = {  # what is asked -> a model's cell
    "parameters": lambda row: f"{row.parameters:,}" if row.parameters else "-",
    f"kind of a note, {FEW} labels, %": lambda row: _percent(row.kind_few),
    "kind of a note, all labels, %": lambda row: _percent(row.kind_all),
    "search, recall@1, %": lambda row: _percent(row.recall[0]),
    "search, recall@5, %": lambda row: _percent(row.recall[1]),
    "search, recall@10, %": lambda row: _percent(row.recall[2]),
    "the same, bare cosine, @1, %": lambda row: _percent(row.plain_recall[0]),
    "the same, bare cosine, @10, %": lambda row: _percent(row.plain_recall[2]),
    "answers that hold, %": lambda row: _percent(row.answers),
    "summary topics told truly, %": lambda row: _percent(row.facts),
    "sentences written that hold, %": lambda row: _percent(row.held),
    "seconds for a summary": lambda row: _number(row.seconds),
}


def heads(rows: Sequence[TextRow]) -> list[str]:
    """A column for each model."""
    return ["task", *(row.name for row in rows)]


def table(rows: Sequence[TextRow]) -> list[list[str]]:
    """A row for each task, below `heads`."""
    return [[task, *(cell(row) for row in rows)] for task, cell in TASKS.items()]


def write_texts_page(out: Path, study: TextsStudy, rows: Sequence[TextRow]) -> str:
    """OUT/texts.html, texts.md and texts.json; returns the Markdown."""
    write_text(out / "texts.json", json.dumps([row.as_dict() for row in rows], indent=1) + "\n")
    intro = [
        f"Held-out drawn texts: {study.notes} notes for their kind, {study.searched} notes looked "
        f"for among as many records, {study.answers} questions, {study.shifts} shifts. Heads are "
        f"ridge regressions on each model's mean-pooled vectors, fitted on {study.fitted_on} notes "
        f"({FEW} of them labelled, or all).",
        "An answer holds if it claims something and no sentence goes against the facts. A "
        "summary's topic is told truly if a sentence of the model about it holds; reports replace "
        "the others by templates. A model of BERT's class writes nothing.",
    ]
    section = Section(title="The same tasks", heads=heads(rows), rows=table(rows))
    return write_page(out, "texts", "BERT, GPT-2 and BART on inspection texts", intro, [section])


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f}"


def _number(value: float) -> str:
    return "-" if value != value else f"{value:.2f}"
