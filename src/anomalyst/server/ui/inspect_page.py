"""Inspect: drop a part or a hundred, see where it is not normal, ask, correct."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from anomalyst.inspection.mosaic import PICTURES
from anomalyst.server.auth import Caller
from anomalyst.server.received import take_paths
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.dropped import parts_of
from anomalyst.server.ui.feedback_form import FeedbackForm

QUESTIONS = ("Is there a defect, and where?", "How large is it?", "How sure are you?")
HEADINGS = ["picture", "verdict", "p", "severity", "regions"]
VOICE_HINT = "The sound stays on this machine: it is turned into words here and not kept."
START = (
    "<p class='an-hint'>Choose a product and drop parts, by all its senses: one, or a hundred.</p>"
)


# A region clicked, on the picture or in the table, is asked about.
REGION_JS = """
element.addEventListener('click', (event) => {
  const region = event.target.closest('[data-region]');
  if (region) trigger('select', {region: region.dataset.region});
});
"""
# A word of an answer clicked: where did it look?
WORD_JS = """
element.addEventListener('click', (event) => {
  const word = event.target.closest('.an-word');
  if (word) trigger('select', {turn: word.dataset.turn, at: word.dataset.at});
});
"""


class InspectPage:
    """Pictures in, their verdicts out, and a dialogue about the one that is chosen."""

    def __init__(self, bench: Bench):
        self.bench = bench
        self.current, self.batch = gr.State(None), gr.State([])
        self.seen = gr.State({})  # where the words of an answer looked, by its turn
        self.waiting = gr.Timer(1.5, active=False)
        with gr.Row():
            with gr.Column(scale=5, min_width=320):
                self._add_pictures()
            with gr.Column(scale=3, min_width=300):
                self._add_dialogue()
        self.page = [self.view, self.talk, self.current, self.likeness, self.paper, self.looked]
        self._connect()

    def _add_pictures(self) -> None:
        with gr.Row():
            self.product = gr.Dropdown(label="Product", elem_id="inspect-product", scale=2)
            self.drop = gr.File(
                label="Drop parts here", file_count="multiple", height=120,
                elem_id="inspect-drop", scale=3,
            )  # fmt: skip
        self.view = gr.HTML(START, elem_id="inspect-view", js_on_load=REGION_JS)
        self.found = gr.Dataframe(
            headers=HEADINGS, interactive=False, visible=False, elem_id="inspect-list",
            label="This batch", wrap=True,
        )  # fmt: skip

    def _add_dialogue(self) -> None:
        self.talk = gr.HTML(
            pieces.dialogue(self.bench.service, None), elem_id="inspect-talk", js_on_load=WORD_JS
        )
        self.looked = gr.HTML(elem_id="inspect-looked")
        self.question = gr.Textbox(
            placeholder="Ask about this part", show_label=False, submit_btn=True,
            elem_id="inspect-question", max_length=500,
        )  # fmt: skip
        self.voice = gr.Audio(
            sources=["microphone"], type="filepath", format="wav", label="Ask by voice",
            elem_id="inspect-voice",
        )  # fmt: skip
        gr.HTML(f"<p class='an-hint'>{VOICE_HINT}</p>")
        with gr.Row():
            self.hints = [gr.Button(text, size="sm", min_width=90) for text in QUESTIONS]
        self.judging = FeedbackForm(self.bench, self.current, "inspect")
        self.likeness = gr.HTML(elem_id="inspect-likeness")
        self.paper = gr.HTML(elem_id="inspect-paper")

    def _connect(self) -> None:
        known = [self.product, self.waiting]
        gr.on(None, self.products, self.product, known)
        self.waiting.tick(self.products, self.product, known, show_progress="hidden")
        result = [*self.page, self.found, self.batch]
        dropped = self.drop.upload(self.inspect, [self.drop, self.product], result)
        dropped.then(lambda: gr.File(value=None), None, self.drop)
        self.found.select(self.choose, self.batch, self.page)
        said = [self.talk, self.question]
        answered = [self.question.submit(self.ask, [self.current, self.question], said)]
        answered += [hint.click(self.ask, [self.current, hint], said) for hint in self.hints]
        spoken = self.voice.stop_recording(self.ask_aloud, [self.current, self.voice], said)
        spoken.then(lambda: None, None, self.voice)
        for answer in [*answered, spoken]:
            answer.then(self.judging.last_answer, self.current, self.judging.better)
        self.view.select(self.compare, self.current, self.likeness)
        self.talk.select(self.look_back, [self.current, self.seen], [self.looked, self.seen])
        self.judging.changed(self.viewed, self.view)

    def products(self, chosen: str | None) -> Any:
        """Until there is one: a new installation teaches its first while the page is open."""
        known = self.bench.service.product_names()
        return self.bench.product_choice(chosen), gr.Timer(active=not known)

    @shows_errors
    def inspect(
        self, files: list[str] | None, name: str | None, request: gr.Request
    ) -> Iterator[Any]:
        who, ids = self.bench.who(request), []
        # Pictures may be dropped before the list of products is there.
        name = name or next(iter(self.bench.service.product_names()), None)
        for row in inspected(self.bench, files or [], name, who.name):
            ids.append(row.id)
            rows = gr.Dataframe(value=table(self.bench, ids), visible=len(files or []) > 1)
            yield *shown(self.bench, row, who), rows, ids

    @shows_errors
    def choose(self, ids: list[str], request: gr.Request, picked: gr.SelectData) -> Any:
        who = self.bench.who(request)
        return shown(self.bench, self.bench.service.store.inspection(ids[picked.index[0]]), who)

    @shows_errors
    def ask(self, id: str | None, text: str, request: gr.Request) -> Iterator[Any]:
        who = self.bench.who(request)
        row = self.bench.service.store.inspection(id) if id else None
        yield from answered(self.bench, row, text, who.name)

    @shows_errors
    def ask_aloud(self, id: str | None, file: str | None, request: gr.Request) -> Iterator[Any]:
        """What the microphone took is asked, and the recording that Gradio wrote is deleted."""
        if file is None:
            return
        path = Path(file)
        try:
            with path.open("rb") as stream:
                text = self.bench.service.hear_question(stream, "the recording").question()
        finally:
            path.unlink(missing_ok=True)
        row = self.bench.service.store.inspection(id) if id else None
        yield from answered(self.bench, row, text, self.bench.who(request).name)

    @shows_errors
    def compare(self, id: str | None, picked: gr.EventData) -> str:
        row = self.bench.service.store.inspection(str(id))
        if row.sense not in PICTURES:
            return ""  # places of recordings, and of several senses, have no such likeness
        return pieces.likeness(self.bench.service, row, int(picked.region))

    @shows_errors
    def look_back(
        self, id: str | None, seen: dict[str, Any], picked: gr.EventData
    ) -> tuple[str, dict[str, Any]]:
        """Where a word of an answer looked; the model looks once an answer, for all its words."""
        row = self.bench.service.store.inspection(str(id))
        turn = str(picked.turn)
        if turn not in seen:
            seen = {turn: self.bench.service.looked_back(row.id, turn)}
        return pieces.looked(self.bench.service, row, seen[turn], int(picked.at)), seen

    def viewed(self, id: str) -> str:
        return pieces.viewer(self.bench.service, self.bench.service.store.inspection(id))


def inspected(
    bench: Bench, files: list[str], product: str | None, by: str
) -> Iterator[InspectionRow]:
    """Pictures taken in at once and shown as they are done; a bad one is told and passed over."""
    if not product:
        gr.Warning("Choose a product first; teach one on the page Products.")
        return
    sent = []
    for one in take_paths(bench.service.pictures, parts_of(bench.service, product, files)):
        if isinstance(one, str):
            gr.Warning(one, duration=12)
        else:
            sent.append(one)
    for start in range(0, len(sent), bench.service.config.limits.batch):
        some = sent[start : start + bench.service.config.limits.batch]
        for id in bench.service.acknowledge(some, product, by=by, source="workbench"):
            row = bench.service.wait(id)
            if row.state == "failed":
                gr.Warning(f"{row.name}: {row.problem}", duration=12)
            yield row


def shown(bench: Bench, row: InspectionRow, who: Caller) -> tuple[Any, ...]:
    """An inspection on the page: picture, dialogue, its id, no likeness yet, papers, no look."""
    return (
        pieces.viewer(bench.service, row),
        pieces.dialogue(bench.service, row),
        row.id,
        "",
        pieces.papers(bench.service, row, who),
        "",
    )


def table(bench: Bench, ids: list[str]) -> list[list[str]]:
    """A batch as rows."""
    return [
        [*pieces.result_cells(row), str(len((row.record or {}).get("regions", [])))]
        for row in bench.service.store.inspections(ids)
    ]


def answered(bench: Bench, row: InspectionRow | None, text: str, by: str) -> Iterator[Any]:
    """The dialogue while an answer comes, sentence by sentence, and when it is there."""
    if row is None:
        gr.Warning("Inspect a picture first.")
        return
    heard: list[str] = []
    yield pieces.dialogue(bench.service, row, text), ""
    for said in bench.service.hear(row.id, text, by=by):
        if isinstance(said, str):
            heard.append(said)
            yield pieces.dialogue(bench.service, row, text, " ".join(heard)), ""
    yield pieces.dialogue(bench.service, row), ""
