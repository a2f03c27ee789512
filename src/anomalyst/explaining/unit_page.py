"""The strongest patches of units as sections of a page."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from anomalyst.errors import AnomalystError
from anomalyst.explaining.galleries import sheet
from anomalyst.explaining.opening import PictureModel
from anomalyst.explaining.record import recorded
from anomalyst.explaining.units import Patch, liveliest, receptive_field, top_patches
from anomalyst.io.geometry import resize
from anomalyst.report.sections import Section


def unit_sections(
    model: PictureModel,
    layer: str,
    pictures: Sequence[np.ndarray],
    *,
    most: int,
    each: int,
    on_picture: Callable[[], None],
) -> tuple[str, tuple[int, int], list[Section]]:
    """The layer, how much its units see (high, wide), and a section for each unit.

    `layer` empty: the middle one of those that have a grid. Raises AnomalystError for a layer
    without a grid.
    """
    first = model.pixels(pictures[0])
    name = _grid_layer(model, layer, first)
    found = top_patches(
        model.network, name, map(model.pixels, pictures), each=each, on_picture=on_picture
    )
    sections = []
    for channel in liveliest(found, most):
        patches = found[channel]
        strongest = ", ".join(f"{one.strength:.2f}" for one in patches)
        sections.append(
            Section(
                title=f"Unit {channel}",
                sentences=(f"Answers {strongest}.",),
                pictures=(("", sheet([_cut(pictures, one, model) for one in patches], each)),),
            )
        )
    return name, receptive_field(model.network, name, first), sections


def _grid_layer(model: PictureModel, layer: str, pixels: torch.Tensor) -> str:
    names = [layer] if layer else model.layers()
    with torch.no_grad(), recorded(model.network, features=names) as record:
        model.network(pixels)
    grids = [name for name, value in record.features.items() if value.ndim == 4]
    if not grids:
        raise AnomalystError(
            f"{layer or model.name}: has no grid of units that see a part of the picture; choose a "
            "convolution with --layer, or `look attention` for a transformer."
        )
    return grids[len(grids) // 2]


def _cut(pictures: Sequence[np.ndarray], patch: Patch, model: PictureModel) -> np.ndarray:
    """A patch as it is in the picture, squared so that all are of one size."""
    picture = pictures[patch.picture]
    high, wide = model.pixels(picture).shape[2:]
    x0, y0, x1, y1 = patch.box_xyxy
    scale_y, scale_x = picture.shape[0] / high, picture.shape[1] / wide
    rows = slice(int(y0 * scale_y), max(int(y0 * scale_y) + 1, round(y1 * scale_y)))
    columns = slice(int(x0 * scale_x), max(int(x0 * scale_x) + 1, round(x1 * scale_x)))
    return resize(np.ascontiguousarray(picture[rows, columns]), (96, 96))
