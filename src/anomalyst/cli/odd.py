"""Good pictures that look odd beside the others: shown when a product is taught, decided on."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from anomalyst.cli.screen import say
from anomalyst.errors import AnomalystError, PictureError

if TYPE_CHECKING:
    from anomalyst.product import Product
    from anomalyst.teaching.odd import OddPicture


@dataclass(frozen=True, slots=True, kw_only=True)
class OddOnes:
    """What to do with good pictures that look odd beside the others."""

    keep_odd: Annotated[
        bool, Option("--keep-odd", help="Good pictures that look odd are good: keep them.")
    ] = False
    leave_odd_out: Annotated[
        bool, Option("--leave-odd-out", help="Leave good pictures that look odd out.")
    ] = False
    odd_out: Annotated[
        Path, Option(metavar="DIR", help="Where pictures of what is odd on them go.")
    ] = Path("out/teach")

    def __post_init__(self) -> None:
        if self.keep_odd and self.leave_odd_out:
            raise AnomalystError("--keep-odd and --leave-odd-out: give one of the two.")

    @property
    def decided(self) -> bool:
        """Whether the command says what to do."""
        return self.keep_odd or self.leave_odd_out

    def settle(
        self, product: "Product", without: "Callable[[Product, list[Path]], Product]"
    ) -> "Product":
        """The product after what was decided on its odd pictures, by option or at the terminal.

        Each is named with its place and drawn. `without` teaches a product anew without some. Where
        nobody can be asked, none is decided on: the product says so until somebody does.
        """
        from anomalyst.inspection.odd_pictures import kept

        while waiting := product.undecided:
            drawings = self._show(product, waiting)
            images = [one.image for one in waiting]
            if self.keep_odd:
                say(f"Kept as good: {_names(product, images)}.")
                return kept(product, images)
            if self.leave_odd_out:
                return self._without(product, images, without)
            if not _asks():
                return product
            gone = [one.image for one in waiting if _leave_out(product, one, drawings[one.image])]
            product = kept(product, [image for image in images if image not in gone])
            if gone:
                product = self._without(product, gone, without)
        return product

    def _show(self, product: "Product", waiting: "list[OddPicture]") -> dict[Path, Path | None]:
        """Say which pictures are odd and where; the files in which that is drawn."""
        drawings = {}
        others = product.num_references - len(waiting)
        for one in waiting:
            drawings[one.image] = drawn = self._drawn(product, one)
            seen = f" Drawn in {drawn}." if drawn else ""
            say(
                f"{product.called(one.image)} looks odd beside the other {others} good pictures, "
                f"at the {one.place}: {one.spreads:.1f} of their spreads above them, as in at most "
                f"{one.p_value:.2g} of such sets by chance.{seen}"
            )
        return drawings

    def _drawn(self, product: "Product", one: "OddPicture") -> Path | None:
        """The file in which the odd places are drawn; None where the picture is gone."""
        from anomalyst.inspection.seen import look_at
        from anomalyst.io.files import write_bytes
        from anomalyst.io.pictures import encoded
        from anomalyst.report.odd import odd_drawing

        number = product.references.index(one.image) + 1
        stem = Path(product.called(one.image)).stem
        target = self.odd_out / product.name / f"{number:04d}-{stem}.png"
        try:
            picture = odd_drawing(look_at(product, one.image), one)
        except PictureError:
            return None
        write_bytes(target, encoded(picture))
        return target

    @staticmethod
    def _without(
        product: "Product",
        gone: list[Path],
        without: "Callable[[Product, list[Path]], Product]",
    ) -> "Product":
        named = _names(product, gone)
        product = without(product, gone)
        say(f"Left out: {named}. If they were good, good parts like them will be called anomalous.")
        return product


def _names(product: "Product", images: list[Path]) -> str:
    return ", ".join(product.called(image) for image in images)


def _asks() -> bool:
    """Whether somebody sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _leave_out(product: "Product", one: "OddPicture", drawn: Path | None) -> bool:
    look = f" (look at {drawn})" if drawn else ""
    return typer.confirm(f"Leave {product.called(one.image)} out?{look}", default=False, err=True)
