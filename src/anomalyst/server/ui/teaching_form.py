"""Teach: good parts dropped, of any sense; what their files do not tell is asked."""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from anomalyst.detection.signals.names import JUDGES
from anomalyst.errors import AnomalystError
from anomalyst.inspection.file_reading import FileReading
from anomalyst.senses.fields import UNITS
from anomalyst.server.received import take_paths
from anomalyst.server.storage.jobs import ACTIVE
from anomalyst.server.ui.context import Bench, shows_errors
from anomalyst.server.ui.dropped import parts_of

BY_NAME = "by name"
LOOK_SECONDS = 0.5  # between two looks at how far the teaching is
KINDS = [
    ("what their names say", BY_NAME), ("photographs", "image"),
    ("depth", "depth"), ("heat", "thermal"), ("sound", "audio"), ("sensors over time", "series"),
]  # fmt: skip
POSED = {"image", "depth", "thermal"}
UNIT_WORDS = {"C": "°C", "K": "kelvin", "cK": "hundredths of a kelvin"}


class TeachingForm:
    """Name, good parts and how they are read; ends with the product that was taught chosen."""

    def __init__(self, bench: Bench):
        self.bench = bench
        gr.Markdown(
            "### Teach\nOne good part is enough; 19 or more keep a false-alarm rate of 5 %. "
            "Photographs, depth, heat, sound or sensor tables, alone or together: files of one "
            "part have one name."
        )
        self.name = gr.Textbox(label="Name of the product", elem_id="teach-name", max_length=80)
        self.good = gr.File(
            label="Drop good parts", file_count="multiple", height=130, elem_id="teach-drop"
        )
        self.kind = gr.Dropdown(
            KINDS, value=BY_NAME, label="They are", elem_id="teach-kind",
            info="p7.png is a photograph, p7_depth.png depth, p7_thermal.png heat, p7.wav sound",
        )  # fmt: skip
        self.depth_unit = gr.Radio(
            list(UNITS["depth"]), value="mm", label="Unit of the depth files", visible=False,
            elem_id="teach-depth-unit",
        )  # fmt: skip
        self.thermal_unit = gr.Radio(
            [(UNIT_WORDS[unit], unit) for unit in UNITS["thermal"]],
            label="Unit of the heat files", visible=False, elem_id="teach-thermal-unit",
        )  # fmt: skip
        self.rate = gr.Number(
            label="Samples a second, if the tables have no column of times", value=None,
            visible=False, elem_id="teach-rate",
        )  # fmt: skip
        self.method = gr.Dropdown(
            list(JUDGES), value="memory", label="What judges the sensors", visible=False,
            elem_id="teach-method",
        )  # fmt: skip
        self.pose = gr.Radio(
            ["auto", "fixed", "free"], value="auto", label="Does it lie any way round?",
            elem_id="teach-pose",
        )  # fmt: skip
        self.about = gr.Textbox(label="What to know of it", placeholder="the print should read 500")
        with gr.Row():
            self.teach = gr.Button("Teach", variant="primary", elem_id="teach-go")
            self.stop = gr.Button("Cancel", visible=False, elem_id="teach-cancel")
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
            far = row.said or f"looking at {len(sent)} good parts"
            yield f"{far} …", *same, row.id, gr.Button(visible=True)
            row = service.background.wait(row.id, LOOK_SECONDS)
        if row.state == "done":
            found = service.product(name)
            yield taught(found), self.bench.product_choice(name), *done_with()
            return
        why = row.problem or f"Cancelled; **{name}** is as it was."
        yield why, *same, None, gr.Button(visible=False)

    @shows_errors
    def cancel(self, job: str | None, request: gr.Request) -> None:
        self.bench.who(request, "engineer")
        if job is not None:
            self.bench.service.background.cancel(job)


def done_with() -> tuple[Any, ...]:
    """The form after a teaching: no files, no job, nothing to cancel."""
    return gr.File(value=None), None, gr.Button(visible=False)


def taught(found: dict[str, Any]) -> str:
    """What a product knows now, in words."""
    what = "pictures" if found["senses"] == ["image"] else "parts"
    notes = " ".join(found["notes"])
    return f"**{found['name']}** knows {len(found['references'])} good {what}. {notes}"
