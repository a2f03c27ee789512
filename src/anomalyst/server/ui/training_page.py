"""Training: runs with progress, curves and what the training monitor said; start and stop."""

from typing import Any

import gradio as gr
import pandas as pd

from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, inform, shows_errors
from anomalyst.server.ui.language_section import LanguageSection
from anomalyst.server.ui.wording import t

COLUMNS = ("name", "stage", "state", "step", "steps", "loss")
STATES = ("running", "finished", "stopped", "failed", "unfinished")
FIGURES = ("loss", "learning_rate", "samples_per_second", "waiting_share", "memory_mb")


class TrainingPage:
    """The runs, the one that is chosen among them, and a form to start another."""

    def __init__(self, bench: Bench):
        self.bench, self.chosen = bench, gr.State(None)
        self.table = gr.Dataframe(
            headers=[t(f"run.{key}") for key in COLUMNS],
            interactive=False,
            elem_id="runs",
            label=t("run.runs"),
        )
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                figures = gr.HTML()
                curve = gr.LinePlot(
                    x="step", y="loss", title=t("run.loss"), height=280, visible=False
                )
                self.page = [figures, curve, gr.Markdown(), pieces.console(lines=8)]
                self.stop = gr.Button(t("run.stop"), size="sm", variant="stop")
            with gr.Column(scale=2, min_width=280):
                gr.Markdown(t("run.train"))
                self.recipe = gr.Dropdown(label=t("run.recipe"), choices=bench.runs.recipes())
                self.name = gr.Textbox(label=t("run.name_of"), max_length=80)
                self.changes = gr.Textbox(label=t("run.changes"), placeholder="steps=100 batch=4")
                self.start = gr.Button(t("run.start"), variant="primary")
        LanguageSection(bench)
        self._connect()

    def _connect(self) -> None:
        result = [self.chosen, *self.page]
        gr.on(None, self.listed, None, self.table, show_progress="hidden")
        self.table.select(self.choose, None, result)
        self.start.click(self.begin, [self.recipe, self.name, self.changes], result)
        self.stop.click(self.end, self.chosen, None)
        timer = gr.Timer(5)
        timer.tick(self.listed, None, self.table).then(self.again, self.chosen, self.page)

    def listed(self) -> dict[str, Any]:
        rows = [
            [said(one["state"]) if key == "state" else told(one[key]) for key in COLUMNS]
            for one in self.bench.runs.all()
        ]
        return pieces.headed([f"run.{key}" for key in COLUMNS], rows)

    @shows_errors
    def choose(self, picked: gr.SelectData) -> Any:
        return [picked.row_value[0], *described(self.bench, picked.row_value[0])]

    @shows_errors
    def begin(self, recipe: str, name: str, changes: str, request: gr.Request) -> Any:
        self.bench.who(request, "admin")
        self.bench.runs.start(recipe or "", name.strip(), changes.split())
        return [name.strip(), *described(self.bench, name.strip())]

    @shows_errors
    def end(self, name: str | None, request: gr.Request) -> None:
        self.bench.who(request, "engineer")
        self.bench.runs.stop(str(name))
        inform(t("run.ends", name=name))

    @shows_errors
    def again(self, name: str | None) -> Any:
        return described(self.bench, name) if name else [gr.skip()] * len(self.page)


def described(bench: Bench, name: str) -> list[Any]:
    """A run's figures, curve, warnings and last words."""
    run = bench.runs.run(name)
    last = run["lines"][-1] if run["lines"] else {}
    figures = [(f"{run['step'] or 0} / {run['steps'] or '?'}", said(run["state"]))]
    figures += [(f"{last[key]:.4g}", t(f"run.{key}")) for key in FIGURES if key in last]
    lines = [line for line in run["lines"] if "loss" in line]
    curve = pd.DataFrame({key: [line[key] for line in lines] for key in ("step", "loss")})
    warned = "\n\n".join([*run["watchdog"], *([run["why"]] if run["why"] else [])])
    # Gradio's plot of nothing is no good to a screen reader.
    plot = gr.LinePlot(value=curve, visible=bool(lines))
    return [pieces.tiles(figures), plot, warned, run["console"]]


def said(state: str | None) -> str:
    """A run's state in the page's words."""
    return t(f"state.{state}") if state in STATES else str(state or "")


def told(value: Any) -> str:
    """A value of a run; nothing where there is none."""
    return "" if value is None else str(value)
