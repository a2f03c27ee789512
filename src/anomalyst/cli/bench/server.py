"""`anomalyst bench serve|corrections`: the server under load; what corrections are worth."""

from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress, say


def serve(
    inspections: Annotated[int, Option(help="How many in each run.", min=10)] = 1000,
    clients: Annotated[int, Option(help="How many send at once.", min=1)] = 16,
    kills: Annotated[int, Option(help="SIGKILLs in the second run; 0: no second run.")] = 1,
) -> None:
    """Inspections by many clients: first page, memory, throughput, p95; nothing lost or doubled.

    The second run kills server and model on the way and starts them again.

    Example: anomalyst bench serve --inspections 200
    """
    needs("serve", "fastapi", "gradio", "httpx")
    from rich.console import Console
    from rich.table import Table

    from anomalyst.server.load_test import measure, table

    loads = []
    for name, killed in (("in peace", 0), ("killed", kills)):
        if name == "in peace" or killed:
            with progress(f"Inspecting, {name}") as bar:
                loads.append((name, measure(inspections, clients, kills=killed, told=bar.show)))
    head, *rows = table(loads)
    shown = Table(*head, box=None, pad_edge=False, header_style="dim")
    for row in rows:
        shown.add_row(*row)
    Console().print(shown)
    if any(load.lost or load.doubled for _, load in loads):
        raise typer.Exit(3)


def corrections(
    dataset: opt.Dataset,
    category: opt.Categories = None,
    good: Annotated[int, Option(min=2, help="Good pictures each product learns from.")] = 8,
    count: Annotated[int, Option(min=1, help="False alarms called fine.")] = 2,
    most: Annotated[int, Option(min=2, help="Test pictures of each label.")] = 20,
) -> None:
    """Call the worst false alarms of real products fine, and see what that changes elsewhere.

    Example: anomalyst bench corrections sets/mvtec --category screw
    """
    needs("evaluate", "matplotlib")
    from anomalyst.evaluation.benchmarks.feedback import bench_corrections
    from anomalyst.evaluation.reports.tables import markdown_table

    rows = [
        (
            one.category,
            f"{one.gone} of {one.corrections}",
            *(f"{100 * value:.1f}" for value in one.auroc),
            *(f"{value} of {one.good}" for value in one.alarms),
            *(f"{value} of {one.defective}" for value in one.found),
        )
        for one in bench_corrections(
            dataset, category or (), good=good, corrections=count, most=most, say=say
        )
    ]
    heads = ["product", "gone", "image AUROC before", "after", "false alarms before", "after",
             "defects found before", "after"]  # fmt: skip
    typer.echo(markdown_table(heads, rows, words=1))
