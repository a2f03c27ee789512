"""`anomalyst export`: a taught product as a folder that runs without Anomalyst."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anomalyst.cli.loading import load_inspector
from anomalyst.cli.screen import FalseAlarmRate, Products, progress, say

if TYPE_CHECKING:
    from anomalyst.deployment.checking import Agreement

# Of two scores, in nats: engines sum in another order, and where two patches are alike to the last
# digits the other one may win.
LARGEST_GAP = 5e-3


def export(
    product: Annotated[
        str,
        typer.Argument(
            metavar="PRODUCT", help="A product made with `anomalyst teach`.", show_default=False
        ),
    ],
    format: Annotated[
        str, typer.Option(metavar="onnx|openvino", help="What runs it: ONNX Runtime, OpenVINO.")
    ] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where it goes.", show_default="out/export/PRODUCT"),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="DATASET", help="Then inspect all its pictures with both."),
    ] = None,
    false_alarm_rate: FalseAlarmRate = 0.05,
    products: Products = Path("products"),
) -> None:
    """Write the whole inspection of a product: network, memory, calibration, manifest, runner.

    The folder's runner.py needs numpy, OpenCV and ONNX Runtime (or OpenVINO), nothing of ours.

    Example: anomalyst export bolt --format onnx --out line3/bolt --check pictures/
    Example: python line3/bolt/runner.py new/*.jpg

    Exit code 1: --check found a verdict that differs, or a score by more than 0.005 nats.
    """  # fmt: skip
    from anomalyst.deployment.checking import check_export
    from anomalyst.deployment.folder import export_product
    from anomalyst.product import find_product

    found = find_product(product, products)
    # An exported network computes in float32, and so does what it is compared with: torch, not
    # the network that this very export leaves with the product.
    inspector = load_inspector(found.encoder, None, "float32", "cpu", "torch")
    target = out or Path("out/export") / product
    manifest = export_product(inspector, found, target, format=format, rate=false_alarm_rate)
    size = sum(path.stat().st_size for path in target.iterdir()) / 1e6
    typer.echo(f"{product}: exported for {manifest['engine']}, {size:.1f} MB. In {target}.")
    if manifest["pose"] == "free":
        typer.echo("It judges parts as they lie: a turned one counts as different (see README.md).")
    if check is None:
        return
    from anomalyst.datasets.reading import read_dataset

    pictures = [sample.image for sample in read_dataset(check)]
    with progress("Checking", len(pictures)) as (bar, task):
        agreed = check_export(
            inspector,
            found,
            target,
            pictures,
            lambda: bar.advance(task),  # type: ignore[arg-type]
        )
    _tell(agreed)


def _tell(agreed: "Agreement") -> None:
    for error in agreed.skipped:
        say(f"Skipped: {error}")
    typer.echo(
        f"{agreed.pictures} pictures: score differs by at most {agreed.score:.2g} nats, "
        f"map by {agreed.map:.2g}, "
        f"{len(agreed.verdicts)} verdicts differ."
    )
    for path in agreed.verdicts:
        say(f"Verdict differs: {path}")
    if agreed.verdicts or agreed.score > LARGEST_GAP:
        raise typer.Exit(1)
    if agreed.skipped:
        raise typer.Exit(2)
