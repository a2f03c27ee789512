"""`anomalyst segment`: clicks, a box or a word on a picture -> the crisp mask of what is meant."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli.coordinates import numbers
from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    import numpy as np

    from anomalyst.segmentation.prompts import Prompt, Segment


def segment(
    picture: Annotated[Path, Argument(metavar="PICTURE")],
    point: Annotated[
        list[str] | None, Option(metavar="X,Y", help="A place on the thing; may be repeated.")
    ] = None,
    beside: Annotated[
        list[str] | None, Option("--not", metavar="X,Y", help="A place that is not of it.")
    ] = None,
    box: Annotated[
        str | None, Option(metavar="X0,Y0,X1,Y1", help="A box around it, in pixels.")
    ] = None,
    mask: Annotated[
        Path | None, Option(metavar="FILE.png", help="What is known of it, white on black.")
    ] = None,
    text: Annotated[
        str | None, Option(metavar="WORDS", help="What it is: scratch, screw, product.")
    ] = None,
    view: Annotated[
        str | None,
        Option(metavar="X0,Y0,X1,Y1", help="The part of the picture to look at closely."),
    ] = None,
    all_things: Annotated[
        bool, Option("--everything", help="All that can be told apart, without a word about it.")
    ] = False,
    segmenter: Annotated[
        str, Option(metavar="default|run:DIR|sam:DIR|grabcut", help="What draws the mask.")
    ] = "default",
    out: Annotated[Path, Option(metavar="FILE.png", help="The mask; beside it FILE.shown.png.")] = (
        Path("out/mask.png")
    ),
    as_json: Annotated[bool, Option("--json", help="Print the answers with COCO's RLE.")] = False,
) -> None:
    """Draw the crisp edge of one thing: clicks, a box, a rough mask or a word say which.

    Writes the best answer as a mask, white on black, and a picture to look at.

    Example: anomalyst segment part.png --point 120,80 --not 140,95 --out scratch.png
    Example: anomalyst segment part.png --box 90,60,180,130 --segmenter sam:models/sam-vit-b
    Example: anomalyst segment part.png --everything --out parts.png
    """
    from anomalyst.io.pictures import open_mask, open_picture
    from anomalyst.segmentation.everything import everything
    from anomalyst.segmentation.loading import load_segmenter
    from anomalyst.segmentation.prompts import Prompt

    pixels = open_picture(picture)
    size_hw = pixels.shape[0], pixels.shape[1]
    on = [numbers("--point", one, 2) for one in point or ()]
    off = [numbers("--not", one, 2) for one in beside or ()]
    asked = Prompt(
        points_xy=tuple((one[0], one[1]) for one in on + off),
        positive=(True,) * len(on) + (False,) * len(off),
        box_xyxy=_box("--box", box) if box else None,
        mask=open_mask(mask, size_hw).astype("float32") if mask else None,
        text=text or "",
    )
    if all_things and asked != Prompt():
        raise typer.BadParameter("--everything needs no prompt; leave the others out.")
    look = load_segmenter(segmenter).look(pixels, _view(view, size_hw) if view else None)
    found = everything(look, size_hw) if all_things else list(look.segment(asked))
    _write(pixels, found if all_things else found[:1], asked, out)
    if as_json:
        answers = [{"iou": round(one.iou, 4), "mask": one.packed().as_dict()} for one in found]
        typer.echo(json.dumps(answers))
        return
    for one in found[: None if all_things else 1]:
        typer.echo(f"{int(one.whole().sum())} px, predicted IoU {one.iou:.2f}")
    typer.echo(f"Mask: {out}")


def _write(pixels: "np.ndarray", found: "list[Segment]", asked: "Prompt", out: Path) -> None:
    """The mask (of several things, their numbers) and the picture with it."""
    import numpy as np

    from anomalyst.io.files import write_bytes
    from anomalyst.io.pictures import encoded
    from anomalyst.report.masks import drawn_masks

    masks = [one.whole() for one in found]
    numbers = np.zeros(pixels.shape[:2], np.uint8)
    for number, one in enumerate(masks, start=1):
        numbers[one] = 255 if len(masks) == 1 else min(number, 255)
    write_bytes(out, encoded(numbers))
    write_bytes(out.with_suffix(".shown.png"), encoded(drawn_masks(pixels, masks, asked)))


def _box(option: str, text: str) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = numbers(option, text, 4)
    return x0, y0, x1, y1


def _view(text: str, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """A view within the picture. Raises AnomalystError for one that holds none of it."""
    from anomalyst.segmentation.prompts import Prompt

    checked = Prompt(box_xyxy=_box("--view", text)).checked(size_hw).box_xyxy
    assert checked is not None
    x0, y0, x1, y1 = (round(one) for one in checked)
    if x1 - x0 < 8 or y1 - y0 < 8:
        raise AnomalystError(f"--view {text}: is smaller than 8 x 8 pixels; look at more.")
    return x0, y0, x1, y1
