"""Right or wrong, fine, a mask, a good answer or a better one: the same on several pages."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from anomalyst.errors import AnomalystError
from anomalyst.server.storage.tables import CorrectionRow
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.mask_editor import MaskEditor
from anomalyst.server.ui.ranking_form import RankingForm
from anomalyst.server.ui.wording import t


class FeedbackForm:
    """Buttons that judge the inspection whose id `current` holds, and undo the last judgement."""

    def __init__(self, bench: Bench, current: gr.State, name: str):
        self.bench, self.current = bench, current
        self.last = gr.State(None)  # id of the last correction
        with gr.Row():
            self.right, self.wrong, self.fine, self.defect, self.undo = (
                gr.Button(t(f"judge.{what}"), size="sm", elem_id=f"{name}-{what}", min_width=60)
                for what in ("right", "wrong", "fine", "defect", "undo")
            )
        with gr.Row():
            self.up, self.down, self.rank = (
                gr.Button(t(f"judge.{what}"), size="sm", elem_id=f"{name}-{what}", min_width=90)
                for what in ("up", "down", "rank")
            )
        self.said = gr.Markdown(elem_id=f"{name}-said")
        self.ranking = RankingForm(bench, current, name, _told)
        with gr.Accordion(t("judge.better"), open=False):
            self.better = gr.Textbox(
                label=t("judge.better_words"), lines=3, elem_id=f"{name}-better"
            )
            self.reword = gr.Button(t("judge.reword"), size="sm", elem_id=f"{name}-reword")
        self.masks = MaskEditor(bench, current, name)
        self._connect()

    def changed(self, show: Callable[[str, gr.Request], Any], target: Any) -> None:
        """Show something anew after each judgement."""

        def again(id: str | None, request: gr.Request) -> Any:
            return show(id, request) if id else gr.skip()

        gr.on([self.last.change, self.masks.html.select], again, self.current, target)

    def _connect(self) -> None:
        corrections, result = self.bench.corrections, [self.said, self.last]
        self._judges(self.right, lambda id, by: corrections.judge(id, True, by=by))
        self._judges(self.wrong, lambda id, by: corrections.judge(id, False, by=by))
        self._judges(self.defect, lambda id, by: corrections.defect(id, by=by))
        self.fine.click(self._fine, self.current, result)
        self._judges(self.up, lambda id, by: corrections.thumb(id, self._turn(id), True, by=by))
        self._judges(self.down, lambda id, by: corrections.thumb(id, self._turn(id), False, by=by))
        self.ranking.connect(self.rank, result)
        self.undo.click(self._undo, self.last, result)
        # Not when the box is opened, too: what somebody types at once would be written over.
        self.current.change(self.last_answer, self.current, self.better)
        self.masks.connect(self.said, self.last)
        self.reword.click(self._reword, [self.current, self.better], result)

    def _judges(self, button: gr.Button, judge: Callable[[str, str], CorrectionRow]) -> None:
        @shows_errors
        def judged(id: str | None, request: gr.Request) -> Any:
            return _told(judge(_there(id), self.bench.who(request).name))

        button.click(judged, self.current, [self.said, self.last])

    @shows_errors
    def _fine(self, id: str | None, request: gr.Request) -> Any:
        """What was found is learnt as fine; where nothing was, the whole part is called fine."""
        row = self.bench.service.store.inspection(_there(id))
        if (row.record or {}).get("regions"):
            who = self.bench.who(request, "engineer")
            return _told(self.bench.corrections.fine(row.id, None, by=who.name))
        who = self.bench.who(request)
        right = row.verdict == "normal"
        return _told(self.bench.corrections.judge(row.id, right, by=who.name))

    @shows_errors
    def _undo(self, last: str | None, request: gr.Request) -> Any:
        who = self.bench.who(request, "engineer")
        if last is None:
            return t("judge.nothing"), None
        self.bench.corrections.undo(last, by=who.name)
        return t("judge.undone"), None

    @shows_errors
    def _reword(self, id: str | None, words: str, request: gr.Request) -> Any:
        who = self.bench.who(request)
        turn = self._turn(_there(id))
        return _told(self.bench.corrections.reword(str(id), turn, words, by=who.name))

    def _turn(self, id: str) -> str:
        """Id of the last turn. Raises AnomalystError where nothing was asked."""
        turns = self.bench.service.store.turns(id)
        if not turns:
            raise AnomalystError(t("judge.not_asked"))
        return turns[-1].id

    def last_answer(self, id: str | None) -> str:
        """What the last answer says: to be said better."""
        turns = self.bench.service.store.turns(id) if id else []
        return str(turns[-1].answer["text"]) if turns else ""


def _there(id: str | None) -> str:
    """Raises AnomalystError where no inspection is shown."""
    if not id:
        raise AnomalystError(t("ask.no_picture"))
    return id


def _told(row: CorrectionRow) -> tuple[str, str]:
    warning = row.detail.get("warning")
    return f"**{warning}**" if warning else t(f"said.{row.kind}"), row.id
