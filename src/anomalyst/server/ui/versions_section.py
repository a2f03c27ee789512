"""The last versions of a product: bring one back, or compare one with what serves."""

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from anomalyst.server.storage.tables import ACTIVE
from anomalyst.server.teaching import ended
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.teaching_form import working
from anomalyst.server.ui.wording import t

LOOK_SECONDS = 0.5
SHOWN_MOST = 20
PEOPLE = {True: "spoiled", False: "fine", None: "nobody"}


class VersionsSection:
    """An accordion of the Products page."""

    def __init__(self, bench: Bench):
        self.bench = bench
        with gr.Accordion(t("versions.title"), open=False, elem_id="versions"):
            self.number = gr.Dropdown(label=t("versions.earlier"), elem_id="versions-chosen")
            with gr.Row():
                self.back = gr.Button(t("versions.back"), elem_id="versions-back")
                self.compare = gr.Button(t("versions.compare"), elem_id="versions-compare")
            self.said = gr.Markdown(elem_id="versions-said")
        self.parts = [self.number, self.said]

    @shows_errors
    def show(self, value: str | None) -> list[Any]:
        found = self.bench.service.teaching.versions(value) if value else []
        choices = [(told(one), one["number"]) for one in found]
        first = choices[0][1] if choices else None
        return [gr.Dropdown(choices=choices, value=first), "" if choices else t("versions.none")]

    @shows_errors
    def bring_back(self, value: str, number: int | None, request: gr.Request) -> list[Any]:
        who = self.bench.who(request, "engineer")
        if number is None:
            return [gr.skip(), t("versions.none")]
        self.bench.service.teaching.bring_back(value, number, by=who.name)
        choice, _ = self.show(value)
        return [choice, t("versions.serves", number=number)]

    @shows_errors
    def judge_both(self, value: str, number: int | None, request: gr.Request) -> Iterator[str]:
        who, service = self.bench.who(request, "engineer"), self.bench.service
        if number is None:
            yield t("versions.none")
            return
        row = service.teaching.compare(value, number, by=who.name)
        while row.state in ACTIVE:
            yield working(row.said) if row.said else t("versions.beginning")
            row = service.background.wait(row.id, LOOK_SECONDS)
        yield compared(ended(row))


def told(one: dict[str, Any]) -> str:
    """A version in words."""
    made = one["made_at"][:16].replace("T", " ")
    said = [t("versions.told", number=one["number"], when=made, count=one["references"])]
    if one["corrections"]:
        said.append(t("versions.fine", count=one["corrections"]))
    if one["learnt"]:
        said.append(t("versions.learnt"))
    return ", ".join(said)


def compared(found: dict[str, Any]) -> str:
    """Two versions beside each other, as Markdown."""
    keys = ("versions.verdicts", "versions.missed", "versions.alarms", "learnt.row.auroc")
    rows = [f"| | {' | '.join(t(key) for key in keys)} |", "|---|---|---|---|---|"]
    for side in ("before", "after"):
        one, number = found[side], found[side + "_version"]
        counts = ", ".join(str(one["verdicts"][v]) for v in ("normal", "unsure", "anomalous"))
        name = t("versions.version", number=number) if number else t("versions.now")
        area = "\u2013" if one["auroc"] is None else f"{one['auroc']:.3f}"
        rows.append(f"| {name} | {counts} | {one['missed']} | {one['false_alarms']} | {area} |")
    lines = [
        t(
            "versions.on",
            pictures=found["pictures"],
            judged=found["judged"],
            differ=len(found["differ"]),
        ),
        "",
        *rows,
        "",
    ]
    for one in found["differ"][:SHOWN_MOST]:
        people = t(f"versions.people_{PEOPLE[one['spoiled']]}")
        before, after = (t(f"verdict.{one[side]['verdict']}") for side in ("before", "after"))
        lines.append(f"- {escape(one['name'])}: {before} \u2192 {after} ({people})")
    return "\n".join(lines)
