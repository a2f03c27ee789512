"""Last month's record as questions of the gate: what people asked, with what was known then."""

from datetime import timedelta

from sqlalchemy import select

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.gate.items import GateItem
from anomalyst.evaluation.gate.judging import model_speaks
from anomalyst.server.records.documents import inspection_of
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow, TurnRow, now
from anomalyst.vlm.facts import facts_of

DAYS = 30
MOST = 200  # questions, the newest
READ = 5  # times as many are read, of which some cannot be asked again
ABOUT_TURNS = ("answer", "ranking", "thumb")  # corrections of one answer


def recorded_items(
    store: Store, width: int, *, days: int = DAYS, most: int = MOST
) -> tuple[list[GateItem], int]:
    """The newest questions that a language model answers, and how many were left out.

    Left out is what somebody found fault with: answers that were marked down or said better, and
    all that was said of a wrong verdict. It is what a new model should change. `width`: of the
    features that the model sees; what another encoder saw cannot be asked again.
    """
    found: list[GateItem] = []
    left_out = 0
    for turn, seen in _turns(store, days, READ * most):
        if len(found) == most:
            break
        item = _item(store, turn, seen, width)
        if item is None:
            continue
        if _faulted(store, turn, seen):
            left_out += 1
        else:
            found.append(item)
    return found, left_out


def _turns(store: Store, days: int, most: int) -> list[tuple[TurnRow, InspectionRow]]:
    """Questions of the last days, the newest first, with the inspection they are about."""
    query = (
        select(TurnRow, InspectionRow)
        .join(InspectionRow, InspectionRow.id == TurnRow.inspection)
        .where(TurnRow.created_at >= now() - timedelta(days=days))
        .order_by(TurnRow.id.desc())
        .limit(most)
    )
    with store.session() as session:
        return [(turn, seen) for turn, seen in session.execute(query)]


def _item(store: Store, turn: TurnRow, seen: InspectionRow, width: int) -> GateItem | None:
    """The question as it was; None if it cannot be asked again, or no model answers it."""
    from safetensors import safe_open

    try:
        found = inspection_of(seen, store.pictures)
        shown = store.pictures.existing(str(seen.shown))
    except AnomalystError:  # no longer kept
        return None
    with safe_open(str(shown), framework="pt") as file:
        if file.get_slice("image_embedding").get_shape()[1] != width:
            return None
    said = [one for one in store.turns(seen.id) if one.id < turn.id]
    item = GateItem(
        question=turn.question,
        facts=facts_of(found),
        shown=shown,
        heat=store.pictures.existing(str(seen.heat)),
        turns=tuple((one.question, one.answer["raw"]) for one in said),
    )
    return item if model_speaks(item.question, item.facts, item.earlier()) else None


def _faulted(store: Store, turn: TurnRow, seen: InspectionRow) -> bool:
    """Whether somebody found fault with an answer, or with the verdict that it explains."""
    if seen.reviewed == "wrong":
        return True
    return any(
        _is_about(one, turn)
        for one in store.corrections(inspection=seen.id)
        if one.undone_at is None and one.kind in ABOUT_TURNS
    )


def _is_about(said: CorrectionRow, turn: TurnRow) -> bool:
    """Whether a correction finds fault with the answer of a turn."""
    detail = said.detail
    if "turn" in detail:
        return bool(detail["turn"] == turn.id) and not detail.get("up", False)
    return bool(detail.get("rejected") == turn.answer["text"])
