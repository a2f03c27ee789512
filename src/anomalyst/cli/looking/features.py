"""`anomalyst look layers`, `kernels`, `units`, `grad-cam`: what layers make of pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from anomalyst.cli.looking.opening import (
    Layer,
    Model,
    Out,
    chosen_layer,
    opened,
    page_path,
    picture_at,
)
from anomalyst.cli.screen import pictures_in, progress, say
from anomalyst.errors import AnomalystError, PictureError

if TYPE_CHECKING:
    import numpy as np

Picture = Annotated[Path, Argument(metavar="PICTURE")]


def layers(model: Model, picture: Picture, out: Out = None) -> None:
    """The feature maps of each layer of a network on one picture, and its first filters.

    Of each layer the maps that vary most over the picture, grey between their own ends.

    Example: anomalyst look layers embedded part.png
    Example: anomalyst look layers runs/resnet part.png --out out/maps.html
    """
    from torch import nn

    from anomalyst.explaining.galleries import feature_maps, filters, tiles
    from anomalyst.explaining.page import write_looked
    from anomalyst.report.sections import Section

    path, seen, network = page_path(out, "layers"), picture_at(picture), opened(model)
    found = feature_maps(network.network, network.pixels(seen), network.layers())
    if not found:
        raise AnomalystError(
            f"{model}: none of its layers has a grid of places, so there are no maps to show."
        )
    sections = [Section(pictures=(("The picture", seen),))]
    for name, maps in found.items():
        channels, high, wide = maps.shape
        title = f"{name}: {channels} maps of {high} x {wide}"
        typer.echo(title)
        sections.append(Section(title=title, pictures=(("", tiles(maps)),)))
    if any(isinstance(one, nn.Conv2d) for one in network.network.modules()):
        name, picture_of = filters(network.network)
        sections.append(Section(title=f"Filters of {name}", pictures=(("", picture_of),)))
    title = f"Feature maps of {model}: {picture.name}"
    typer.echo(f"Written to {write_looked(path, title, (), sections)}")


def kernels(picture: Picture, out: Out = None) -> None:
    """A picture through seven well-known kernels: identity, edges, sharpen, blurs.

    Example: anomalyst look kernels part.png
    """
    import numpy as np

    from anomalyst.explaining.kernels import KERNELS, filtered, shown
    from anomalyst.explaining.page import write_looked
    from anomalyst.io.geometry import resize
    from anomalyst.report.overlay import shown_size
    from anomalyst.report.sections import Section

    path, seen = page_path(out, "kernels"), picture_at(picture)
    seen = np.ascontiguousarray(resize(seen, shown_size(seen.shape[:2], 640)))
    pictures = tuple(
        (f"{name} {_written(kernel)}", shown(filtered(seen, kernel), kernel))
        for name, kernel in KERNELS.items()
    )
    intro = (
        "Kernels whose numbers sum to 0 answer nothing on even ground; their pictures are around "
        "mid grey. The picture is at most 640 pixels wide, so that a kernel's reach can be seen.",
    )
    title = f"Kernels on {picture.name}"
    typer.echo(f"Written to {write_looked(path, title, intro, [Section(pictures=pictures)])}")


def _written(kernel: "np.ndarray") -> str:
    """A kernel as its rows: [0 1 0; 1 -4 1; 0 1 0]; parts of a whole as a fraction."""
    whole = {9: 9, 16: 16}.get(round(1 / float(kernel.flat[0])) if kernel.flat[0] > 0 else 0, 1)
    rows = "; ".join(" ".join(f"{value * whole:.0f}" for value in row) for row in kernel)
    return f"[{rows}]" + (f" / {whole}" if whole > 1 else "")


def units(
    model: Model,
    pictures: Annotated[list[Path], Argument(metavar="PICTURES...", help="Files or folders.")],
    layer: Layer = "",
    most: Annotated[int, Option(min=1, metavar="N", help="Units shown, the liveliest.")] = 16,
    each: Annotated[int, Option(min=1, metavar="N", help="Patches of each.")] = 9,
    out: Out = None,
) -> None:
    """The places of many pictures that excite each unit of a convolutional layer most.

    One place of a picture, cut as far as the unit can see. A picture that cannot be read is told
    and passed over.

    Example: anomalyst look units embedded good/ --most 12
    Example: anomalyst look units runs/resnet parts/test --layer network.layer3
    """
    from anomalyst.explaining.page import write_looked
    from anomalyst.explaining.unit_page import unit_sections
    from anomalyst.io.pictures import open_picture
    from anomalyst.report.sections import Section

    path, network = page_path(out, "units"), opened(model)
    seen = []
    for file in pictures_in(pictures):
        try:
            seen.append(open_picture(file))
        except PictureError as error:
            say(f"Passed over: {error}")
    if not seen:
        raise AnomalystError("none of the pictures can be read, so no unit can be shown.")
    name = chosen_layer(network, layer, "")
    with progress("Looking", len(seen)) as bar:
        name, field_px, sections = unit_sections(
            network, name, seen, most=most, each=each, on_picture=bar.advance
        )
    intro = (
        f"Layer {name}; a unit sees {field_px[0]} x {field_px[1]} pixels of the picture as the "
        "network takes it. Units in the order in which their strongest place stands out from the "
        f"others shown; {len(seen)} pictures.",
    )
    typer.echo(f"Layer {name}: sees {field_px[0]} x {field_px[1]} pixels; {len(sections)} units.")
    whole: list[Section] = sections
    typer.echo(f"Written to {write_looked(path, f'Units of {model}', intro, whole)}")


def grad_cam(
    model: Model,
    picture: Picture,
    layer: Layer = "",
    target: Annotated[
        str, Option("--class", metavar="NAME", help="Which class.", show_default="the likeliest")
    ] = "",
    out: Out = None,
) -> None:
    """The places of a picture that speak for a class in a convolutional classifier.

    Grad-CAM (Selvaraju et al. 2017) at the last convolution, or at --layer.

    Example: anomalyst look grad-cam runs/resnet part.png
    Example: anomalyst look grad-cam models/resnet-18 part.png --class defective
    """
    from anomalyst.explaining.grad_cam import grad_cam as computed
    from anomalyst.explaining.grad_cam import last_convolution
    from anomalyst.explaining.page import write_looked
    from anomalyst.io.geometry import resize
    from anomalyst.report.overlay import tint
    from anomalyst.report.sections import Section

    path, seen, network = page_path(out, "grad-cam"), picture_at(picture), opened(model)
    if network.logits is None:
        raise AnomalystError(
            f"{model}: gives features, not classes, and Grad-CAM asks what speaks for a class; "
            "give a classifier (`anomalyst train recipes/supervised/resnet.yaml`)."
        )
    number = _class_number(network.classes, target)
    name = chosen_layer(network, layer, "") or last_convolution(network.network)
    pixels = network.pixels(seen)
    heat, found = computed(network.network, name, pixels, number, logits=network.logits)
    chance = float(network.logits(pixels).softmax(1)[0, found])
    called = network.classes[found] if network.classes else str(found)
    whole = resize(heat.numpy(), seen.shape[:2])
    typer.echo(f"{called}: {chance:.1%}; layer {name}, {heat.shape[0]} x {heat.shape[1]}")
    section = Section(
        sentences=(
            f"What speaks for {called} (probability {chance:.1%}), at layer {name} with "
            f"{heat.shape[0]} x {heat.shape[1]} places; the largest is 1.",
        ),
        pictures=(("", tint(seen, whole)), ("The picture", seen)),
    )
    typer.echo(f"Written to {write_looked(path, f'Grad-CAM of {model}', (), [section])}")


def _class_number(classes: tuple[str, ...], target: str) -> int | None:
    if not target:
        return None
    if target not in classes:
        raise AnomalystError(
            f"--class {target}: the model's classes are {', '.join(classes)}; give one of them."
        )
    return classes.index(target)
