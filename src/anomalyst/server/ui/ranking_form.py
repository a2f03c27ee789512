"""Several answers to one question side by side, each to be given a rank: 1 is the best."""

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from anomalyst.errors import AnomalystError
from anomalyst.server.records.answers import LETTERS
from anomalyst.server.storage.preferences import QUESTION
from anomalyst.server.storage.tables import CandidateRow, CorrectionRow
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.wording import t

Told = Callable[[CorrectionRow], tuple[str, str]]  # what is said of it, and its id
CARD = "<div class='an-card'><b>{0}</b><span lang='en'>{1}</span></div>"
HOW = "<i lang='en'>{0}</i> {1}"


class RankingForm:
    """A button that asks for answers, their cards, and a button that keeps the ranks."""

    def __init__(self, bench: Bench, current: gr.State, name: str, told: Told):
        self.bench, self.current, self.told = bench, current, told
        self.shown = gr.State(None)  # id of the answers on the cards
        with gr.Column(visible=False, elem_id=f"{name}-ranking") as self.box:
            self.how = gr.HTML()
            self.cards, self.ranks = [], []
            for letter in LETTERS:
                with gr.Group():
                    self.cards.append(gr.HTML())
                    self.ranks.append(
                        gr.Radio(
                            label=t(f"rank.of_{letter.lower()}"),
                            show_label=False,
                            container=False,
                            elem_id=f"{name}-rank-{letter.lower()}",
                            elem_classes="an-ranks",
                        )  # fmt: skip
                    )
            self.keep = gr.Button(t("rank.keep"), size="sm", elem_id=f"{name}-keep-ranking")
        self.page = [self.box, self.how, self.shown, *self.cards, *self.ranks]

    def connect(self, ask: gr.Button, result: list[Any]) -> None:
        """`ask` opens it; what is kept is told in `result`."""
        ask.click(self._sample, self.current, self.page)
        self.current.change(self._closed, None, [self.box, self.shown])
        kept = self.keep.click(self._keep, [self.shown, *self.ranks], result)
        kept.success(self._closed, None, [self.box, self.shown])  # else the cards stay

    @shows_errors
    def _keep(self, shown: str | None, a: Any, b: Any, c: Any, d: Any, request: gr.Request) -> Any:
        who = self.bench.who(request)
        row = self.bench.corrections.rank(str(shown), self._read(shown, [a, b, c, d]), by=who.name)
        return self.told(row)

    @shows_errors
    def _sample(self, id: str | None, request: gr.Request) -> Any:
        who = self.bench.who(request)
        if not id:
            raise AnomalystError(t("ask.no_picture"))
        turns = self.bench.service.store.turns(id)
        question = turns[-1].question if turns else QUESTION
        found = self.bench.corrections.sample(id, question, by=who.name, count=len(LETTERS))
        return self._opened(found)

    def _opened(self, found: CandidateRow) -> list[Any]:
        count = len(found.answers)
        texts = [answer["text"] for answer in found.answers] + [""] * (len(LETTERS) - count)
        words = [t("rank.best"), *[""] * (count - 2), t("rank.worst")]
        choices = [(f"{rank} {word}".strip(), rank) for rank, word in enumerate(words, start=1)]
        cards = [
            gr.HTML(CARD.format(letter, escape(text)), visible=bool(text))
            for letter, text in zip(LETTERS, texts, strict=True)
        ]
        ranks = [gr.Radio(choices=choices, value=None, visible=bool(text)) for text in texts]
        how = HOW.format(escape(found.question), escape(t("rank.how")))
        return [gr.Column(visible=True), how, found.id, *cards, *ranks]

    def _closed(self) -> Any:
        return gr.Column(visible=False), None

    def _read(self, shown: str | None, given: list[Any]) -> list[int]:
        if shown is None:
            raise AnomalystError(t("rank.none"))
        count = len(self.bench.service.store.candidates(shown).answers)
        ranks = given[:count]
        missing = [letter for letter, rank in zip(LETTERS, ranks, strict=False) if not rank]
        if missing:
            raise AnomalystError(t("rank.missing", letter=missing[0]))
        return [int(rank) for rank in ranks]
