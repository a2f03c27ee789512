"""`anomalyst bench kills`: kill -9 at random points; nothing lost, nothing half-written."""

import contextlib
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, print_table, progress, say
from anomalyst.errors import AnomalystError
from anomalyst.server.kill_test import ACTS

if TYPE_CHECKING:
    from anomalyst.server.kill_test.rounds import Kill


def kills(
    kills: Annotated[int, Option(help="How many, dealt out in turn.", min=1)] = 200,
    of: Annotated[str, Option(metavar="NAME,NAME,...", help="What is killed.")] = ",".join(ACTS),
    seed: Annotated[int, Option(help="Draws which moments; how far the work is then, varies.")] = 0,
    as_json: opt.JsonObject = False,
) -> None:
    """Kill a server with SIGKILL while it works, start it again, and check all that was promised.

    Half of the kills hit any moment of the work, half a moment in which something is written; a
    quarter leave the model process to itself. After each: the product judges a picture as before or
    as after the change, what was acknowledged is there once, backups restore, rows are all there,
    the audit log fits, nothing half-written stays. Ctrl-C: the table so far. Linux.

    Example: anomalyst bench kills
    Example: anomalyst bench kills --kills 50 --of teach,backup --seed 7 --json
    """
    needs("serve", "sqlalchemy", "alembic")
    if not sys.platform.startswith("linux"):
        raise AnomalystError("bench kills forks and kills processes as Linux does; run it there.")
    names = list(dict.fromkeys(name.strip() for name in of.split(",") if name.strip()))
    unknown = [name for name in names if name not in ACTS]
    if unknown or not names:
        raise AnomalystError(f"--of {of}: give some of {', '.join(ACTS)}.")
    from anomalyst.server.kill_test.report import HEADS, row
    from anomalyst.server.kill_test.rounds import bench_kills

    found: list[Kill] = []
    with progress("Killing", kills) as bar, contextlib.suppress(KeyboardInterrupt):
        for one in bench_kills(names, kills, seed, bar.tell):
            found.append(one)
            bar.advance()
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in found], indent=1))
    else:
        rows = [row(name, [one for one in found if one.act == name]) for name in names]
        print_table(f"{len(found)} kills, seed {seed}", HEADS, rows, row("all", found))
    wrong = [one for one in found if one.problems]
    for one in wrong:
        say(f"{one.act}, {one.seconds:.3f} s, {one.last_step}: {'; '.join(one.problems)}")
    if wrong:
        raise typer.Exit(3)
