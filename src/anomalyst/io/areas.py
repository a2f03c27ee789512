"""Areas that count: regions of interest and ignore zones, drawn on a product's first good picture.

What counts lies in any region of interest, if there is one, in no ignore zone, and, where that is
asked for, on the product itself. No torch here: the server's front process reads and checks areas.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn, cast, get_args

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_bytes
from anomalyst.io.masks import packed, unpacked
from anomalyst.io.pictures import PICTURE_SUFFIXES, encoded, open_mask
from anomalyst.io.polygons import Point, checked_points, filled
from anomalyst.types import Mask

Use = Literal["ignore", "roi"]
USES: tuple[Use, ...] = get_args(Use)
MOST_AREAS = 50
FOLDER = "areas"  # of a product: its masks as PNG, white on black


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One area, as a polygon or as a mask."""

    name: str
    use: Use
    points_xy: tuple[Point, ...] = ()  # of the polygon, in pixels of the first good picture
    mask: Mask | None = None  # where it is no polygon

    def covered(self, size_hw: tuple[int, int]) -> np.ndarray:
        """Bool (H, W) over the first good picture."""
        return filled(self.points_xy, size_hw) if self.mask is None else unpacked(self.mask)


@dataclass(frozen=True, kw_only=True)
class Areas:
    """All areas of a product. Raises AnomalystError where they leave nothing, or everything."""

    size_hw: tuple[int, int]  # of the first good picture, which they are drawn on
    drawn: tuple[Area, ...] = ()
    product: Mask | None = None  # where the product is, if nothing beside it counts

    def __post_init__(self) -> None:
        if len(self.drawn) > MOST_AREAS:
            raise AnomalystError(f"{len(self.drawn)} areas; a product has {MOST_AREAS} at most.")
        names = [area.name for area in self.drawn]
        for name in names:
            if names.count(name) > 1:
                raise AnomalystError(
                    f"there is an area {name!r} already; give the new one another name, or remove "
                    "the old one first."
                )
        if not self.counted.any():  # each area by itself is checked on the way
            raise AnomalystError(
                "these areas leave nothing that counts: the ignore zones cover all of the regions "
                "of interest, or of the product; make one smaller."
            )

    def __bool__(self) -> bool:
        """Whether anything does not count."""
        return bool(self.drawn) or self.product is not None

    @cached_property
    def counted(self) -> np.ndarray:
        """Bool (H, W) over the first good picture: what counts."""
        wanted, ignored = (np.zeros(self.size_hw, bool) for _ in range(2))
        for area in self.drawn:
            covered = area.covered(self.size_hw)
            _check_share(area, covered)
            (wanted if area.use == "roi" else ignored)[covered] = True
        kept = wanted & ~ignored if self.of("roi") else ~ignored
        return kept if self.product is None else kept & unpacked(self.product)

    @property
    def beyond(self) -> bool:
        """Whether what lies beyond the first good picture counts: not, where something is named."""
        return self.product is None and not self.of("roi")

    def of(self, use: Use) -> list[Area]:
        """The areas of one use."""
        return [area for area in self.drawn if area.use == use]

    def without(self, name: str) -> "Areas":
        """The others. Raises AnomalystError if there is none of this name."""
        left = tuple(area for area in self.drawn if area.name != name)
        if len(left) == len(self.drawn):
            known = ", ".join(area.name for area in self.drawn) or "none"
            raise AnomalystError(f"there is no area {name!r}; there is: {known}.")
        return replace(self, drawn=left)

    @property
    def sentence(self) -> str:
        """What of a picture is looked at and what is not: "2 areas are ignored: cable, label."."""
        told = []
        if wanted := [one.name for one in self.of("roi")]:
            told.append(f"Only {_counted(len(wanted), 'area')} {_are(wanted)} looked at: "
                        f"{', '.join(wanted)}.")  # fmt: skip
        if ignored := [one.name for one in self.of("ignore")]:
            told.append(f"{_counted(len(ignored), 'area')} {_are(ignored)} ignored: "
                        f"{', '.join(ignored)}.")  # fmt: skip
        if self.product is not None:
            told.append("What lies beside the product is ignored.")
        return " ".join(told)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; masks as COCO's run lengths."""
        drawn = [
            {"name": one.name, "use": one.use}
            | ({"mask": one.mask.as_dict()} if one.mask else {"points_xy": _listed(one.points_xy)})
            for one in self.drawn
        ]
        product = self.product.as_dict() if self.product else None
        return {"size_hw": list(self.size_hw), "areas": drawn, "product": product}

    def save(self, folder: Path) -> dict[str, Any]:
        """Write masks as PNG into `folder/areas` -> what product.json says of all."""
        record = self.as_dict()
        masks = [one.mask for one in self.drawn]
        for number, (mask, said) in enumerate(zip(masks, record["areas"], strict=True), start=1):
            if mask is not None:
                del said["mask"]
                said["file"] = f"{FOLDER}/{number:02d}.png"
                write_bytes(folder / said["file"], encoded(unpacked(mask)))
        if self.product is not None:
            record["product"] = f"{FOLDER}/product.png"
            write_bytes(folder / record["product"], encoded(unpacked(self.product)))
        return record

    @classmethod
    def load(cls, record: Mapping[str, Any], folder: Path) -> "Areas":
        """The areas that `save` wrote. Raises AnomalystError for what it cannot have written."""
        size_hw = _size(record["size_hw"])
        drawn = tuple(
            area_of(said["name"], said["use"], folder / said["file"], size_hw)
            if "file" in said
            else _polygon(said["name"], said["use"], said["points_xy"], size_hw)
            for said in record["areas"]
        )
        file = record["product"]
        product = packed(open_mask(folder / file, size_hw)) if file else None
        return cls(size_hw=size_hw, drawn=drawn, product=product)


def area_of(name: str, use: str, file: Path, size_hw: tuple[int, int]) -> Area:
    """The area in a file: a polygon as JSON, a list of [x, y], or a mask, white on black.

    Both are in pixels of the first good picture, of `size_hw`. Raises AnomalystError for any other
    file, PictureError for a mask of another size.
    """
    if file.suffix.lower() in PICTURE_SUFFIXES:
        name, purpose = checked_name(name), checked_use(use)
        return Area(name=name, use=purpose, mask=packed(open_mask(file, size_hw)))
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnomalystError(f"{file}: there is no such file.") from None
    except (OSError, ValueError) as error:
        raise AnomalystError(
            f"{file}: is neither a mask (PNG) nor a polygon (JSON: a list of [x, y]): {error}."
        ) from None
    return _polygon(name, use, values, size_hw, str(file))


def areas_from(values: Any, size_hw: tuple[int, int]) -> tuple[Area, ...]:
    """Areas as plain JSON values: a list of {"name", "use", "points_xy"} or {..., "mask"}.

    Raises AnomalystError for values of another form, and as `checked_points` does.
    """
    if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
        raise AnomalystError(
            'areas: a list is needed, as [{"name": "cable", "use": "ignore", "points_xy": '
            "[[10, 20], [90, 20], [50, 80]]}]."
        )
    return tuple(_area_from(one, size_hw) for one in values)


def _area_from(said: Mapping[str, Any], size_hw: tuple[int, int]) -> Area:
    name, use, mask = said.get("name"), said.get("use"), said.get("mask")
    unknown = set(said) - {"name", "use", "points_xy", "mask"}
    if unknown or (mask is None) == ("points_xy" not in said):
        raise AnomalystError(
            f"area {name!r}: name, use (ignore or roi), and either points_xy or mask are needed"
            + (f"; {', '.join(sorted(unknown))} is none of them." if unknown else ".")
        )
    if mask is None:
        return _polygon(name, use, said["points_xy"], size_hw)
    name, use = checked_name(name), checked_use(use)
    try:
        given = Mask.from_dict(mask)
        covered = unpacked(given) if given.size_hw == size_hw else None
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        raise AnomalystError(
            f"area {name!r}: its mask is no compressed COCO run length "
            '{"size": [height, width], "counts": "..."}.'
        ) from None
    if covered is None:
        raise AnomalystError(
            f"area {name!r}: its mask is of {given.size_hw[1]}x{given.size_hw[0]} pixels; the "
            f"first good picture has {size_hw[1]}x{size_hw[0]}."
        )
    return Area(name=name, use=use, mask=given)


def _polygon(
    name: Any, use: Any, values: Any, size_hw: tuple[int, int], what: str | None = None
) -> Area:
    name, use = checked_name(name), checked_use(use)
    return Area(
        name=name, use=use, points_xy=checked_points(values, size_hw, what or f"area {name!r}")
    )


def checked_name(name: Any) -> str:
    """An area's name, which is said in sentences; AnomalystError if it cannot be one."""
    if not isinstance(name, str) or not re.fullmatch(r"\w(?:[\w .+-]{0,38}[\w.+-])?", name):
        raise AnomalystError(
            f"area name {str(name)[:40]!r}: letters, digits, space, dot, plus, minus and "
            "underscore only, at most 40."
        )
    return name


def checked_use(use: Any) -> Use:
    """What an area is for; AnomalystError for anything else."""
    if use not in USES:
        raise AnomalystError(f"use {use!r}: an area is for one of {', '.join(USES)}.")
    return cast(Use, use)


def refuse_senses(name: str, senses: Sequence[str]) -> NoReturn:
    """Raise AnomalystError for a product of such senses: areas are drawn on photographs."""
    raise AnomalystError(
        f"product {name!r} is judged by {' and '.join(senses)}; areas are for what is judged by "
        "photographs alone."
    )


def _check_share(area: Area, covered: np.ndarray) -> None:
    if covered.all() or not covered.any():
        how = "everything" if covered.any() else "nothing"
        raise AnomalystError(
            f"area {area.name!r}: covers {how} of the first good picture; draw it round a part of "
            "the picture."
        )


def _size(values: Sequence[int]) -> tuple[int, int]:
    return int(values[0]), int(values[1])


def _listed(points: Sequence[Point]) -> list[list[float]]:
    return [[x, y] for x, y in points]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
