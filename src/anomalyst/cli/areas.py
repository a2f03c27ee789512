"""`anomalyst areas`: which places of a product's pictures count, and which do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.loading import load_inspector, picture_encoder
from anomalyst.cli.screen import progress, say
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.io.areas import Area, Areas
    from anomalyst.io.deep_pictures import PictureReading
    from anomalyst.product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaFiles:
    """Areas in files, and whether only the product itself counts."""

    roi: Annotated[
        list[str] | None,
        Option(
            metavar="NAME=FILE",
            help="Look only here: points.json ([[x, y], ...]) or mask.png; may be repeated.",
        ),
    ] = None
    ignore: Annotated[
        list[str] | None,
        Option(metavar="NAME=FILE", help="Do not look here: the same; may be repeated."),
    ] = None
    on_product: Annotated[
        bool | None,
        Option(
            "--on-product/--everywhere",
            help="Whether what lies beside the product counts.",
            show_default="as it was; everywhere",
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.roi or self.ignore) or self.on_product is not None

    def on(self, first: Path, before: "Areas | None", reading: "PictureReading") -> "Areas":
        """These with those of before, on the first good picture, which is read so.

        Raises AnomalystError for a file or a name that is no area, PictureError for a mask of
        another size or a picture that cannot be read.
        """
        from anomalyst.inspection.areas import where_product_is
        from anomalyst.io.areas import Areas
        from anomalyst.io.pictures import open_picture

        picture = open_picture(first, reading)
        size_hw = (picture.shape[0], picture.shape[1])
        product = before.product if before else None
        if self.on_product is not None:
            product = where_product_is(picture) if self.on_product else None
        drawn = (*(before.drawn if before else ()), *self._read(size_hw))
        return Areas(size_hw=size_hw, drawn=drawn, product=product)

    def _read(self, size_hw: tuple[int, int]) -> "Sequence[Area]":
        from anomalyst.io.areas import area_of

        found = []
        for use, said in (("roi", self.roi or []), ("ignore", self.ignore or [])):
            for one in said:
                name, equals, file = one.partition("=")
                if not (equals and file):
                    raise AnomalystError(
                        f"--{use} {one}: a name and a file are needed, as in cable=points.json."
                    )
                found.append(area_of(name, use, Path(file), size_hw))
        return found


@opt.grouped
def areas(
    product: Annotated[str, Argument(metavar="PRODUCT", help="Made with `anomalyst teach`.")],
    *,
    files: AreaFiles,
    remove: Annotated[
        list[str] | None, Option(metavar="NAME", help="Drop this area; may be repeated.")
    ] = None,
    show: Annotated[
        Path | None, Option(metavar="PNG", help="Draw the areas on the first good picture.")
    ] = None,
    products: opt.Products = Path("products"),
    precision: opt.Precision = "auto",
    device: opt.Device = "auto",
) -> None:
    """List, show and change the areas of a product: places that count, and places that do not.

    They are drawn on its first good picture (products/NAME/references/0001) and move with the part.
    A polygon is a JSON list of points [x, y] in its pixels; a mask is a picture of its size, white
    on black. What does not count raises no alarm and is in no map, region or word. The good
    pictures are judged anew, so that the false-alarm rate still holds.

    Example: anomalyst areas bolt --ignore cable=cable.json --ignore label=label.png
    Example: anomalyst areas bolt --roi thread=thread.json --on-product --show areas.png
    Example: anomalyst areas bolt --remove cable
    Example: anomalyst areas bolt
    """
    from anomalyst.inspection.areas import refuse_product
    from anomalyst.product import find_product

    if show is not None and show.suffix.lower() != ".png":
        raise AnomalystError(f"--show {show}: is drawn as a PNG; give a name that ends in .png.")
    known = find_product(product, products)
    refuse_product(known)
    if files.given or remove:
        left = known.areas
        for name in remove or []:
            if left is None:
                raise AnomalystError(f"product {product!r} has no areas; there is no {name!r}.")
            left = left.without(name)
        wanted = files.on(known.references[0], left, known.reading)
        inspector = load_inspector(
            picture_encoder(known), opt.Compute(precision=precision, device=device)
        )
        with progress("Judging the good pictures anew", known.num_references) as bar:
            known = inspector.with_areas(known, wanted or None, on_picture=bar.advance)
        known.save(products / product)
    _tell(known)
    if show is not None:
        _draw(known, show)


def _tell(product: "Product") -> None:
    for note in product.notes:
        say(note)
    found = product.areas
    if not found:
        typer.echo(f"{product.name}: all of a picture counts.")
        return
    pixels = found.size_hw[0] * found.size_hw[1]
    for area in found.drawn:
        form = f"{len(area.points_xy)} points" if area.mask is None else "a mask"
        share = area.covered(found.size_hw).sum() / pixels
        typer.echo(f"{area.use:6} {area.name}: {form}, {share:.1%} of the first good picture")
    share = found.counted.mean()
    typer.echo(f"{product.name}: {found.sentence} {share:.1%} of the first good picture counts.")


def _draw(product: "Product", target: Path) -> None:
    from anomalyst.io.areas import Areas
    from anomalyst.io.files import write_bytes
    from anomalyst.io.pictures import encoded, open_picture
    from anomalyst.report.areas import drawn_areas

    picture = open_picture(product.references[0], product.reading)
    found = product.areas or Areas(size_hw=(picture.shape[0], picture.shape[1]))
    write_bytes(target, encoded(drawn_areas(picture, found)))
    typer.echo(f"Drawn in {target}.")
