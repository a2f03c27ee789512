"""Teach: good parts dropped, of any sense; what their files do not tell is asked."""

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from anomalyst.detection.signals.names import JUDGES
from anomalyst.errors import AnomalystError
from anomalyst.inspection.file_reading import FileReading
from anomalyst.senses.fields import UNITS
from anomalyst.server.received import take_paths
from anomalyst.server.storage.tables import ACTIVE
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.dropped import parts_of
from anomalyst.server.ui.wording import t

BY_NAME = "by name"
LOOK_SECONDS = 0.5  # between two looks at how far the teaching is
KINDS = {
    "by_name": BY_NAME, "image": "image", "depth": "depth", "thermal": "thermal", "audio": "audio",
    "series": "series",
}  # fmt: skip
POSED = {"image", "depth", "thermal"}
UNIT_WORDS = {"K": "kelvin", "cK": "centikelvin"}


class TeachingForm:
    """Name, good parts and how they are read; ends with the product that was taught chosen."""

    def __init__(self, bench: Bench):
        self.bench = bench
        gr.Markdown(t("teach.title"))
        self.name = gr.Textbox(label=t("teach.name"), elem_id="teach-name", max_length=80)
        self.good = gr.File(
            label=t("teach.drop"), file_count="multiple", height=130, elem_id="teach-drop"
        )
        self.kind = gr.Dropdown(
            [(t(f"teach.{word}"), kind) for word, kind in KINDS.items()], value=BY_NAME,
            label=t("teach.kind"), elem_id="teach-kind", info=t("teach.kind_info"),
        )  # fmt: skip
        self.depth_unit = gr.Radio(
            list(UNITS["depth"]), value="mm", label=t("teach.depth_unit"), visible=False,
            elem_id="teach-depth-unit",
        )  # fmt: skip
        self.thermal_unit = gr.Radio(
            [
                (t(f"teach.{UNIT_WORDS[unit]}") if unit in UNIT_WORDS else f"°{unit}", unit)
                for unit in UNITS["thermal"]
            ],
            label=t("teach.thermal_unit"), visible=False, elem_id="teach-thermal-unit",
        )  # fmt: skip
        self.rate = gr.Number(
            label=t("teach.rate"), value=None,
            visible=False, elem_id="teach-rate",
        )  # fmt: skip
        self.method = gr.Dropdown(
            list(JUDGES), value="memory", label=t("teach.method"), visible=False,
            elem_id="teach-method",
        )  # fmt: skip
        self.pose = gr.Radio(
            [(t(f"teach.pose_{pose}"), pose) for pose in ("auto", "fixed", "free")], value="auto",
            label=t("teach.pose"),
            elem_id="teach-pose",
        )  # fmt: skip
        self.about = gr.Textbox(label=t("teach.about"), placeholder=t("teach.about_example"))
        with gr.Row():
            self.teach = gr.Button(t("teach.go"), variant="primary", elem_id="teach-go")
            self.stop = gr.Button(t("cancel"), visible=False, elem_id="teach-cancel")
        self.job = gr.State(None)
        self.progress = gr.Markdown(elem_id="teach-said")
        self.asked = [self.depth_unit, self.thermal_unit, self.rate, self.method]

    def connect(self, chosen: gr.Dropdown) -> Any:
        """What follows the button; `chosen` becomes the product that was taught."""
        given = [self.name, self.good, self.kind]
        gr.on(
            [self.good.change, self.kind.change, self.name.blur], self.ask, given,
            [*self.asked, self.pose], show_progress="hidden",
        )  # fmt: skip
        self.stop.click(self.cancel, self.job, None)
        return self.teach.click(
            self.learn, [*given, self.pose, self.about, *self.asked],
            [self.progress, chosen, self.good, self.job, self.stop],
        )  # fmt: skip

    def ask(self, name: str, files: list[str] | None, kind: str) -> list[Any]:
        """Show what has to be asked of such files: nothing of a product that is known."""
        name, service = name.strip(), self.bench.service
        senses: set[str] = set()
        if name not in service.product_names():
            try:
                parts = parts_of(service, name, files or [], None if kind == BY_NAME else kind)
                senses = set(parts[0]) if parts else senses
            except AnomalystError:
                pass  # said when they are taught
        wanted = [kind in senses for kind in ("depth", "thermal", "series", "series")]
        posed = not senses or bool(senses & POSED)
        return [gr.update(visible=one) for one in (*wanted, posed)]

    @shows_errors
    def learn(
        self,
        value: str,
        files: list[str] | None,
        kind: str,
        pose: str,
        about: str,
        depth_unit: str,
        thermal_unit: str | None,
        rate: float | None,
        method: str,
        request: gr.Request,
    ) -> Iterator[Any]:
        who, service = self.bench.who(request, "engineer"), self.bench.service
        same = gr.skip(), gr.skip()
        yield "", *same, None, gr.skip()
        name = value.strip()
        parts = parts_of(service, name, files or [], None if kind == BY_NAME else kind)
        kinds = set(parts[0]) if parts else set()
        senses = set() if name in service.product_names() else kinds
        pose = pose if not kinds or kinds & POSED else "auto"  # the field is hidden
        reading = FileReading(
            depth_unit=depth_unit if "depth" in senses else None,
            thermal_unit=thermal_unit if "thermal" in senses else None,
            rate_hz=(rate or None) if "series" in senses else None,
            method=method if "series" in senses else None,
        )
        sent = []
        for one in take_paths(service.pictures, parts):
            if isinstance(one, str):
                raise AnomalystError(one)
            sent.append(one)
        if not sent and about and name in service.product_names():
            service.teaching.describe(name, about, by=who.name)
            yield taught(service.product(name)), self.bench.product_choice(name), *done_with()
            return
        row = service.teaching.start(
            name, sent, by=who.name, pose=pose, describe=about or None, reading=reading
        )
        while row.state in ACTIVE:
            far = working(row.said) if row.said else t("teach.looking", count=len(sent))
            yield far, *same, row.id, gr.Button(visible=True)
            row = service.background.wait(row.id, LOOK_SECONDS)
        if row.state == "done":
            found = service.product(name)
            yield taught(found), self.bench.product_choice(name), *done_with()
            return
        why = row.problem or t("teach.cancelled", name=name)
        yield why, *same, None, gr.Button(visible=False)

    @shows_errors
    def cancel(self, job: str | None, request: gr.Request) -> None:
        self.bench.who(request, "engineer")
        if job is not None:
            self.bench.service.background.cancel(job)


def working(said: str) -> str:
    """What a job says of itself, which is the server's, and English."""
    return f"<span lang='en'>{escape(said)} …</span>"


def done_with() -> tuple[Any, ...]:
    """The form after a teaching: no files, no job, nothing to cancel."""
    return gr.File(value=None), None, gr.Button(visible=False)


def taught(found: dict[str, Any]) -> str:
    """What a product knows now, in words."""
    what = "teach.knows_pictures" if found["senses"] == ["image"] else "teach.knows_parts"
    notes = " ".join(found["notes"])
    known = t(what, name=found["name"], count=len(found["references"]))
    return f"{known} <span lang='en'>{escape(notes)}</span>"
