"""`anomalyst mmad`: the MMAD benchmark's questions, answered by likelihood."""

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import progress, say
from anomalyst.errors import PictureError
from anomalyst.io.files import write_text


def mmad(
    questions: Annotated[Path, Argument(metavar="MMAD.json", help="The benchmark's file.")],
    root: Annotated[
        Path | None,
        Option(metavar="DIR", help="Where its pictures lie.", show_default="beside the file"),
    ] = None,
    out: opt.Results = Path("out/mmad"),
    encoder: opt.Encoder = "embedded",
) -> None:
    """Answer MMAD's multiple-choice questions, each picture beside one good one.

    Writes answers.jsonl (a line a question) and table.json.

    Example: anomalyst mmad MMAD/mmad.json --out out/mmad

    Exit code 2: a picture could not be read; its questions are left out and named.
    """
    from anomalyst.evaluation.mmad import mmad_table, read_mmad, run_mmad
    from anomalyst.inspector import Inspector

    entries = read_mmad(questions, root or questions.parent)
    choices, skipped = [], 0
    with progress("Answering", len(entries)) as bar:
        for found in run_mmad(Inspector.load(encoder), entries, on_entry=bar.advance):
            if isinstance(found, PictureError):
                say(f"Skipped: {found}")
                skipped += 1
            else:
                choices.append(found)
    answers = "".join(json.dumps(choice.as_dict()) + "\n" for choice in choices)
    write_text(out / "answers.jsonl", answers)
    table = mmad_table(choices) if choices else {}
    write_text(out / "table.json", json.dumps(table, indent=2) + "\n")
    for dataset, line in table.items():
        cells = "  ".join(f"{kind} {100 * share:.1f}" for kind, share in line.items())
        typer.echo(f"{dataset}: {cells}")
    typer.echo(f"Written to {out}")
    if skipped:
        raise typer.Exit(2)
