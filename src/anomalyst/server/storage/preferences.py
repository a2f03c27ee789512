"""Corrections as preference pairs, to align a language model with: TRL's form."""

from collections.abc import Iterator, Sequence
from typing import Any

from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow

QUESTION = "Is there a defect, and where?"  # asked where no dialogue was held


def preference_pairs(store: Store, product: str | None = None) -> Iterator[dict[str, Any]]:
    """Corrections that were not undone, in the conversational form with pictures of TRL's DPO.

    `prompt`, `chosen` and `rejected` are lists of messages, `images` the picture's file.
    """
    for row in reversed(store.corrections(product=product)):
        if row.undone_at is None:
            yield from _pairs(store, row, store.inspection(row.inspection))


def _pairs(store: Store, row: CorrectionRow, seen: InspectionRow) -> Iterator[dict[str, Any]]:
    record = seen.record or {}
    picture = str(store.pictures.path(seen.picture))
    if row.kind == "answer":
        said = row.detail
        yield _pair(said["question"], said["chosen"], said["rejected"], picture)
        return
    verdict = row.detail.get("verdict", "normal")
    if row.kind == "right" or (verdict == seen.verdict and row.kind != "mask"):
        return
    first = next(iter(store.turns(seen.id)), None)
    question = first.question if first else QUESTION
    rejected = first.answer["text"] if first else record["answer"]
    chosen = _right_words(verdict, row.detail.get("boxes_xyxy", []))
    if chosen != rejected:
        yield _pair(question, chosen, rejected, picture)


def _right_words(verdict: str, boxes: Sequence[Sequence[int]]) -> str:
    """The sentence that a person's correction amounts to."""
    if verdict == "normal":
        return "No, there is no defect; the part is sound."
    if not boxes:
        return "Yes, there is a defect."
    places = "; ".join(f"box {', '.join(str(v) for v in box)}" for box in boxes)
    count = "is one defect" if len(boxes) == 1 else f"are {len(boxes)} defects"
    return f"Yes, there {count} ({places})."


def _pair(question: str, chosen: str, rejected: str, picture: str) -> dict[str, Any]:
    asked = [{"type": "image", "text": None}, {"type": "text", "text": question}]

    def said(text: str) -> list[dict[str, Any]]:
        return [{"role": "assistant", "content": [{"type": "text", "text": text}]}]

    return {
        "prompt": [{"role": "user", "content": asked}],
        "chosen": said(chosen),
        "rejected": said(rejected),
        "images": [picture],
    }
