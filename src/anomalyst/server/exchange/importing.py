"""Masks that labelling tools drew, attached to the inspections of their pictures."""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from anomalyst.datasets.exchange import coco, label_studio, mvtec
from anomalyst.datasets.exchange.drawn import (
    DIGITS,
    Drawn,
    DrawnPicture,
    Exchanged,
    content_name,
    joined,
)
from anomalyst.errors import AnomalystError
from anomalyst.io.masks import packed, union_of, unpacked
from anomalyst.server.corrections import Corrections
from anomalyst.server.exchange.forms import check_form
from anomalyst.server.records.drawn import Drawn as Said
from anomalyst.server.records.drawn import mask_of
from anomalyst.server.records.judged import by_picture, not_undone
from anomalyst.server.records.standing import standing
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.types import Mask

READERS: dict[str, Callable[[Path], Exchanged]] = {
    "coco": coco.read,
    "labelstudio": label_studio.read,
    "mvtec": mvtec.read,
}
COPY = re.compile(rf"-([0-9a-f]{{{DIGITS}}})$")  # how the name of an exported picture ends
Kept = set[tuple[str, str, Mask]]  # defect or part, label, pixels


@dataclass(slots=True)
class Imported:
    """What became of the masks of a file."""

    taken: int = 0
    there: int = 0  # in the record already
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read(path: Path, form: str) -> Exchanged:
    """What a file or folder of a format holds. Raises AnomalystError."""
    check_form(form)
    if not path.exists():
        raise AnomalystError(f"{path}: there is no such file or folder.")
    return READERS[form](path)


def take_in(
    corrections: Corrections,
    product: str,
    found: Exchanged,
    *,
    by: str,
    told: Callable[[int, int], None] = lambda *_: None,
) -> Imported:
    """Keep the masks as if `by` had drawn them, each on the newest inspection of its picture.

    A mask that is kept already, by whomever, is not kept again. Masks of one kind on one picture
    are one. What matches no inspection is refused with a sentence, the rest goes on. Raises
    AnomalystError for a product without inspections, and for nobody as `by`.
    """
    if not by.strip():
        raise AnomalystError("--by is empty; say who drew the masks.")
    store = corrections.store
    known = Inspected(store, product)
    kept = _kept(store, product)
    result = Imported(refused=list(found.refused), notes=list(found.notes))
    for number, one in enumerate(found.pictures, start=1):
        people = [d for d in one.drawn if d.score is None]
        if len(people) < len(one.drawn):
            left = len(one.drawn) - len(people)
            result.notes.append(f"{one.name}: {left} found by a detector, not drawn; left out.")
        try:
            if people:
                row = known.row_of(one)
                _attach(corrections, row, people, by, kept[row.picture], result)
        except AnomalystError as error:
            result.refused.append(str(error))
        told(number, len(found.pictures))
    return result


def _attach(
    corrections: Corrections,
    row: InspectionRow,
    drawn: Sequence[Drawn],
    by: str,
    kept: Kept,
    result: Imported,
) -> None:
    # First each by itself: what we exported comes back as it was, whoever drew it.
    new = [d for d in drawn if (d.what, d.label, d.mask) not in kept]
    together = joined(replace(d, by="") for d in new)
    result.there += len(drawn) - len(new)
    for d in together:
        if (d.what, d.label, d.mask) in kept:
            result.there += 1
            continue
        try:
            said = Said(what=d.what, label=d.label)
            corrections.outline(row.id, unpacked(d.mask), said, by=by)
        except AnomalystError as error:
            result.refused.append(f"{row.name}: {error}")
            continue
        kept.add((d.what, d.label, d.mask))
        result.taken += 1


def _kept(store: Store, product: str) -> dict[str, Kept]:
    """The masks of each picture that were not undone, and the unions that exports write of them."""
    found: dict[str, Kept] = defaultdict(set)
    for (_, picture), said in by_picture(not_undone(store, product)).items():
        of_kind: dict[tuple[str, str], list[Mask]] = defaultdict(list)
        held = {row.id for row, _ in standing(said)}
        for row, seen in said:
            if row.kind != "mask":
                continue
            one = Said.of(row.detail)
            try:
                mask = mask_of(row, seen, store.pictures)
            except AnomalystError:  # its file is gone: it is as if it were not there
                continue
            found[picture].add((one.what, one.label, mask))
            if row.id in held:
                of_kind[one.what, one.label].append(mask)
        for (what, label), masks in of_kind.items():
            found[picture].add((what, label, packed(union_of(masks))))
        if defects := [m for (what, _), some in of_kind.items() if what == "defect" for m in some]:
            found[picture].add(("defect", "", packed(union_of(defects))))
    return found


class Inspected:
    """The pictures that a product inspected, found by content or by name."""

    def __init__(self, store: Store, product: str):
        self.store, self.product = store, product
        self.by_digest: dict[str, InspectionRow] = {}
        self.called: dict[str, set[str]] = defaultdict(set)  # name -> digests
        for row in store.every_inspection(Filter(product=product, state="done")):
            digest = row.picture.partition(".")[0]
            self.by_digest.setdefault(digest, row)  # the newest comes first
            self.called[_base(row.name)].add(digest)
        if not self.by_digest:
            raise AnomalystError(
                f"product {product!r}: the record holds no inspection of it that is done; inspect "
                "the pictures first, or check --product and --home."
            )

    def row_of(self, one: DrawnPicture) -> InspectionRow:
        """The newest inspection of a picture. Raises AnomalystError where there is none to use."""
        row = self.by_digest[self._digest(one)]
        size_hw = row.size_hw
        if row.sense != "image":
            raise AnomalystError(f"{one.name}: is no photograph; masks are of photographs.")
        if one.size_hw != size_hw:
            raise AnomalystError(
                f"{one.name}: its masks are of {one.size_hw[1]}x{one.size_hw[0]} pixels, the "
                f"inspected picture is {size_hw[1]}x{size_hw[0]}; masks of its size are needed."
            )
        if row.picture not in self.store.pictures:
            raise AnomalystError(f"{one.name}: the picture is no longer kept; inspect it again.")
        return row

    def _digest(self, one: DrawnPicture) -> str:
        own = one.picture.partition(".")[0]
        if own in self.by_digest:
            return own
        beside = content_name(one.file).partition(".")[0] if one.file else ""
        if beside in self.by_digest:
            return beside
        if end := COPY.search(Path(_base(one.name)).stem):
            begins = [digest for digest in self.by_digest if digest.startswith(end[1])]
            if len(begins) == 1:
                return begins[0]
        named = self.called.get(_base(one.name), set())
        if len(named) > 1:
            raise AnomalystError(
                f"{one.name}: {len(named)} different pictures of product {self.product!r} have "
                "this name; lay the picture beside the file, so that its content says which."
            )
        if not named:
            raise AnomalystError(
                f"{one.name}: product {self.product!r} inspected no such picture; inspect it first."
            )
        return next(iter(named))


def _base(name: str) -> str:
    return name.replace("\\", "/").rpartition("/")[2]
