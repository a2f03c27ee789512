"""`anomalyst bench senses`: several senses of one part beside each of them."""

from pathlib import Path
from typing import Annotated

import typer
from typer import Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, progress


def senses(
    products: Annotated[int, Option(min=2, help="Drawn anew.")] = 200,
    good: Annotated[int, Option(min=1, help="Good parts each is taught with.")] = 20,
    sound: Annotated[int, Option(min=1, help="Sound parts of each to judge.")] = 5,
    faulty: Annotated[int, Option(min=1, help="Faulty parts of each to judge.")] = 7,
    only: Annotated[
        str, Option(metavar="SENSE,SENSE,...", help="Two or more.", show_default="all five")
    ] = "",
    rate: Annotated[float, Option("--false-alarm-rate", help="Of the verdicts.")] = 0.05,
    seed: Annotated[int, Option(help="Of the products.")] = 7,
    out: opt.Results = Path("out/senses-bench"),
) -> None:
    """Teach drawn products by picture, depth, heat, sound and vibration, and judge other parts.

    AUROC of each sense and of all together, faults found by what befell the part, and how often
    sound parts raise an alarm. Writes senses.md, senses.json and senses.png; the same command goes
    on where an interrupted one stopped, product by product.

    Example: anomalyst bench senses --products 20 --out out/senses-bench

    Example: anomalyst bench senses --only audio,series
    """
    needs("senses", "soundfile", "pandas")
    needs("evaluate", "matplotlib")
    from anomalyst.calibration.conformal import checked_rate
    from anomalyst.evaluation.benchmarks.several_senses.judged import SeveralSenses, judge_products
    from anomalyst.evaluation.benchmarks.several_senses.report import write_report
    from anomalyst.product_index import SENSES

    named = tuple(dict.fromkeys(one.strip() for one in only.split(",") if one.strip()))
    config = SeveralSenses(
        products=products, good=good, sound=sound, faulty=faulty, senses=named or SENSES,
        rate=checked_rate(rate), seed=seed,
    )  # fmt: skip
    with progress("Judging", total=products) as bar:
        records = judge_products(config, out, lambda _: bar.advance())
    typer.echo(write_report(records, config.rate, out))
    typer.echo(f"Written to {out}: senses.md, senses.json, senses.png")
