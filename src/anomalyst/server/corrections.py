"""What people say of inspections: kept, learnt from at once where that is right, and undone."""

import io
import logging
import random
import threading
import time
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image

from anomalyst.errors import AnomalystError
from anomalyst.io.masks import packed
from anomalyst.server.errors import Busy, Conflict, NotFound
from anomalyst.server.jobs.tasks import Accept, Box, Candidates, Withdraw
from anomalyst.server.learning import Learning
from anomalyst.server.records.answers import JudgedAnswers, earlier
from anomalyst.server.records.documents import as_png
from anomalyst.server.records.drawn import Drawn
from anomalyst.server.records.judged import fine_all_over
from anomalyst.server.service import Service
from anomalyst.server.storage.tables import (
    CandidateRow,
    CorrectionRow,
    InspectionRow,
    TurnRow,
    now,
)
from anomalyst.vlm.dialogue import checked_question

log = logging.getLogger(__name__)
Kind = Literal["right", "wrong", "fine", "mask"]
AnswerKind = Literal["answer", "up", "down", "ranking"]
# What each undoes that the same person said of the same answers.
REPLACED: dict[AnswerKind, tuple[AnswerKind, ...]] = {
    "answer": ("answer",), "up": ("up", "down"), "down": ("up", "down"), "ranking": ("ranking",),
}  # fmt: skip
LONGEST_TEXT = 2000  # characters of a person's own words
MOST_BOXES = 50
AGAIN_SECONDS = 5.0  # until what could not be learnt yet is tried again


class Corrections:
    """Feedback on inspections. `service` finds and does; what was said is kept here."""

    def __init__(self, service: Service):
        self.service, self.store = service, service.store
        self.began = now()
        self._judging = threading.Lock()  # what one person says at once is kept one after another
        self.learning = Learning(service)

    def resume(self) -> int:
        """Apply what was said and not learnt before the server ended; returns how many.

        While the model cannot be used they wait, as inspections do.
        """
        # What was said since this server began is in the hands of those who said it.
        waiting = [row for row in self.store.unlearnt() if row.created_at < self.began]
        for row in waiting:
            try:
                self._apply_patiently(row)
            except AnomalystError as error:
                self.store.mark_correction(row.id, detail=row.detail | {"problem": str(error)})
                self._not_learnt(row, error)
        return len(waiting)

    def _apply_patiently(self, row: CorrectionRow) -> None:
        while not self.service.closing:  # what is left waits for the next start
            said = self.store.correction(row.id)
            if said.applied_at or said.undone_at:  # meanwhile
                return
            try:
                self._apply(row, self.store.inspection(row.inspection))
                return
            except Busy as passing:
                log.warning("correction %s waits: %s", row.id, passing)
                time.sleep(AGAIN_SECONDS)

    def judge(self, id: str, right: bool, *, by: str, comment: str = "") -> CorrectionRow:
        """The verdict was right, or wrong. Of a false alarm nothing is learnt yet: see `fine`."""
        row = self.service.done_row(id)
        opposite = "anomalous" if row.verdict == "normal" else "normal"
        detail = {"verdict": row.verdict if right else opposite, "comment": comment}
        return self._kept(row, "right" if right else "wrong", by, detail)

    def defect(self, id: str, *, by: str) -> CorrectionRow:
        """The part is defective, whatever the verdict was."""
        row = self.service.done_row(id)
        kind: Kind = "right" if row.verdict == "anomalous" else "wrong"
        detail = {"verdict": "anomalous", "comment": "", "called": "anomalous"}
        return self._kept(row, kind, by, detail)

    def fine(self, id: str, boxes: Sequence[Box] | None, *, by: str) -> CorrectionRow:
        """Places of a picture are normal (None: all that were found): the product learns them.

        The patches join its bank and its good pictures calibrate it anew, before this returns.
        """
        row = self.service.done_row(id)
        found = (row.record or {})["regions"]
        places = [tuple(one["box_xyxy"]) for one in found] if boxes is None else list(boxes)
        if not places:
            raise Conflict("nothing was found on this picture, so there is nothing to accept.")
        _check_boxes(places, row)
        kept = self._kept(row, "fine", by, {"boxes_xyxy": [list(place) for place in places]})
        try:
            self._apply(kept, row)
        except AnomalystError as error:
            self._not_learnt(kept, error)
            raise
        return self.store.correction(kept.id)

    def repaint(self, id: str, mask: bytes, *, by: str) -> CorrectionRow:
        """The defect as a person paints it: a picture of the inspected one's size, white on black.

        One that is black says that there is none.
        """
        return self.outline(id, _read_mask(mask, self.service.done_row(id)), Drawn(), by=by)

    def outline(self, id: str, mask: np.ndarray, drawn: Drawn, *, by: str) -> CorrectionRow:
        """A defect, or a part of the product, as a person draws it: bool (H, W) of the picture.

        Kept for training and export. A part says nothing about the verdict.
        """
        row = self.service.done_row(id)
        boxes = _boxes(mask)
        detail = drawn.as_detail() | {
            "mask": self.service.pictures.keep(as_png(mask), ".png"),
            "rle": packed(mask).as_dict(),
            "area_px": int(mask.sum()),
            "boxes_xyxy": boxes,
        }
        if drawn.what == "defect":
            detail["verdict"] = "anomalous" if boxes else "normal"
        return self._kept(row, "mask", by, detail)

    def reword(self, id: str, turn: str, better: str, *, by: str) -> CorrectionRow:
        """A better answer than the one that was given in a turn, compared with what was found."""
        words = better.strip()
        if not words or len(words) > LONGEST_TEXT:
            raise AnomalystError(
                f"the better answer has {len(words)} characters; 1 to {LONGEST_TEXT} are needed."
            )
        row = self._judged_row(id)
        said, judged = self._turn(row, turn)
        if words == said.answer["text"]:
            raise AnomalystError("the better answer is the answer itself; say it in other words.")
        judged.add_words(words)
        judged.add(said.answer)
        detail = judged.detail((1, 2), rejected=said.answer["text"], chosen=words)
        return self._judged(row, "answer", turn, by, detail)

    def thumb(self, id: str, turn: str, up: bool, *, by: str) -> CorrectionRow:
        """The answer that was given in a turn is good, or is not; a later thumb replaces it."""
        row = self._judged_row(id)
        said, judged = self._turn(row, turn)
        judged.add(said.answer)
        kind: AnswerKind = "up" if up else "down"
        return self._judged(row, kind, turn, by, judged.detail((1 if up else 2,)))

    def sample(self, id: str, question: str, *, by: str, count: int = 3) -> CandidateRow:
        """2 to `count` different answers to a question, in an order by chance, to be ranked.

        A question that was just asked is answered in its place. The same person gets the same set
        again. Raises AnomalystError where the language model finds no second answer.
        """
        row = self._judged_row(id)
        asked = checked_question(question)
        turns = self.store.turns(id)
        if turns and turns[-1].question == asked:
            turns = turns[:-1]
        task = Candidates(**self.service.asking(row, asked, turns), key=id, count=count)
        made = self.service.run_task(task)["answers"]
        order = random.sample(range(len(made)), len(made))
        found = CandidateRow(
            inspection=id, question=asked, turns=earlier(turns), by=by,
            answers=[made[i] for i in order], order=order,
        )  # fmt: skip
        with self._judging:  # two requests at once would make two sets
            for known in self.store.candidates_of(id, by):
                same = known.question == asked and known.turns == found.turns
                if same and _texts(known.answers) == _texts(made):
                    return known
            self.store.keep(found)
        return found

    def rank(self, candidates: str, ranks: Sequence[int], *, by: str) -> CorrectionRow:
        """How good the answers of a set are, in the order shown: 1 is the best, ties are allowed.

        A person's later ranking of the set replaces the former.
        """
        shown = self.store.candidates(candidates)
        _check_ranks(ranks, len(shown.answers))
        row = self._judged_row(shown.inspection)
        judged = JudgedAnswers(row, shown.question, shown.turns)
        for answer in shown.answers:
            judged.add(answer)
        detail = judged.detail(ranks, order=shown.order)
        return self._judged(row, "ranking", shown.id, by, detail)

    def undo(self, id: str, *, by: str) -> CorrectionRow:
        """Take a correction back; what was learnt from it is forgotten."""
        with self.learning.alone:
            row = self.store.correction(id)
            if row.undone_at is not None:
                return row
            if row.kind == "fine":  # withdrawing what was not accepted does nothing
                self.service.run_task(Withdraw(product=row.product, name=row.id))
                self.store.note(row.product, "withdrawn", by, correction=row.id)
            # Before it is learnt without it: a judgement that is read meanwhile leaves it out.
            self.store.undo_correction(row, by)
            self._review(row.inspection)
            try:
                self.learning.forget(row, by=by)
            except Busy as error:
                if row.kind != "fine":  # nothing was done: it can be undone again
                    self.store.redo_correction(row, by, why=str(error))
                    self._review(row.inspection)
                raise
        return self.store.correction(id)

    def _not_learnt(self, row: CorrectionRow, error: AnomalystError) -> None:
        """The record must not say that the product knows a place that it refused."""
        self.store.undo_correction(row, row.by, what="not learnt", why=str(error))
        self._review(row.inspection)

    def _review(self, inspection: str) -> None:
        self.store.set_reviewed(inspection, self._judgement_left(inspection))

    def _apply(self, row: CorrectionRow, seen: InspectionRow) -> None:
        boxes = tuple((b[0], b[1], b[2], b[3]) for b in row.detail["boxes_xyxy"])
        image = self.service.pictures.existing(seen.picture)
        self.service.run_task(Accept(product=row.product, image=image, boxes=boxes, name=row.id))
        self.store.learnt(row)

    def _judged_row(self, id: str) -> InspectionRow:
        """An inspection whose answers can be judged. Raises NotFound where its picture is gone."""
        row = self.service.done_row(id)
        if row.picture not in self.service.pictures:
            raise NotFound(
                f"the picture of inspection {id} is no longer kept, so answers about it cannot be "
                "judged; inspect it again."
            )
        return row

    def _turn(self, row: InspectionRow, turn: str) -> tuple[TurnRow, JudgedAnswers]:
        """A turn of a dialogue, and its answers to be judged: none yet."""
        turns = self.store.turns(row.id)
        index = next((i for i, one in enumerate(turns) if one.id == turn), None)
        if index is None:
            raise AnomalystError(f"inspection {row.id} has no turn {turn[:40]!r}.")
        return turns[index], JudgedAnswers(row, turns[index].question, earlier(turns[:index]))

    def _judged(
        self, row: InspectionRow, kind: AnswerKind, about: str, by: str, detail: dict[str, Any]
    ) -> CorrectionRow:
        said = CorrectionRow(
            inspection=row.id, product=row.product, kind=kind, about=about, detail=detail, by=by
        )
        with self._judging:
            self.store.replace_judgement(said, REPLACED[kind])
        return said

    def _kept(
        self, row: InspectionRow, kind: Kind, by: str, detail: dict[str, Any]
    ) -> CorrectionRow:
        said = CorrectionRow(
            inspection=row.id, product=row.product, kind=kind, detail=detail, by=by
        )
        self.store.add_correction(said, _judgement(kind, detail, row))
        return said

    def _judgement_left(self, inspection: str) -> str | None:
        """What the corrections that were not undone say of a verdict."""
        row = self.store.inspection(inspection)
        left = [c for c in self.store.corrections(inspection=inspection) if c.undone_at is None]
        judged = (_judgement(one.kind, one.detail, row) for one in left)
        return next((one for one in judged if one is not None), None)


def _judgement(kind: str, detail: dict[str, Any], row: InspectionRow) -> str | None:
    """Whether a correction says the verdict was right or wrong; None: it says neither."""
    if kind in ("right", "wrong"):
        return kind
    if kind == "fine":
        return "wrong" if fine_all_over(detail["boxes_xyxy"], row) else None
    if kind == "mask" and Drawn.of(detail).what == "defect":
        return "right" if detail["verdict"] == row.verdict else "wrong"
    return None


def _check_ranks(ranks: Sequence[int], count: int) -> None:
    if len(ranks) != count:
        raise AnomalystError(f"{len(ranks)} ranks for {count} answers; each needs one.")
    if min(ranks) != 1 or max(ranks) > count:
        raise AnomalystError(
            f"ranks {', '.join(map(str, ranks))}: 1 is the best and {count} the worst of {count} "
            "answers; at least one must be 1."
        )
    if max(ranks) == 1:
        raise AnomalystError(
            "all answers have the same rank, so nothing is preferred; rank one of them lower, or "
            "leave it."
        )


def _texts(answers: Sequence[dict[str, Any]]) -> list[str]:
    return sorted(answer["text"] for answer in answers)


def _check_boxes(boxes: Sequence[Sequence[int]], row: InspectionRow) -> None:
    high, wide = row.size_hw
    if len(boxes) > MOST_BOXES:
        raise AnomalystError(f"{len(boxes)} places; at most {MOST_BOXES} can be accepted at once.")
    for x0, y0, x1, y1 in boxes:
        if not (0 <= x0 < x1 <= wide and 0 <= y0 < y1 <= high):
            raise AnomalystError(
                f"box {x0}, {y0}, {x1}, {y1} does not lie on the picture of {wide}x{high} pixels; "
                "x0 < x1 and y0 < y1 are needed."
            )


def _boxes(mask: np.ndarray) -> list[list[int]]:
    """x0, y0, x1, y1 of the connected places of a mask, the largest first."""
    _, _, found, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    places = found[1:][np.argsort(-found[1:, cv2.CC_STAT_AREA], kind="stable")][:MOST_BOXES]
    return [[int(x), int(y), int(x + wide), int(y + high)] for x, y, wide, high, _ in places]


def _read_mask(data: bytes, row: InspectionRow) -> np.ndarray:
    """Bool (H, W) of the inspected picture's size. Raises AnomalystError for anything else."""
    high, wide = row.size_hw
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.size != (wide, high):
                raise AnomalystError(
                    f"the mask has {image.width}x{image.height} pixels, its picture {wide}x{high}; "
                    "they must be of one size."
                )
            return np.asarray(image.convert("L")) > 127
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise AnomalystError(f"the mask is no PNG that can be read ({error}).") from error
