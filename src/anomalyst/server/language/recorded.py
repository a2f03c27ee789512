"""Last month's record as questions of the gate: what people asked, with what was known then."""

from datetime import timedelta

from sqlalchemy import select

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.gate.items import GateItem
from anomalyst.server.records.documents import inspection_of
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow, TurnRow, now
from anomalyst.vlm.facts import facts_of
from anomalyst.vlm.generation import Speaker

DAYS = 30
MOST = 200  # questions, the newest
READ = 5  # times as many are read, of which some cannot be asked again


def recorded_items(
    store: Store, speaker: Speaker, *, days: int = DAYS, most: int = MOST
) -> tuple[list[GateItem], int]:
    """The newest questions that a language model answers, and how many were left out.

    Left out is what somebody judged: answers that were liked or not, said better or ranked, which
    a new model may have learnt from, and all that was said of a wrong verdict.
    What the facts alone answer, or another encoder saw, cannot be asked `speaker`.
    """
    found: list[GateItem] = []
    left_out = 0
    for turn, seen in _turns(store, days, READ * most):
        if len(found) == most:
            break
        item = _item(store, turn, seen, speaker)
        if item is None:
            continue
        if _judged(store, turn, seen):
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


def _item(store: Store, turn: TurnRow, seen: InspectionRow, speaker: Speaker) -> GateItem | None:
    """The question as it was; None if it cannot be asked again, or no model answers it."""
    from safetensors import safe_open

    try:
        found = inspection_of(seen, store.pictures)
        shown = store.pictures.existing(str(seen.shown))
    except AnomalystError:  # no longer kept
        return None
    with safe_open(str(shown), framework="pt") as file:
        if file.get_slice("image_embedding").get_shape()[1] != speaker.model.config.embedding_width:
            return None
    said = [one for one in store.turns(seen.id) if one.id < turn.id]
    item = GateItem(
        question=turn.question,
        facts=facts_of(found),
        shown=shown,
        heat=store.pictures.existing(str(seen.heat)),
        turns=tuple((one.question, one.answer["raw"]) for one in said),
    )
    return None if speaker.by_facts(item.question, item.facts, item.earlier()) else item


def _judged(store: Store, turn: TurnRow, seen: InspectionRow) -> bool:
    """Whether somebody judged an answer, or found the verdict wrong that it explains."""
    if seen.reviewed == "wrong":
        return True
    return any(
        _is_about(one, turn)
        for one in store.corrections(inspection=seen.id)
        if one.undone_at is None
    )


def _is_about(said: CorrectionRow, turn: TurnRow) -> bool:
    """Whether a correction is about the answer of a turn."""
    if said.kind == "ranking":
        return bool(said.detail["question"] == turn.question)
    if said.kind == "answer" and said.about is None:  # a record of before
        return bool(said.detail["rejected"] == turn.answer["text"])
    return said.kind in ("answer", "up", "down") and said.about == turn.id
