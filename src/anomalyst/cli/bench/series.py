"""`anomalyst bench series`: methods for recordings beside published ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli.screen import Bar, needs, progress
from anomalyst.errors import AnomalystError


def series(
    skab: Annotated[
        Path | None, Option(metavar="DIR", help="A copy of github.com/waico/SKAB.")
    ] = None,
    nab: Annotated[
        Path | None, Option(metavar="DIR", help="A copy of github.com/numenta/NAB.")
    ] = None,
    drawn: Annotated[int, Option(min=0, help="Drawn machines; 0: none.")] = 0,
    methods: Annotated[
        str, Option(metavar="NAME,NAME,...", help="Only these.", show_default="all")
    ] = "",
    out: Annotated[
        Path, Option(metavar="DIR", help="Where results go, and where they are gone on with.")
    ] = Path("out/series"),
) -> None:
    """Score limits, EWMA, CUSUM, matrix profile and forecasters on SKAB, NAB and drawn signals.

    Each method learns from the beginning of each file (SKAB: 400 rows, NAB: the probation). Dials
    are chosen on half of the files. The memory of a taught product looks at whole recordings, so it
    is scored on drawn signals only. Tables are in DIR/series.md and series.json, bars in
    series.png; the same command again goes on where an interrupted one stopped, file by file.

    Example: anomalyst bench series --skab sets/SKAB --nab sets/NAB --out out/series

    Example: anomalyst bench series --drawn 48 --methods lstm,matrix_profile
    """
    if skab is None and nab is None and not drawn:
        raise AnomalystError(
            "there is nothing to measure on; give --skab DIR, --nab DIR or --drawn 48."
        )
    needs("evaluate", "matplotlib")
    from anomalyst.detection.signals.names import MEMORY
    from anomalyst.evaluation.benchmarks.series.costs import costs
    from anomalyst.evaluation.benchmarks.series.drawn_rows import drawn_rows
    from anomalyst.evaluation.benchmarks.series.report import (
        SeriesBench,
        as_markdown,
        write_report,
    )
    from anomalyst.evaluation.benchmarks.series.yardsticks import nab_rows, skab_rows

    names = read_methods(methods)
    streams = [name for name in names if name != MEMORY]  # it looks ahead, too
    rows = []
    with progress("Measuring") as bar:
        told = counting(bar)
        if drawn:
            rows += drawn_rows(drawn, names, out / "drawn", told)
        if skab is not None:
            rows += skab_rows(skab, streams, out / "skab", told)
        if nab is not None:
            rows += nab_rows(nab, streams, out / "nab", told)
        found = SeriesBench(rows=tuple(rows), costs=tuple(costs(streams, told)))
    write_report(found, out)
    typer.echo(as_markdown(found))
    typer.echo(f"Written to {out}: series.md, series.json{', series.png' if found.costs else ''}")


def counting(bar: Bar) -> Callable[[str], None]:
    """Says on the bar what was done last."""

    def told(name: str) -> None:
        bar.describe(name)
        bar.advance()

    return told


def read_methods(text: str) -> tuple[str, ...]:
    """What --methods says; all for nothing. Raises AnomalystError for a name there is not."""
    from anomalyst.detection.signals.names import JUDGES
    from anomalyst.hardware.processor import checked_choice

    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        checked_choice("--methods", name, JUDGES)
    return names or JUDGES
