"""`anomalyst bench areas`: what ignore zones do to alarms, and what they cost."""

import json
from dataclasses import asdict
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import print_table, progress


def areas(
    products: Annotated[int, Option(min=1, help="Drawn products.")] = 20,
    good: Annotated[int, Option(min=2, help="Good pictures taught of each.")] = 20,
    fresh: Annotated[int, Option(min=1, help="New good pictures of each.")] = 20,
    side: Annotated[int, Option(min=64, max=1024, help="Working side.")] = 256,
    false_alarm_rate: opt.FalseAlarmRate = 0.05,
    as_json: opt.JsonObject = False,
) -> None:
    """Teach drawn products with and without an ignore zone, and count alarms.

    Each new good picture is judged as it is, with a spot in the zone and with one beside it.

    Example: anomalyst bench areas --products 8
    """
    from anomalyst.evaluation.benchmarks.areas import bench_areas

    rows = []
    with progress("Teaching and inspecting", products) as bar:
        for number, one in enumerate(
            bench_areas(products, good=good, fresh=fresh, rate=false_alarm_rate, side_px=side), 1
        ):
            rows.append(one)
            bar.show(number, products)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in rows], indent=1))
        return
    heads = ["product", "each", "good", "in it", "beside", "off %", "ms", "all ms"]
    table = [
        (
            one.family,
            str(one.fresh),
            *(f"{before} -> {after}" for before, after in (one.alarms, one.inside, one.outside)),
            f"{100 * one.off:.1f}",
            f"{one.cost_ms:.1f}",
            f"{one.whole_ms:.0f}",
        )
        for one in rows
    ]
    print_table(
        "alarms without areas -> with an ignore zone: good, spot in it, beside", heads, table
    )
    typer.echo("off: of the zone's middle, of the side; ms: to follow the part, of all ms.")
    total = sum(one.fresh for one in rows)
    before, after = (sum(one.alarms[i] for one in rows) for i in (0, 1))
    typer.echo(
        f"False alarms of {total} good pictures: {before / total:.1%} without, "
        f"{after / total:.1%} with the zone; {false_alarm_rate:.0%} were asked for."
    )
