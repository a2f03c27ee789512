"""What your corrections changed: a product learns what people judged, with figures, and undo."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from anomalyst.errors import AnomalystError
from anomalyst.server.learning import UNLEARNT
from anomalyst.server.records import learning_words as words
from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.wording import t

PICTURES_MOST = 24
ROWS = ("alarms", "missed", "unsure", "auroc", "good", "threshold", "calibrates")  # of the table


class LearningSection:
    """Buttons Learn and Undo for the product that is chosen, and what the last learning changed."""

    def __init__(self, bench: Bench, chosen: gr.Dropdown):
        self.bench, self.chosen = bench, chosen
        gr.Markdown(t("learn.title"))
        self.waiting = gr.Markdown(elem_id="learn-waiting")
        with gr.Row():
            self.learn = gr.Button(t("learn.go"), variant="primary", size="sm", elem_id="learn-go")
            self.undo = gr.Button(t("judge.undo"), size="sm", elem_id="learn-undo")
        self.changed = gr.HTML(elem_id="learn-changed")
        self.parts = [self.waiting, self.changed]

    @shows_errors
    def show(self, name: str | None) -> Any:
        return section(self.bench, name) if name else ["", ""]

    @shows_errors
    def on_learn(self, name: str, request: gr.Request) -> Iterator[Any]:
        who = self.bench.who(request, "engineer")
        yield t("learn.learning"), gr.skip()
        try:
            self.bench.corrections.learning.learn(name, by=who.name)
        except AnomalystError:
            yield section(self.bench, name)
            raise
        yield section(self.bench, name)

    @shows_errors
    def on_undo(self, name: str, request: gr.Request) -> Any:
        who = self.bench.who(request, "engineer")
        self.bench.corrections.learning.unlearn(name, by=who.name)
        return section(self.bench, name)


def section(bench: Bench, name: str) -> tuple[str, str]:
    """What there is to learn from, and what the last learning changed."""
    learning = bench.corrections.learning
    if bench.service.senses(name) != ["image"]:
        return t("learn.photographs"), ""
    found = learning.waiting(name)
    out = sum(map(len, found.passed.values()))
    there = t("learn.there", spoiled=len(found.spoiled), fine=len(found.fine))
    there += " " + t("learn.out", count=out) if out else ""
    last = learning.last(name)
    if last is None:
        return there, pieces.render("learnt.html.j2", state="", found=None)
    when = f"{last.created_at:%Y-%m-%d %H:%M} UTC"
    about: dict[str, Any] = {"state": last.kind, "found": last.detail, "when": when, "by": last.by}
    if last.kind != UNLEARNT:
        changed = [
            (one, pieces.small(bench.service, one["picture"]))
            for one in last.detail["changed"][:PICTURES_MOST]
        ]
        table = [(key, *row[1:]) for key, row in zip(ROWS, words.table(last.detail), strict=True)]
        about |= {"table": table, "changed": changed}
        about["sentences"] = words.sentences(last.detail)
        about["passed"] = words.passed_over(last.detail)
    return there, pieces.render("learnt.html.j2", **about)
