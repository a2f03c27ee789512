"""`anomalyst teach`: learn a product from good pictures."""

from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from anomalyst.cli.inspect import load_inspector
from anomalyst.cli.screen import (
    Adapt,
    Device,
    EncoderName,
    Precision,
    Products,
    SideOption,
    SmallestDefect,
    pictures_in,
    progress,
    say,
)


def teach(
    name: Annotated[str, typer.Argument(help="What to call the product.", show_default=False)],
    good: Annotated[
        list[Path],
        typer.Argument(metavar="GOOD...", help="Good pictures, or folders.", show_default=False),
    ],
    products: Products = Path("products"),
    pose: Annotated[
        str, typer.Option(metavar="auto|fixed|free", help="Does it lie any way round?")
    ] = "auto",
    encoder: EncoderName = None,
    precision: Precision = "auto",
    device: Device = "auto",
    side: SideOption = None,
    smallest_defect_px: SmallestDefect = None,
    adapt: Adapt = None,
    describe: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What to know of it, as in 'the print should read 500'."),
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Forget what it was taught before.")
    ] = False,
) -> None:
    """Make a product from good pictures, or add them to one that exists.

    One picture is enough to inspect with; 19 or more calibrate a false-alarm rate of 5 %.

    Example: anomalyst teach bolt pictures/good/
    Example: anomalyst teach bolt pictures/good/ --smallest-defect-px 12 --replace
    """
    from anomalyst.catalogue import check_name
    from anomalyst.detection.adaptation import AdaptationConfig
    from anomalyst.errors import AnomalystError
    from anomalyst.product import Product

    check_name(name)
    if pose not in ("auto", "fixed", "free"):
        raise AnomalystError(f"--pose {pose!r}: is none of auto, fixed, free.")
    pictures = pictures_in(good)
    folder = products / name
    if folder.exists() and not (folder / "product.json").exists():
        # With --replace, too: this may be somebody's folder of pictures.
        raise AnomalystError(
            f"{folder}: is there and is no product; choose another name, or another --products."
        )
    known = Product.load(folder) if folder.exists() and not replace else None
    inspector = load_inspector(
        encoder or (known.encoder if known else "embedded"), None, precision, device, "auto",
        side, smallest_defect_px,
    )  # fmt: skip
    total = len(pictures) + (known.num_references if known else 0)
    with progress("Looking at good pictures", total) as (bar, task):
        fitted = count(1)

        def fit() -> None:
            steps = AdaptationConfig().steps
            bar.update(task, description="Fitting to it", completed=next(fitted), total=steps)  # type: ignore[arg-type]

        product = inspector.teach(
            name,
            pictures,
            product=known,
            pose=pose,  # type: ignore[arg-type]
            adapted=adapt,
            on_picture=lambda _: bar.advance(task),  # type: ignore[arg-type]
            on_step=fit,
        )
    product.description = describe or product.description
    product.save(folder)
    for note in product.notes:
        say(note)
    if product.side_reason:
        typer.echo(f"{name}: {product.side_reason}.")
    how = "added to" if known else "taught"
    typer.echo(
        f"{name}: {how}, {product.num_references} good picture"
        f"{'' if product.num_references == 1 else 's'}, pose {product.pose}, "
        f"{'fitted to it' if product.head else 'not fitted'}. Saved in {folder}."
    )
    if product.notes:
        raise typer.Exit(2)
