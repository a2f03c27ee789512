"""Training: runs with progress, curves and what the training monitor said; start and stop."""

from typing import Any

import gradio as gr
import pandas as pd

from anomalyst.server.ui import components as pieces
from anomalyst.server.ui.context import Bench, told

HEADINGS = ["run", "stage", "state", "step", "of", "loss"]


def build(bench: Bench) -> None:
    """The page's parts and what they do."""
    names = gr.State([])
    chosen = gr.State(None)
    table = gr.Dataframe(headers=HEADINGS, interactive=False, elem_id="runs", label="Runs")
    with gr.Row():
        with gr.Column(scale=4, min_width=320):
            figures = gr.HTML()
            curve = gr.LinePlot(x="step", y="loss", title="Loss", height=280)
            warned = gr.Markdown()
            console = gr.Textbox(label="Last words", lines=8, max_lines=8, interactive=False)
            stop = gr.Button("Save and stop this run", size="sm", variant="stop")
        with gr.Column(scale=2, min_width=280):
            gr.Markdown(
                "### Train\nIn a process of its own; started again under the same name, it goes on."
            )
            recipe = gr.Dropdown(label="Recipe", choices=bench.runs.recipes())
            name = gr.Textbox(label="Name of the run", max_length=80)
            changes = gr.Textbox(label="Changes", placeholder="steps=100 batch=4")
            start = gr.Button("Start", variant="primary")

    page = [figures, curve, warned, console]

    def listed() -> Any:
        runs = bench.runs.all()
        cells = [
            [
                str(one.get(k) if one.get(k) is not None else "")
                for k in ("name", "stage", "state", "step", "steps", "loss")
            ]
            for one in runs
        ]
        return cells, [one["name"] for one in runs]

    @told
    def choose(known: list[str], picked: gr.SelectData) -> Any:
        return [known[picked.index[0]], *described(bench, known[picked.index[0]])]

    @told
    def begin(recipe: str, name: str, changes: str, request: gr.Request) -> Any:
        bench.who(request, "admin")
        bench.runs.start(recipe or "", name.strip(), changes.split())
        return [name.strip(), *described(bench, name.strip())]

    @told
    def end(name: str | None, request: gr.Request) -> None:
        bench.who(request, "engineer")
        bench.runs.stop(str(name))
        gr.Info(f"{name} saves itself and ends.")

    @told
    def again(name: str | None) -> Any:
        return described(bench, name) if name else [gr.skip()] * len(page)

    gr.on(None, listed, None, [table, names])
    table.select(choose, names, [chosen, *page])
    start.click(begin, [recipe, name, changes], [chosen, *page])
    stop.click(end, chosen, None)
    timer = gr.Timer(5)
    timer.tick(listed, None, [table, names]).then(again, chosen, page)


def described(bench: Bench, name: str) -> list[Any]:
    """A run's figures, curve, warnings and last words."""
    run = bench.runs.run(name)
    last = run["lines"][-1] if run["lines"] else {}
    shown = ("loss", "learning_rate", "samples_per_second", "waiting_share", "memory_mb")
    figures = [(f"{run['step'] or 0} / {run['steps'] or '?'}", run["state"])]
    figures += [(f"{last[key]:.4g}", key.replace("_", " ")) for key in shown if key in last]
    lines = [line for line in run["lines"] if "loss" in line]
    curve = pd.DataFrame({key: [line[key] for line in lines] for key in ("step", "loss")})
    warned = "\n\n".join([*run["watchdog"], *([run["why"]] if run["why"] else [])])
    return [pieces.tiles(figures), curve, warned, run["console"]]
