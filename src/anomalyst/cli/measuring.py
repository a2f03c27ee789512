"""`anomalyst scale` and `anomalyst rules`: millimetres for a product, and what is tolerated."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.coordinates import numbers
from anomalyst.cli.screen import print_table, say
from anomalyst.cli.senses import ManyFiles
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    from anomalyst.measuring.scale import Scale

Name = Annotated[str, Argument(metavar="PRODUCT", help="A product made with `anomalyst teach`.")]


class ManyBoards(ManyFiles):
    """`--checkerboard` takes all pictures that follow."""

    many = ("--checkerboard",)


@opt.grouped
def scale(
    product: Name,
    *,
    points: Annotated[
        str | None,
        Option(metavar="X0,Y0,X1,Y1", help="Two points of its first good picture, in pixels."),
    ] = None,
    length_mm: Annotated[float | None, Option(metavar="MM", help="How far apart they are.")] = None,
    checkerboard: Annotated[
        list[Path] | None,
        Option(
            metavar="FILE...",
            help="Pictures of a checker board; on the first it lies where parts do. 3 or more "
            "tell the lens better.",
        ),
    ] = None,
    squares: Annotated[
        str | None, Option(metavar="9x6", help="Its squares along and across.")
    ] = None,
    square_mm: Annotated[
        float | None, Option(metavar="MM", help="The side of one of its squares.")
    ] = None,
    mm_per_px: Annotated[float | None, Option(metavar="MM", help="The scale, if known.")] = None,
    plus_minus: Annotated[
        float, Option(metavar="PERCENT", help="How far off ruler, board or scale may be (95 %).")
    ] = 0.0,
    show: Annotated[bool, Option("--show", help="Say what it is, and change nothing.")] = False,
    remove: Annotated[bool, Option("--remove", help="Forget it.")] = False,
    products: opt.Products = Path("products"),
) -> None:
    """Set how many millimetres a pixel of a product's pictures is; regions are then measured in mm.

    Example: anomalyst scale bolt --points 102,88,912,95 --length-mm 50
    Example: anomalyst scale bolt --checkerboard boards/*.png --squares 9x6 --square-mm 5
    Example: anomalyst scale bolt --mm-per-px 0.05 --plus-minus 1
    Example: anomalyst scale bolt --show
    """
    from anomalyst.inspection import product_scale
    from anomalyst.measuring.settings import checked_pictures, read_measuring, write_measuring
    from anomalyst.product_index import product_folder

    folder = product_folder(product, products)
    checked_pictures(folder)
    ways = {"--points": points, "--checkerboard": checkerboard, "--mm-per-px": mm_per_px,
            "--show": show or None, "--remove": remove or None}  # fmt: skip
    given = [name for name, value in ways.items() if value is not None]
    if len(given) != 1:
        raise AnomalystError(
            f"{' and '.join(given) or 'nothing'} was given; give exactly one of {', '.join(ways)}."
        )
    before = read_measuring(folder)
    sd = plus_minus / 196
    found: Scale | None = before.scale
    if remove:
        found = None
    elif points is not None:
        if length_mm is None:
            raise AnomalystError("--points: --length-mm, how far apart they are, is missing.")
        found = product_scale.by_points(folder, numbers("--points", points, 4), length_mm, sd)
    elif checkerboard is not None:
        if squares is None or square_mm is None:
            raise AnomalystError("--checkerboard: --squares 9x6 and --square-mm are needed, too.")
        board = _squares(squares)
        found = product_scale.by_boards(folder, checkerboard, board, square_mm, sd)
    elif mm_per_px is not None:
        found = product_scale.as_given(folder, mm_per_px, sd)
    if not show:
        write_measuring(folder, replace(before, scale=found))
    typer.echo(f"{product}: {found.in_words()}" if found else f"{product}: it has no scale.")


@opt.grouped
def rules(
    product: Name,
    rule: Annotated[
        list[str] | None,
        Argument(metavar="RULE...", help="As 'scratch: length < 2 mm'; added to those it has."),
    ] = None,
    *,
    file: Annotated[
        Path | None, Option(metavar="FILE.txt", help="Rules, one a line, instead of those it has.")
    ] = None,
    remove: Annotated[
        bool, Option("--remove", help="Remove these rules; without any, all.")
    ] = False,
    products: opt.Products = Path("products"),
) -> None:
    """Show or change what a product tolerates: rules that judge after the verdict.

    A rule is KIND: LIMIT. KIND is any, a kind of defect in usual words, or one that the product was
    taught (`anomalyst store learn --kinds`); LIMIT is none, at most 3, or length, width, area or
    perimeter < a number with its unit.

    Example: anomalyst rules bolt "scratch: length < 2 mm" "spots: at most 3"
    Example: anomalyst rules bolt "any: area < 0.5 mm2"
    Example: anomalyst rules bolt --file rules.txt
    Example: anomalyst rules bolt --remove "spots: at most 3"
    """
    from anomalyst.inspection.measured import checked_rules, told_apart
    from anomalyst.measuring.rules import parse_rules
    from anomalyst.measuring.settings import (
        checked_pictures,
        own_kinds,
        read_measuring,
        write_measuring,
    )
    from anomalyst.product_index import product_folder

    folder = product_folder(product, products)
    checked_pictures(folder)
    before, own = read_measuring(folder), own_kinds(folder)
    kept, given = list(before.rules), [] if remove else checked_rules(rule or [], own)
    if file is not None:
        if rule or remove:
            raise AnomalystError("--file replaces all rules; give it alone.")
        kept = checked_rules(_lines(file), own)
    elif remove:
        # As they were kept, even those about a kind that was forgotten since.
        given = [one.text for one in parse_rules(rule or [], {}, kept=True)]
        missing = [one for one in given if one not in kept]
        if missing:
            raise AnomalystError(
                f"product {product!r} has no rule {missing[0]!r}; it has "
                f"{', '.join(map(repr, kept)) or 'none'}."
            )
        kept = [one for one in kept if given and one not in given]
    else:
        kept += [one for one in given if one not in kept]
    if tuple(kept) != before.rules:
        write_measuring(folder, replace(before, rules=tuple(kept)))
    typer.echo("\n".join(kept) if kept else f"{product}: it has no acceptance rules.")
    for note in told_apart(kept, own):
        say(f"Note: {note}")
    if before.scale is None and any(" px" not in one and "<" in one for one in kept):
        say(f"Note: rules in mm need a scale: anomalyst scale {product} --points ...")


def _squares(text: str) -> tuple[int, int]:
    across, _, down = text.lower().partition("x")
    if not (across.isdecimal() and down.isdecimal()):
        raise AnomalystError(f"--squares {text!r}: write how many along and across, as 9x6.")
    return int(across), int(down)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnomalystError(f"{path}: cannot be read as text ({error}).") from error


def measuring(
    count: Annotated[int, Option(min=10, help="Drawn things of each kind.")] = 200,
    maps: Annotated[
        int, Option(min=0, metavar="N", help="Also regions found on N drawn pictures.")
    ] = 0,
    seed: opt.Seed = 0,
) -> None:
    """Measure drawn things of known size: errors, and how often the stated interval holds.

    Example: anomalyst bench measuring --count 200 --maps 100
    """
    from anomalyst.evaluation.benchmarks.measuring import bench_maps, bench_measuring

    rows = [
        (f"{one.kind}, {one.figure}", str(one.things), f"{one.bias_px:+.2f}", f"{one.sd_px:.2f}",
         f"{one.near:.1%}", f"{one.held:.1%}")
        for one in bench_measuring(count, seed)
    ]  # fmt: skip
    heads = ["drawn, figure", "things", "bias px", "sd px", "near", "held"]
    print_table("Measured beside what was drawn", heads, rows)
    if maps:
        from anomalyst.inspector import Inspector

        for found in bench_maps(Inspector.load(), maps, seed):
            typer.echo(
                f"{found.regions} regions measured on {found.on}: {found.median:.2f} times the "
                f"defect's length (95 % of them {found.low:.2f} to {found.high:.2f}); the stated "
                f"interval holds it in {found.held:.0%}."
            )
