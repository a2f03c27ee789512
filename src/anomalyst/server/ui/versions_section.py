"""The last versions of a product: bring one back, or compare one with what serves."""

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from anomalyst.server.storage.jobs import ACTIVE
from anomalyst.server.teaching import ended
from anomalyst.server.ui.context import Bench, shows_errors

LOOK_SECONDS = 0.5
NOTHING = "*No earlier version yet: one is kept each time the product is taught.*"
SHOWN_MOST = 20


class VersionsSection:
    """An accordion of the Products page."""

    def __init__(self, bench: Bench):
        self.bench = bench
        with gr.Accordion("Versions", open=False, elem_id="versions"):
            self.number = gr.Dropdown(label="Earlier version", elem_id="versions-chosen")
            with gr.Row():
                self.back = gr.Button("Back to it", elem_id="versions-back")
                self.compare = gr.Button("Compare with what serves", elem_id="versions-compare")
            self.said = gr.Markdown(elem_id="versions-said")
        self.parts = [self.number, self.said]

    @shows_errors
    def show(self, value: str | None) -> list[Any]:
        found = self.bench.service.teaching.versions(value) if value else []
        choices = [(told(one), one["number"]) for one in found]
        first = choices[0][1] if choices else None
        return [gr.Dropdown(choices=choices, value=first), "" if choices else NOTHING]

    @shows_errors
    def bring_back(self, value: str, number: int | None, request: gr.Request) -> list[Any]:
        who = self.bench.who(request, "engineer")
        if number is None:
            return [gr.skip(), NOTHING]
        self.bench.service.teaching.bring_back(value, number, by=who.name)
        choice, _ = self.show(value)
        return [choice, f"Version {number} serves now; what served is the newest version here."]

    @shows_errors
    def judge_both(self, value: str, number: int | None, request: gr.Request) -> Iterator[str]:
        who, service = self.bench.who(request, "engineer"), self.bench.service
        if number is None:
            yield NOTHING
            return
        row = service.teaching.compare(value, number, by=who.name)
        while row.state in ACTIVE:
            yield f"{row.said or 'beginning'} \u2026"
            row = service.background.wait(row.id, LOOK_SECONDS)
        yield compared(ended(row))


def told(one: dict[str, Any]) -> str:
    """A version in words."""
    learnt = ", learnt from judgements" if one["learnt"] else ""
    fine = f", {one['corrections']} called fine" if one["corrections"] else ""
    made = one["made_at"][:16].replace("T", " ")
    return f"{one['number']}: {made} UTC, {one['references']} good parts{fine}{learnt}"


def compared(found: dict[str, Any]) -> str:
    """Two versions beside each other, as Markdown."""
    rows = [
        "| | verdicts: normal, unsure, anomalous | missed | false alarms | AUROC |",
        "|---|---|---|---|---|",
    ]
    for side in ("before", "after"):
        one, number = found[side], found[side + "_version"]
        counts = ", ".join(str(one["verdicts"][v]) for v in ("normal", "unsure", "anomalous"))
        name = f"version {number}" if number else "serves now"
        area = "\u2013" if one["auroc"] is None else f"{one['auroc']:.3f}"
        rows.append(f"| {name} | {counts} | {one['missed']} | {one['false_alarms']} | {area} |")
    lines = [
        f"On {found['pictures']} pictures of the record, {found['judged']} of them judged by "
        f"people; {len(found['differ'])} verdicts differ.",
        "",
        *rows,
        "",
    ]
    for one in found["differ"][:SHOWN_MOST]:
        people = {True: "spoiled", False: "fine", None: "nobody judged it"}[one["spoiled"]]
        before, after = one["before"]["verdict"], one["after"]["verdict"]
        lines.append(f"- {escape(one['name'])}: {before} \u2192 {after} ({people})")
    return "\n".join(lines)
