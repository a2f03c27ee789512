"""Right or wrong, fine, a mask, a good answer or a better one: the same on several pages."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from anomalyst.errors import AnomalystError
from anomalyst.server.auth import Role
from anomalyst.server.storage.tables import CorrectionRow
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.mask_editor import MaskEditor
from anomalyst.server.ui.ranking_form import RankingForm

SAID = {
    "right": "Marked right.", "wrong": "Marked wrong.",
    "fine": "Learnt: this place is fine from now on, and the product is calibrated anew.",
    "answer": "Your words are kept.", "ranking": "Your ranking is kept.",
    "up": "Kept: a good answer.", "down": "Kept: a poor answer.",
}  # fmt: skip


class FeedbackForm:
    """Buttons that judge the inspection whose id `current` holds, and undo the last judgement."""

    def __init__(self, bench: Bench, current: gr.State, name: str):
        self.bench, self.current = bench, current
        self.last = gr.State(None)  # id of the last correction
        with gr.Row():
            self.right = gr.Button("Right", size="sm", elem_id=f"{name}-right", min_width=70)
            self.wrong = gr.Button("Wrong", size="sm", elem_id=f"{name}-wrong", min_width=70)
            self.fine = gr.Button("This is fine", size="sm", elem_id=f"{name}-fine", min_width=90)
            self.undo = gr.Button("Undo", size="sm", elem_id=f"{name}-undo", min_width=70)
        with gr.Row():
            self.up = gr.Button("Good answer", size="sm", elem_id=f"{name}-up", min_width=90)
            self.down = gr.Button("Poor answer", size="sm", elem_id=f"{name}-down", min_width=90)
            self.rank = gr.Button("Rank answers", size="sm", elem_id=f"{name}-rank", min_width=90)
        self.said = gr.Markdown(elem_id=f"{name}-said")
        self.ranking = RankingForm(bench, current, name, _told)
        with gr.Accordion("Say it better", open=False):
            self.better = gr.Textbox(
                label="What the last answer should have said", lines=3, elem_id=f"{name}-better"
            )
            self.reword = gr.Button("Keep these words", size="sm", elem_id=f"{name}-reword")
        self.masks = MaskEditor(bench, current, name)
        self._connect()

    def changed(self, show: Callable[[str], Any], target: Any) -> None:
        """Show something anew after each judgement."""
        said = [self.last.change, self.masks.html.select]
        gr.on(said, lambda id: show(id) if id else gr.skip(), self.current, target)

    def _connect(self) -> None:
        corrections, result = self.bench.corrections, [self.said, self.last]
        self._judges(self.right, lambda id, by: corrections.judge(id, True, by=by))
        self._judges(self.wrong, lambda id, by: corrections.judge(id, False, by=by))
        self._judges(self.fine, lambda id, by: corrections.fine(id, None, by=by), "engineer")
        self._judges(self.up, lambda id, by: corrections.thumb(id, self._turn(id), True, by=by))
        self._judges(self.down, lambda id, by: corrections.thumb(id, self._turn(id), False, by=by))
        self.ranking.connect(self.rank, result)
        self.undo.click(self._undo, self.last, result)
        # Not when the box is opened, too: what somebody types at once would be written over.
        self.current.change(self.last_answer, self.current, self.better)
        self.masks.connect(self.said, self.last)
        self.reword.click(self._reword, [self.current, self.better], result)

    def _judges(
        self, button: gr.Button, judge: Callable[[str, str], CorrectionRow], role: Role = "operator"
    ) -> None:
        @shows_errors
        def judged(id: str | None, request: gr.Request) -> Any:
            return _told(judge(str(id), self.bench.who(request, role).name))

        button.click(judged, self.current, [self.said, self.last])

    @shows_errors
    def _undo(self, last: str | None, request: gr.Request) -> Any:
        who = self.bench.who(request, "engineer")
        if last is None:
            return "Nothing to undo.", None
        self.bench.corrections.undo(last, by=who.name)
        return "Undone.", None

    @shows_errors
    def _reword(self, id: str | None, words: str, request: gr.Request) -> Any:
        who = self.bench.who(request)
        turn = self._turn(str(id))
        return _told(self.bench.corrections.reword(str(id), turn, words, by=who.name))

    def _turn(self, id: str) -> str:
        """Id of the last turn. Raises AnomalystError where nothing was asked."""
        turns = self.bench.service.store.turns(id)
        if not turns:
            raise AnomalystError(
                "nothing was asked about this part yet; ask on the page Inspect, or rank answers."
            )
        return turns[-1].id

    def last_answer(self, id: str | None) -> str:
        """What the last answer says: to be said better."""
        turns = self.bench.service.store.turns(id) if id else []
        return str(turns[-1].answer["text"]) if turns else ""


def _told(row: CorrectionRow) -> tuple[str, str]:
    warning = row.detail.get("warning")
    return f"**{warning}**" if warning else SAID[row.kind], row.id
