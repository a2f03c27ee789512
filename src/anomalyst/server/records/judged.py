"""What people judged of a product's pictures: spoiled or fine, as its record has it now."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select

from anomalyst.server.records.drawn import Said, shows_defect
from anomalyst.server.records.standing import standing_defects
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow

DISAGREE = "people disagree"
GONE = "the picture is no longer kept"
COMPARED = "learnt already: 'This is fine' made it a picture to compare with"
TAUGHT = "taught already, as a good picture or as a defect"
Opinion = tuple[CorrectionRow, bool]  # and whether it calls the picture spoiled


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A picture that people judged."""

    picture: str  # name in the pictures' folder
    name: str  # what its sender calls it
    spoiled: bool
    said: tuple[Said, ...] = ()  # all that was said of it and not undone, the newest first

    @property
    def defects(self) -> list[Said]:
        """Of a spoiled picture: the defects that people drew and that hold, the newest first."""
        return standing_defects(self.said) if self.spoiled else []

    @property
    def masks(self) -> tuple[str, ...]:
        """Their files, each once."""
        return tuple(dict.fromkeys(row.detail["mask"] for row, _ in self.defects))


@dataclass(slots=True)
class Judgements:
    """Those of a product that can be learnt from, the newest first, and those passed over."""

    spoiled: list[Judged] = field(default_factory=list)
    fine: list[Judged] = field(default_factory=list)
    passed: dict[str, list[str]] = field(default_factory=dict)  # why -> names

    def pass_over(self, why: str, name: str) -> None:
        """Leave a picture out, and say why."""
        self.passed.setdefault(why, []).append(name)


def judgements(store: Store, product: str, *, known: Iterable[str] = ()) -> Judgements:
    """What people say of each picture now: of each person, the newest word that was not undone.

    A picture of which two people say different things is passed over; so is one that is gone, one
    that the product is compared with since a place of it was called fine, and one whose content
    (SHA-256) is among `known`.
    """
    found, taught = Judgements(), set(known)
    for said in by_picture(not_undone(store, product)).values():
        one = _judged(said)
        if one is None:
            continue
        if _disputed(_newest(said)):
            found.pass_over(DISAGREE, one.name)
        elif one.picture not in store.pictures:
            found.pass_over(GONE, one.name)
        elif any(row.kind == "fine" and row.applied_at is not None for row, _ in said):
            found.pass_over(COMPARED, one.name)
        elif one.picture.partition(".")[0] in taught:
            found.pass_over(TAUGHT, one.name)
        else:
            (found.spoiled if one.spoiled else found.fine).append(one)
    return found


def overruled(store: Store, product: str | None) -> set[str]:
    """The corrections that say nothing any more: the person said otherwise since, or others do.

    Of each person one holds: the newest, or the newest mask that agrees with it and tells more.
    """
    found = set()
    for said in by_picture(not_undone(store, product)).values():
        words, newest = _opinions(said), _newest(said)
        held = {by: row.id for by, (row, _) in newest.items()}
        for row, spoiled in reversed(words):
            if shows_defect(row) and spoiled == newest[row.by][1]:
                held[row.by] = row.id
        disputed = _disputed(newest)
        found |= {row.id for row, _ in words if disputed or held[row.by] != row.id}
    return found


def opinion(row: CorrectionRow, seen: InspectionRow) -> bool | None:
    """Whether a correction calls the whole picture spoiled (True) or fine; None: neither.

    "Right" and "wrong" of an unsure verdict do not say which.
    """
    if row.kind in ("right", "wrong") and "called" in row.detail:
        return bool(row.detail["called"] == "anomalous")
    if row.kind in ("right", "wrong") and seen.verdict in ("normal", "anomalous"):
        return (seen.verdict == "anomalous") == (row.kind == "right")
    if shows_defect(row):
        return bool(row.detail["boxes_xyxy"])
    if row.kind == "fine" and fine_all_over(row.detail["boxes_xyxy"], seen):
        return False
    return None


def fine_all_over(boxes: Sequence[Sequence[int]], seen: InspectionRow) -> bool:
    """Whether places called fine are all that were found on a picture."""
    accepted = [list(box) for box in boxes]
    return all(list(one["box_xyxy"]) in accepted for one in (seen.record or {})["regions"])


def not_undone(store: Store, product: str | None) -> list[Said]:
    """What was said and not undone, the newest first, with the inspection it is about."""
    query = (
        select(CorrectionRow, InspectionRow)
        .join(InspectionRow, InspectionRow.id == CorrectionRow.inspection)
        .where(CorrectionRow.undone_at.is_(None))
        .order_by(CorrectionRow.id.desc())
    )
    if product is not None:
        query = query.where(CorrectionRow.product == product)
    with store.session() as session:
        return [(row, seen) for row, seen in session.execute(query)]


def by_picture(said: Sequence[Said]) -> dict[tuple[str, str], list[Said]]:
    """(product, picture) -> what was said: a picture may have been inspected several times."""
    found: dict[tuple[str, str], list[Said]] = {}
    for row, seen in said:
        found.setdefault((row.product, seen.picture), []).append((row, seen))
    return found


def _opinions(said: Sequence[Said]) -> list[Opinion]:
    """All that call the whole picture something, the newest first."""
    return [(row, spoiled) for row, seen in said if (spoiled := opinion(row, seen)) is not None]


def _newest(said: Sequence[Said]) -> dict[str, Opinion]:
    """The newest opinion of each person."""
    return {row.by: (row, spoiled) for row, spoiled in reversed(_opinions(said))}


def _disputed(newest: Mapping[str, Opinion]) -> bool:
    return len({spoiled for _, spoiled in newest.values()}) > 1


def _judged(said: Sequence[Said]) -> Judged | None:
    """By the newest opinion of all; None where nobody has one."""
    words = next((pair for pair in said if opinion(*pair) is not None), None)
    if words is None:
        return None
    return Judged(
        picture=words[1].picture,
        name=words[1].name,
        spoiled=bool(opinion(*words)),
        said=tuple(said),
    )
