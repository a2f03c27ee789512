"""What people drew, and on request what was found, as a folder that labelling tools read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from anomalyst.datasets.exchange import coco, label_studio, mvtec
from anomalyst.datasets.exchange.drawn import (
    IMAGES,
    Drawn,
    DrawnPicture,
    content_name,
    copied,
)
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.masks import packed
from anomalyst.product_index import product_names
from anomalyst.server.exchange.forms import Form, check_form
from anomalyst.server.records import products as taught
from anomalyst.server.records.drawn import Drawn as HowDrawn
from anomalyst.server.records.drawn import Said, mask_of
from anomalyst.server.records.judged import by_picture, judgements, not_undone
from anomalyst.server.records.standing import standing
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.types import Region

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is exported, and how. Raises AnomalystError for what does not go together."""

    form: Form
    product: str | None = None  # None: each that somebody drew on
    since: datetime | None = None  # pictures on which somebody drew since then
    predictions: bool = False  # what was found, too
    polygons: bool = False  # outlines in place of run lengths

    def __post_init__(self) -> None:
        check_form(self.form)
        if self.form == "mvtec" and (self.predictions or self.polygons):
            raise AnomalystError(
                "--format mvtec holds masks as pictures of what people drew; --predictions and "
                "--polygons are of coco and labelstudio."
            )


@dataclass(slots=True, kw_only=True)
class Exported:
    """What was written of one product."""

    folder: Path
    pictures: int = 0
    masks: int = 0
    found: int = 0  # regions, as predictions
    left: list[str] = field(default_factory=list)  # a sentence for each that was left out


def export(
    store: Store, products: Path, out: Path, wanted: Wanted, told: Told = lambda *_: None
) -> list[Exported]:
    """Write a folder `out`/PRODUCT for each product; what lies there already is not copied again.

    Raises AnomalystError where there is nothing to write.
    """
    names = [wanted.product] if wanted.product else sorted({n for n, _ in store.verdicts()})
    done = [_export(store, products, out / name, name, wanted, told) for name in names]
    written = [one for one in done if one.pictures or one.left]
    if not written:
        of = f" of product {wanted.product!r}" if wanted.product else ""
        raise AnomalystError(
            f"nothing to export: nobody drew on a picture{of}"
            f"{f' since {wanted.since:%Y-%m-%d}' if wanted.since else ''}; draw masks on the "
            "Inspect page, or import some."
        )
    return written


def _export(
    store: Store, products: Path, folder: Path, name: str, wanted: Wanted, told: Told
) -> Exported:
    result = Exported(folder=folder)
    if wanted.form == "mvtec":
        _write_mvtec(store, products, name, wanted, result, told)
        return result
    pictures = _drawn_pictures(store, name, wanted, result)
    if wanted.predictions:
        pictures = _with_found(store, name, wanted, pictures)
    there = []
    for number, one in enumerate(pictures, start=1):
        try:
            copied(one, folder / IMAGES / one.copy_name)
            there.append(one)
        except PictureError as error:
            result.left.append(str(error))
        told(number, len(pictures))
    if there:
        write = coco.write if wanted.form == "coco" else label_studio.write
        write(folder, there, polygons=wanted.polygons)
    _count(result, there)
    return result


def _count(result: Exported, pictures: Sequence[DrawnPicture]) -> None:
    result.pictures = len(pictures)
    result.masks = sum(d.score is None for one in pictures for d in one.drawn)
    result.found = sum(d.score is not None for one in pictures for d in one.drawn)


def _drawn_pictures(
    store: Store, name: str, wanted: Wanted, result: Exported
) -> list[DrawnPicture]:
    """Each picture that masks hold of, the oldest first; one on which nobody left any is not."""
    found = []
    for said in reversed(by_picture(not_undone(store, name)).values()):
        held = standing(said)
        if held and _recent(held, wanted):
            found.append(_picture(store, held[0][1], held, result))
    return found


def _recent(said: Sequence[Said], wanted: Wanted) -> bool:
    return wanted.since is None or any(
        row.created_at >= wanted.since.astimezone() for row, _ in said
    )


def _picture(
    store: Store, about: InspectionRow, held: Sequence[Said], result: Exported
) -> DrawnPicture:
    """A picture with its masks; one that is no longer kept is left out, and said."""
    drawn = []
    for row, seen in reversed(held):
        said = HowDrawn.of(row.detail)
        try:
            mask = mask_of(row, seen, store.pictures)
        except AnomalystError as error:
            result.left.append(f"{seen.name}: a mask by {row.by} is left out: {error}")
            continue
        if row.detail["boxes_xyxy"]:  # an empty one says that there is nothing
            drawn.append(Drawn(mask=mask, what=said.what, label=said.label, by=row.by))
    return replace(_bare(store, about), drawn=tuple(drawn))


def _bare(store: Store, seen: InspectionRow) -> DrawnPicture:
    path = store.pictures.path(seen.picture)
    return DrawnPicture(
        name=seen.name,
        size_hw=seen.size_hw,
        picture=seen.picture,
        file=path if path.exists() else None,
    )


def _with_found(
    store: Store, name: str, wanted: Wanted, drawn: Sequence[DrawnPicture]
) -> list[DrawnPicture]:
    """With the regions of each picture's newest inspection; also pictures nobody drew on."""
    pictures = {one.picture: one for one in drawn}
    seen_already = set()
    for row in store.every_inspection(Filter(product=name, state="done", since=wanted.since)):
        if row.picture in seen_already or row.sense != "image":
            continue
        seen_already.add(row.picture)
        one = pictures.get(row.picture) or _bare(store, row)
        found = [
            _found(Region.from_dict(values), one.size_hw)
            for values in (row.record or {})["regions"]
        ]
        if found or one.drawn:
            pictures[row.picture] = replace(one, drawn=(*one.drawn, *found))
    return list(pictures.values())


def _found(region: Region, size_hw: tuple[int, int]) -> Drawn:
    """A region as a prediction: its crisp outline, or its box where it has none."""
    x0, y0, x1, y1 = region.box_xyxy
    whole = np.ones((y1 - y0, x1 - x0), bool)
    mask = region.mask or packed(whole, size_hw, region.box_xyxy)
    return Drawn(mask=mask, label=region.called or region.kind or "", score=region.peak)


def _write_mvtec(
    store: Store, products: Path, name: str, wanted: Wanted, result: Exported, told: Told
) -> None:
    """Good pictures that the product was taught with, and those that people judged."""
    if next(store.every_correction(name), None) is None:  # nobody said anything
        return
    train: list[DrawnPicture] = []
    if name in product_names(products):
        train = [
            DrawnPicture(name=path.name, size_hw=(0, 0), picture=content_name(path), file=path)
            for path in taught.reference_paths(name, products)
        ]
    else:
        result.left.append(f"{name}: is no longer taught, so its train/good is empty.")
    known = [one.picture.partition(".")[0] for one in train]
    found = judgements(store, name, known=known)
    test = []
    for one in (*found.fine, *found.spoiled):
        if not _recent(one.said, wanted):
            continue
        held = standing(one.said) if one.spoiled else []
        picture = _picture(store, one.said[0][1], held, result)
        if one.spoiled and not any(d.what == "defect" for d in picture.drawn):
            result.left.append(f"{one.name}: was called spoiled and nobody drew where.")
            continue
        test.append(picture)
    for why, names in found.passed.items():
        result.left += [f"{one}: {why}." for one in names]
    done = 0

    def counted() -> None:
        nonlocal done
        done += 1
        told(done, len(train) + len(test))

    if test:
        result.left += mvtec.write(result.folder, train, test, on_picture=counted)
    result.pictures = len(train) + len(test)
    result.masks = sum(any(d.what == "defect" for d in one.drawn) for one in test)
