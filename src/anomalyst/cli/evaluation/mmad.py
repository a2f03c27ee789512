"""`anomalyst mmad`: the MMAD benchmark's questions, answered by likelihood."""

import json
from pathlib import Path
from typing import Annotated

import typer

from anomalyst.cli.screen import Encoder, progress, say


def mmad(
    questions: Annotated[
        Path, typer.Argument(metavar="MMAD.json", help="The benchmark's file.", show_default=False)
    ],
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where its pictures lie.", show_default="beside the file"),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the answers and the table go.")
    ] = Path("out/mmad"),
    encoder: Encoder = "embedded",
) -> None:
    """Answer MMAD's multiple-choice questions, each picture beside one good one.

    Writes answers.jsonl (a line a question) and table.json.

    Example: anomalyst mmad MMAD/mmad.json --out out/mmad

    Exit code 2: a picture could not be read; its questions are left out and named.
    """
    from anomalyst.errors import PictureError
    from anomalyst.evaluation.mmad import mmad_table, read_mmad, run_mmad
    from anomalyst.inspector import Inspector
    from anomalyst.io.files import write_text

    entries = read_mmad(questions, root or questions.parent)
    inspector = Inspector.load(encoder)
    choices, skipped = [], 0
    with progress("Answering", len(entries)) as (bar, task):
        for found in run_mmad(inspector, entries, on_entry=lambda: bar.advance(task)):  # type: ignore[arg-type]
            if isinstance(found, PictureError):
                say(f"Skipped: {found}")
                skipped += 1
            else:
                choices.append(found)
    lines = [
        json.dumps(
            {
                "image": str(c.entry.image),
                "type": c.question.kind,
                "question": c.question.text,
                "chosen": c.question.options[c.chosen],
                "right": c.question.options[c.question.right],
                "correct": c.correct,
            }
        )
        for c in choices
    ]
    write_text(out / "answers.jsonl", "".join(f"{line}\n" for line in lines))
    table = mmad_table(choices) if choices else {}
    write_text(out / "table.json", json.dumps(table, indent=2) + "\n")
    for dataset, line in table.items():
        cells = "  ".join(f"{kind} {100 * share:.1f}" for kind, share in line.items())
        typer.echo(f"{dataset}: {cells}")
    typer.echo(f"Written to {out}")
    if skipped:
        raise typer.Exit(2)
