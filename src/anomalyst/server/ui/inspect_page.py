"""Inspect: drop a part or a hundred, see where it is not normal, ask, correct."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from anomalyst.errors import AnomalystError
from anomalyst.server.auth import Caller
from anomalyst.server.storage.tables import InspectionRow
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, told
from anomalyst.server.ui.feedback_form import Judging

QUESTIONS = ("Is there a defect, and where?", "How large is it?", "How sure are you?")
HEADINGS = ["picture", "verdict", "p", "regions"]
START = "<p class='an-hint'>Choose a product and drop pictures: one part, or a hundred.</p>"


def build(bench: Bench) -> None:
    """The page's parts and what they do."""
    current, batch = gr.State(None), gr.State([])
    waiting = gr.Timer(1.5, active=False)
    with gr.Row():
        with gr.Column(scale=5, min_width=320):
            with gr.Row():
                product = gr.Dropdown(label="Product", elem_id="inspect-product", scale=2)
                drop = gr.File(
                    label="Drop pictures here",
                    file_count="multiple",
                    height=120,
                    elem_id="inspect-drop",
                    scale=3,
                )
            view = gr.HTML(START, elem_id="inspect-view", js_on_load=REGION_JS)
            found = gr.Dataframe(
                headers=HEADINGS, interactive=False, visible=False, elem_id="inspect-list",
                label="This batch", wrap=True,
            )  # fmt: skip
        with gr.Column(scale=3, min_width=300):
            talk = gr.HTML(pieces.dialogue(bench.service, None), elem_id="inspect-talk")
            question = gr.Textbox(
                placeholder="Ask about this part", show_label=False, submit_btn=True,
                elem_id="inspect-question", max_length=500,
            )  # fmt: skip
            with gr.Row():
                hints = [gr.Button(text, size="sm", min_width=90) for text in QUESTIONS]
            judging = Judging(bench, current, "inspect")
            likeness = gr.HTML(elem_id="inspect-likeness")
            paper = gr.HTML(elem_id="inspect-paper")

    def products(chosen: str | None) -> Any:
        """Until there is one: a new installation teaches its first while the page is open."""
        names = bench.service.product_names()
        value = chosen if chosen in names else next(iter(names), None)
        return gr.Dropdown(choices=names, value=value), gr.Timer(active=not names)

    @told
    def inspect(files: list[str] | None, name: str | None, request: gr.Request) -> Iterator[Any]:
        who, ids = bench.who(request), []
        name = name or next(
            iter(bench.service.product_names()), None
        )  # dropped before the list was there
        for row in inspected(bench, files or [], name, who.name):
            ids.append(row.id)
            rows = gr.Dataframe(value=table(bench, ids), visible=len(files or []) > 1)
            yield *shown(bench, row, who), rows, ids

    @told
    def choose(ids: list[str], request: gr.Request, picked: gr.SelectData) -> Any:
        who = bench.who(request)
        return shown(bench, bench.service.store.inspection(ids[picked.index[0]]), who)

    @told
    def ask(id: str | None, text: str, request: gr.Request) -> Iterator[Any]:
        who = bench.who(request)
        row = bench.service.store.inspection(id) if id else None
        yield from answered(bench, row, text, who.name)

    @told
    def compare(id: str | None, picked: gr.EventData) -> str:
        row = bench.service.store.inspection(str(id))
        return pieces.likeness(bench.service, row, int(picked.region))

    page = [view, talk, current, likeness, paper]
    gr.on(None, products, product, [product, waiting])
    waiting.tick(products, product, [product, waiting], show_progress="hidden")
    drop.upload(inspect, [drop, product], [*page, found, batch]).then(
        lambda: gr.File(value=None), None, drop
    )
    found.select(choose, batch, page)
    question.submit(ask, [current, question], [talk, question])
    for hint in hints:
        hint.click(ask, [current, hint], [talk, question])
    view.select(compare, current, likeness)
    judging.changed(
        lambda id: pieces.viewer(bench.service, bench.service.store.inspection(id)), view
    )


# A region clicked, on the picture or in the table, is asked about.
REGION_JS = """
element.addEventListener('click', (event) => {
  const region = event.target.closest('[data-region]');
  if (region) trigger('select', {region: region.dataset.region});
});
"""


def inspected(
    bench: Bench, files: list[str], product: str | None, by: str
) -> Iterator[InspectionRow]:
    """Pictures taken in at once and shown as they are done; a bad one is told and passed over."""
    if not product:
        gr.Warning("Choose a product first; teach one on the page Products.")
        return
    sent = []
    for file in files:
        try:
            sent.append(bench.service.take_file(Path(file)))
        except (AnomalystError, OSError) as error:
            gr.Warning(str(error), duration=12)
    for start in range(0, len(sent), bench.service.config.limits.batch):
        some = sent[start : start + bench.service.config.limits.batch]
        for id in bench.service.acknowledge(some, product, by=by, source="workbench"):
            row = bench.service.wait(id)
            if row.state == "failed":
                gr.Warning(f"{row.name}: {row.problem}", duration=12)
            yield row


def shown(bench: Bench, row: InspectionRow, who: Caller) -> tuple[Any, ...]:
    """An inspection on the page: picture, dialogue, its id, no likeness yet, papers."""
    return (
        pieces.viewer(bench.service, row),
        pieces.dialogue(bench.service, row),
        row.id,
        "",
        pieces.papers(bench.service, row, who),
    )


def table(bench: Bench, ids: list[str]) -> list[list[str]]:
    """A batch as rows."""
    return [
        [
            row.name,
            row.verdict or row.state,
            "" if row.p_value is None else f"{row.p_value:.3g}",
            str(len((row.record or {}).get("regions", []))),
        ]
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
