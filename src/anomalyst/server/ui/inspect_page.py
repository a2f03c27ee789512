"""Inspect: drop a part or a hundred, see where it is not normal, ask, correct."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from anomalyst.inspection.mosaic import PICTURES
from anomalyst.server.auth import Caller
from anomalyst.server.demonstration import knows_demo
from anomalyst.server.received import take_paths
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui import strip
from anomalyst.server.ui.context import Bench, in_order, shows_errors, warn
from anomalyst.server.ui.dropped import parts_of
from anomalyst.server.ui.feedback_form import FeedbackForm
from anomalyst.server.ui.wording import t

# As they are asked, and the key of what the page says: the model reads English alone.
QUESTIONS = {
    "Is there a defect, and where?": "ask.where",
    "How large is it?": "ask.large",
    "How sure are you?": "ask.sure",
}
HEADINGS = ("list.picture", "list.verdict", "list.p", "list.severity", "list.regions")


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
            self.product = gr.Dropdown(label=t("product"), elem_id="inspect-product", scale=2)
            self.drop = gr.File(
                label=t("inspect.drop"), file_count="multiple", height=120,
                elem_id="inspect-drop", scale=3,
            )  # fmt: skip
        self.strip = gr.HTML(elem_id="inspect-strip", js_on_load=strip.THUMB_JS)
        start = pieces.hint(t("inspect.opening"))
        self.view = gr.HTML(start, elem_id="inspect-view", js_on_load=REGION_JS)
        self.found = gr.Dataframe(
            headers=[t(key) for key in HEADINGS], interactive=False, visible=False,
            elem_id="inspect-list", label=t("inspect.batch"), wrap=True,
        )  # fmt: skip

    def _add_dialogue(self) -> None:
        self.talk = gr.HTML(
            pieces.dialogue(self.bench.service, None), elem_id="inspect-talk", js_on_load=WORD_JS
        )
        self.looked = gr.HTML(elem_id="inspect-looked")
        self.question = gr.Textbox(
            placeholder=t("ask.placeholder"), label=t("ask.label"), show_label=False,
            submit_btn=True, elem_id="inspect-question", max_length=500,
        )  # fmt: skip
        gr.HTML(pieces.hint(t("ask.english")))
        with gr.Row():
            self.hints = [
                (gr.State(asked), gr.Button(t(key), size="sm", min_width=90))
                for asked, key in QUESTIONS.items()
            ]
        with gr.Accordion(t("ask.voice"), open=False, elem_id="inspect-voice-open"):
            self.voice = gr.Audio(
                sources=["microphone"], type="filepath", format="wav", label=t("ask.voice"),
                elem_id="inspect-voice",
            )  # fmt: skip
            gr.HTML(pieces.hint(t("ask.voice_hint")))
        self.judging = FeedbackForm(self.bench, self.current, "inspect")
        self.likeness = gr.HTML(elem_id="inspect-likeness")
        self.paper = gr.HTML(elem_id="inspect-paper")

    def _connect(self) -> None:
        known, begins = [self.product, self.current], [self.product, self.waiting]
        begins += [self.strip, *self.page]
        filled: Any = {"show_progress": "hidden", **in_order("inspect")}
        # Without inputs: of those it would be done again at each change, over what a person chose.
        gr.on(None, self.open, None, begins, **filled)
        self.waiting.tick(self.begin, known, begins, **filled)
        self.product.input(self.turn_to, self.product, begins, **filled)
        pictures = [*self.page, self.strip]
        self.strip.select(self.open_thumb, [self.product, self.current], pictures)
        result = [*self.page, self.found, self.batch]
        dropped = self.drop.upload(self.inspect, [self.drop, self.product], result)
        done = dropped.then(lambda: gr.File(value=None), None, self.drop)
        done.then(self.thumbs, known, self.strip, show_progress="hidden")
        self.found.select(self.choose, self.batch, self.page)
        said = [self.talk, self.question]
        answered = [self.question.submit(self.ask, [self.current, self.question], said)]
        answered += [
            button.click(self.ask, [self.current, text], said) for text, button in self.hints
        ]
        spoken = self.voice.stop_recording(self.ask_aloud, [self.current, self.voice], said)
        spoken.then(lambda: None, None, self.voice)
        for answer in [*answered, spoken]:
            answer.then(self.judging.last_answer, self.current, self.judging.better)
        self.view.select(self.compare, self.current, self.likeness)
        self.talk.select(self.look_back, [self.current, self.seen], [self.looked, self.seen])
        self.judging.changed(self.viewed, self.view)

    def open(self, request: gr.Request) -> Any:
        """What the page opens with."""
        return self.begin(None, None, request)

    @shows_errors
    def begin(self, chosen: str | None, current: str | None, request: gr.Request) -> Any:
        """What the page opens with: a product, its thumbnails, the newest that was inspected.

        Asked again until there are: a new installation teaches and inspects while it is open.
        """
        who, service = self.bench.who(request), self.bench.service
        known = service.product_names()
        name = chosen if chosen in known else self.bench.usual_product()
        row = strip.newest(service, name)
        waits = row is None and (name is None or knows_demo(service, name))
        page: Any = [gr.skip()] * len(self.page)
        if row is not None and current is None:
            page = shown(self.bench, row, who, lit=True)
        elif row is None and current is None:
            text = "inspect.teaching" if waits else "inspect.start"
            page = [pieces.hint(t(text)), pieces.dialogue(service, None), None, "", "", ""]
        thumbs = strip.strip(service, name, current or (row.id if row else None))
        return self.bench.product_choice(name), gr.Timer(active=waits), thumbs, *page

    def turn_to(self, chosen: str | None, request: gr.Request) -> Any:
        """Another product, with what was inspected of it last."""
        return self.begin(chosen, None, request)

    def thumbs(self, product: str | None, current: str | None) -> str:
        return strip.strip(self.bench.service, product, current)

    @shows_errors
    def open_thumb(
        self, product: str, current: str | None, request: gr.Request, picked: gr.EventData
    ) -> Any:
        """The inspection of a thumbnail, with its first region lit."""
        who = self.bench.who(request)
        row = strip.opened(self.bench.service, str(picked.thumb), who.name)
        if row.id == current:
            return [gr.skip()] * (len(self.page) + 1)
        thumbs = strip.strip(self.bench.service, product, row.id)
        return *shown(self.bench, row, who, lit=True), thumbs

    @shows_errors
    def inspect(
        self, files: list[str] | None, name: str | None, request: gr.Request
    ) -> Iterator[Any]:
        who, ids = self.bench.who(request), []
        # Pictures may be dropped before the list of products is there.
        name = name or self.bench.usual_product()
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

    def viewed(self, id: str, request: gr.Request) -> str:
        row = self.bench.service.store.inspection(id)
        return pieces.viewer(self.bench.service, row, self.bench.who(request))


def inspected(
    bench: Bench, files: list[str], product: str | None, by: str
) -> Iterator[InspectionRow]:
    """Pictures taken in at once and shown as they are done; a bad one is told and passed over."""
    if not product:
        warn(t("inspect.no_product"))
        return
    sent = []
    for one in take_paths(bench.service.pictures, parts_of(bench.service, product, files)):
        if isinstance(one, str):
            warn(one)
        else:
            sent.append(one)
    for start in range(0, len(sent), bench.service.config.limits.batch):
        some = sent[start : start + bench.service.config.limits.batch]
        for id in bench.service.acknowledge(some, product, by=by, source="workbench"):
            row = bench.service.wait(id)
            if row.state == "failed":
                warn(f"{row.name}: {row.problem}")
            yield row


def shown(bench: Bench, row: InspectionRow, who: Caller, *, lit: bool = False) -> tuple[Any, ...]:
    """An inspection on the page: picture, dialogue, its id, no likeness yet, papers, no look."""
    return (
        pieces.viewer(bench.service, row, who, lit=lit),
        pieces.dialogue(bench.service, row, lit=lit),
        row.id,
        "",
        pieces.papers(bench.service, row, who),
        "",
    )


def table(bench: Bench, ids: list[str]) -> dict[str, Any]:
    """A batch as rows."""
    rows = [
        [*pieces.result_cells(row), str(len((row.record or {}).get("regions", [])))]
        for row in bench.service.store.inspections(ids)
    ]
    return pieces.headed(HEADINGS, rows)


def answered(bench: Bench, row: InspectionRow | None, text: str, by: str) -> Iterator[Any]:
    """The dialogue while an answer comes, sentence by sentence, and when it is there."""
    if row is None:
        warn(t("ask.no_picture"))
        return
    heard: list[str] = []
    yield pieces.dialogue(bench.service, row, text), ""
    for said in bench.service.hear(row.id, text, by=by):
        if isinstance(said, str):
            heard.append(said)
            yield pieces.dialogue(bench.service, row, text, " ".join(heard)), ""
    yield pieces.dialogue(bench.service, row), ""
