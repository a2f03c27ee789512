"""The scale of a taught product, set on its own first good picture or by pictures of a board."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.seen import look_by
from anomalyst.io.deep_pictures import reading_in
from anomalyst.io.pictures import open_picture
from anomalyst.measuring.scale import Scale, Size, scale_by_board, scale_by_points
from anomalyst.measuring.settings import checked_pictures
from anomalyst.product_index import read_record
from anomalyst.senses.sense import sense_of


def good_picture(folder: Path) -> np.ndarray:
    """The first good picture of the product in `folder`, uint8 (H, W, 3). Raises AnomalystError."""
    checked_pictures(folder)
    record = read_record(folder)
    said = record.get("sense")
    sense = sense_of(said, f"{folder}: sense") if said else None
    return look_by(sense, folder / record["references"][0]["file"], reading_in(record))


def by_points(
    folder: Path,
    points_xy: Sequence[float],
    length_mm: float,
    relative_sd: float = 0.0,
    click_px: float = 0.5,
) -> Scale:
    """Two points of the first good picture, in its pixels, and how far apart they are.

    `click_px`: standard deviation of each point along their line.
    """
    size_hw = _size(good_picture(folder))
    return scale_by_points(points_xy, length_mm, size_hw, relative_sd, click_px)


def by_boards(
    folder: Path, boards: Sequence[Path], squares: Size, square_mm: float, relative_sd: float = 0.0
) -> Scale:
    """Pictures of a checker board, taken as the parts are. Raises PictureError that names the file.

    A distortion holds for the size of pictures it was found at, which must be the product's.
    """
    size_hw, pictures = _size(good_picture(folder)), {}
    reading = reading_in(read_record(folder))
    for path in boards:
        pictures[path] = open_picture(path, reading)
        if _size(pictures[path]) != size_hw:
            height, width = _size(pictures[path])
            raise PictureError(
                path,
                f"is {width} x {height} px; the pictures of product {folder.name!r} are "
                f"{size_hw[1]} x {size_hw[0]}. Take the board with the same camera and settings.",
            )
    if not pictures:
        raise AnomalystError("--checkerboard: no picture was given.")
    return scale_by_board(pictures, squares, square_mm, relative_sd)


def as_given(folder: Path, mm_per_px: float, relative_sd: float = 0.0) -> Scale:
    """A scale that is known, for pictures of the size of the first good one."""
    scale = Scale(mm_per_px=mm_per_px, relative_sd=relative_sd)
    return replace(scale, size_hw=_size(good_picture(folder)))


def _size(picture: np.ndarray) -> Size:
    return picture.shape[0], picture.shape[1]
