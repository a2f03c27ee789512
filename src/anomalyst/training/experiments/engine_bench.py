"""The same tiny run on every engine: one curve, many costs. And our loop beside a bare one."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from torch import nn

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_bytes, write_text
from anomalyst.training.engines import check_engine
from anomalyst.training.engines.division import check_division
from anomalyst.training.experiments.plots import draw_engines
from anomalyst.training.experiments.tables import EngineRow, engine_table
from anomalyst.training.experiments.tiny import make_tiny, make_tiny_language
from anomalyst.training.loop import train
from anomalyst.training.monitor.log import read_log
from anomalyst.training.optimization import learning_rate, make_optimizer
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share
from anomalyst.training.tasks import load_recipe, task_of

SKIPPED = 10  # first steps, in which things are made ready


def bench_engines(
    folder: Path,
    engines: Sequence[str],
    worlds: Sequence[int],
    *,
    task: Literal["anomalygpt", "language"] = "anomalygpt",
    steps: int = 50,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[list[EngineRow], list[str]]:
    """Run a tiny recipe on each engine and number of processes; rows, and what was left out.

    An engine may name its order, as pipeline:gpipe. Model parallel engines need `task` language.
    Writes engines.json, engines.md and engines.png into `folder`.
    """
    if task == "language":
        recipe = make_tiny_language(folder / "made", steps=steps)
    else:
        recipe = make_tiny(folder / "made", steps=steps, batch=8, micro_batch=2)
    first = _run(recipe, folder / "runs" / "single-1", "single", 1)
    base = _losses(folder / "runs" / "single-1")
    rows, left_out = [first], []
    say(_line(first))
    for engine in engines:
        for world in worlds:
            try:
                read = load_recipe(recipe, _engine_words(engine))
                check_engine(read.engine, "float32", here=world, world=world)
                check_division(read, world)
            except AnomalystError as error:
                if str(error) not in left_out:  # once, whatever the number of processes
                    left_out.append(str(error))
                    say(str(error))
                continue
            row = _run(recipe, folder / "runs" / f"{engine}-{world}", engine, world, base)
            rows.append(row)
            say(_line(row))
    write_text(folder / "engines.json", json.dumps([asdict(r) for r in rows], indent=1) + "\n")
    write_text(folder / "engines.md", engine_table(rows))
    names = [f"{row.engine}-{row.processes}" for row in rows]
    curves = {name: _losses(folder / "runs" / name) for name in names}
    write_bytes(folder / "engines.png", draw_engines(rows, curves))
    return rows, left_out


def bench_loop(folder: Path, *, rounds: int, width: int) -> dict[str, float]:
    """Our loop beside a bare one on the same model and batches: medians of seconds per step.

    The turns alternate; waiting for data counts in neither.
    """
    path = make_tiny(folder / "made", batch=4, micro_batch=4, width=width)
    recipe = load_recipe(path, ["ema_decay=0", "steps=40", "log_every=20", "batch=4"])
    ours, bare = [], []
    for turn in range(rounds):
        bare.append(_bare_seconds(recipe, folder / "bare"))
        out = folder / "ours" / str(turn)
        train(recipe, out, resume=False)
        line = read_log(out / "log.jsonl")[-1]
        ours.append(line["seconds_per_step"] * (1 - line["waiting_share"]))
    found = {"bare_seconds": statistics.median(bare), "ours_seconds": statistics.median(ours)}
    ratios = sorted(a / b for a, b in zip(ours, bare, strict=True))
    found["overhead_percent"] = 100 * (statistics.median(ratios) - 1)
    return {name: round(value, 5) for name, value in found.items()}


def _run(
    recipe: Path, out: Path, engine: str, world: int, base: Sequence[float] | None = None
) -> EngineRow:
    before, begun = psutil.net_io_counters(pernic=True)["lo"].bytes_sent, time.perf_counter()
    words = [sys.executable, "-m", "anomalyst", "train", str(recipe), "--out", str(out), "--fresh"]
    words += [*_engine_words(engine), "--nproc", str(world)]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise AnomalystError(f"{engine} with {world} processes: {done.stderr.strip()[-400:]}")
    wall = time.perf_counter() - begun
    sent = psutil.net_io_counters(pernic=True)["lo"].bytes_sent - before
    lines = read_log(out / "log.jsonl")
    losses = [line["loss"] for line in lines]
    share = [x["communication_share"] for x in lines if "communication_share" in x]
    bubbles = [x["bubble_share"] for x in lines[SKIPPED:] if "bubble_share" in x]
    return EngineRow(
        engine,
        world,
        max((abs(a - b) for a, b in zip(losses, base or losses, strict=True))),
        statistics.median(line["seconds_per_step"] for line in lines[SKIPPED:]),
        lines[-1]["memory_mb"],
        sent / 1000 / len(lines),
        100 * share[-1] if share else None,
        100 * statistics.mean(line["waiting_share"] for line in lines[SKIPPED:]),
        wall,
        lines[-1].get("held_mb"),
        100 * statistics.median(bubbles) if bubbles else None,
    )


def _engine_words(engine: str) -> list[str]:
    """Of `pipeline` or `pipeline:gpipe`, as `key=value`."""
    name, _, order = engine.partition(":")
    return [f"engine.name={name}", *([f"engine.order={order}"] if order else [])]


def _bare_seconds(recipe: Recipe, out: Path) -> float:
    """A loop as one writes it first."""
    torch.manual_seed(recipe.seed)
    task = task_of(recipe, out)
    model, device = task.module, torch.device("cpu")
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(recipe, [{"params": trained}])
    stream: Any = task.batches(0, Share())
    seconds = []
    for step in range(recipe.steps):
        batch = next(stream)
        begun = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(recipe, step)
        loss, _ = task.loss(batch, device)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - begun)
    return statistics.mean(seconds[recipe.steps // 2 :])


def _losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out / "log.jsonl")]


def _line(row: EngineRow) -> str:
    return (
        f"{row.engine} x {row.processes}: {1000 * row.seconds_per_step:.0f} ms a step, loss apart "
        f"{row.apart:.1e}, {row.sent_kb_per_step:.0f} KB sent a step"
    )
