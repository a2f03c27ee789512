"""`anomalyst bench shifts`: are the numbers of shift reports right?"""

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress
from anomalyst.cli.server.report import TextModel


def shifts(
    count: Annotated[
        int, Option("--shifts", min=1, metavar="N", help="How many shifts to draw.")
    ] = 500,
    seed: opt.Seed = 0,
    model: TextModel = None,
    as_json: opt.JsonObject = False,
) -> None:
    """Draw shifts, keep them in a record, write their summaries, and count the numbers again.

    The second count goes over what was drawn and shares no code with the summary. Each number is
    then changed by one, and each name for another, to see whether the check would have noticed.

    Example: anomalyst bench shifts --shifts 500
    Example: anomalyst bench shifts --shifts 50 --model run:runs/bart
    """
    needs("serve", "sqlalchemy")
    from anomalyst.server.records.shift_bench import bench_shifts

    writer = None
    if model is not None:
        from anomalyst.vlm.texts.summarising import shift_writer

        writer = shift_writer(model)
    with tempfile.TemporaryDirectory() as home, progress("Reporting shifts", count) as bar:
        found = bench_shifts(Path(home), count, seed, writer, told=bar.show)
    if as_json:
        typer.echo(json.dumps(found.as_dict(), indent=2))
        return
    lengths = ", ".join(f"{many} of {n}" for n, many in sorted(found.lengths.items()))
    typer.echo(
        f"{found.shifts} shifts ({found.empty} empty), summaries by sentences: {lengths}.\n"
        f"{found.numbers} numbers in {found.sentences} sentences, {found.wrong} wrong.\n"
        f"Changed by one: {found.altered} numbers; names swapped: {found.swapped}; of these "
        f"{len(found.unnoticed)} would have passed."
    )
    if model is not None:
        kept = found.kept / max(1, found.kept + found.refused)
        typer.echo(
            f"The model's sentences: {found.kept} said, {found.refused} refused ({kept:.0%} held)."
        )
    for example in found.examples[:10]:
        typer.echo(f"Wrong: {example}")
    if found.wrong:
        raise typer.Exit(1)
