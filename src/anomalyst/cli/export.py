"""`anomalyst export`: a taught product as a folder that runs without Anomalyst."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.loading import load_inspector
from anomalyst.cli.screen import progress, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.inspector import Inspector
    from anomalyst.product import Product

# Of two scores, in nats: engines sum in another order, and where two patches are alike to the last
# digits the other one may win.
LARGEST_GAP = 5e-3


def export(
    product: Annotated[str, Argument(metavar="PRODUCT", help="Made with `anomalyst teach`.")],
    format: Annotated[
        str, Option(metavar="onnx|openvino", help="What runs it: ONNX Runtime, OpenVINO.")
    ] = "onnx",
    out: Annotated[
        Path | None, Option(metavar="DIR", help="Where it goes.", show_default="out/export/PRODUCT")
    ] = None,
    check: Annotated[
        Path | None, Option(metavar="DATASET", help="Then inspect all its pictures with both.")
    ] = None,
    false_alarm_rate: opt.FalseAlarmRate = 0.05,
    products: opt.Products = Path("products"),
) -> None:
    """Write the whole inspection of a product: network, memory, calibration, manifest, runner.

    The folder's runner.py needs numpy, OpenCV and ONNX Runtime (or OpenVINO), nothing of ours.

    Example: anomalyst export bolt --format onnx --out line3/bolt --check pictures/
    Example: python line3/bolt/runner.py new/*.jpg

    Exit code 1: --check found a verdict that differs, or a score by more than 0.005 nats.
    """  # fmt: skip
    from anomalyst.deployment.folder import export_product
    from anomalyst.inspection.parts import senses_of
    from anomalyst.product import find_product

    found = find_product(product, products)
    if found.sense is not None or found.companions:
        kinds = " and ".join(senses_of(found))
        raise AnomalystError(
            f"product {product!r} is judged by {kinds}; only what is judged by photographs alone "
            "can be exported."
        )
    # An exported network computes in float32, and so does what it is compared with: torch, not
    # the network that this very export leaves with the product.
    compute = opt.Compute(precision="float32", device="cpu", engine="torch")
    inspector = load_inspector(found.encoder, compute)
    target = out or Path("out/export") / product
    manifest = export_product(inspector, found, target, format=format, rate=false_alarm_rate)
    size = sum(path.stat().st_size for path in target.iterdir()) / 1e6
    typer.echo(f"{product}: exported for {manifest['engine']}, {size:.1f} MB. In {target}.")
    if manifest["pose"] == "free":
        typer.echo("It judges parts as they lie: a turned one counts as different (see README.md).")
    if check is not None:
        _check(inspector, found, target, check)


def _check(inspector: "Inspector", product: "Product", folder: Path, dataset: Path) -> None:
    """Inspect a data set with both; tell how far they differ, and end with 1 if that is too far."""
    from anomalyst.datasets.reading import read_dataset
    from anomalyst.deployment.checking import check_export

    pictures = [sample.image for sample in read_dataset(dataset)]
    with progress("Checking", len(pictures)) as bar:
        agreed = check_export(inspector, product, folder, pictures, bar.advance)
    for error in agreed.skipped:
        say(f"Skipped: {error}")
    typer.echo(
        f"{agreed.pictures} pictures: score differs by at most {agreed.score:.2g} nats, "
        f"map by {agreed.map:.2g}, {len(agreed.verdicts)} verdicts differ."
    )
    for path in agreed.verdicts:
        say(f"Verdict differs: {path}")
    if agreed.verdicts or agreed.score > LARGEST_GAP:
        raise typer.Exit(1)
    if agreed.skipped:
        raise typer.Exit(2)
