"""`anomalyst data`: look after data sets."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Look data sets over before they are trusted.")


@app.callback()
def data() -> None:
    """Look data sets over before they are trusted."""


@app.command()
def check(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="The set: a folder (MVTec-AD, VisA, AeBAD-S or plain), or a .csv/.jsonl table.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the whole report here as JSON, too."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole report as JSON and nothing else.")
    ] = False,
) -> None:
    """Count, open every picture and mask, and name leaks and shortcuts.

    Finds broken files, masks that are missing, left over, empty or of another size, the same
    picture in train and in test, and numbers such as brightness that alone tell good from bad.

    Example: anomalyst data check sets/bolts --out bolts-check.json

    Ends with exit code 0 whatever is found; with 2 if the set itself cannot be read.
    """
    from anomalyst.errors import AnomalystError

    try:
        _check(source, out, as_json)
    except AnomalystError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(2) from error


def _check(source: Path, out: Path | None, as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    from anomalyst.data.checks import check as check_dataset
    from anomalyst.files import write_text

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("Opening pictures", total=None)
        report = check_dataset(
            source,
            on_progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    text = json.dumps(report.as_dict(), indent=2, ensure_ascii=False)
    if out is not None:
        write_text(out, text + "\n")
    typer.echo(text if as_json else report.as_text())
