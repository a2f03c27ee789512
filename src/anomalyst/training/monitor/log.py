"""Figures every so many steps: to a callback, to log.jsonl and to the trackers."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from anomalyst.io.files import write_text
from anomalyst.training.engines import Engine, StepResult
from anomalyst.training.monitor.resources import Resources, Stopwatch
from anomalyst.training.monitor.trackers import open_trackers
from anomalyst.training.recipe import Recipe

LogCallback = Callable[[dict[str, Any]], None]


class Log:
    """Means since the last line, over all processes; the first of them writes."""

    def __init__(self, out: Path, first: int, recipe: Recipe, engine: Engine, on_log: LogCallback):
        self.path, self.recipe, self.engine, self.on_log = out / "log.jsonl", recipe, engine, on_log
        self.stopwatch = Stopwatch()
        self.resources = Resources(engine.device)
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}  # not every step has every part
        self.extra: dict[str, float] = {}
        self.trackers = open_trackers(recipe, out) if engine.rank == 0 else []
        if engine.rank == 0:
            _forget_after(self.path, first)

    def add(self, figures: Mapping[str, Tensor]) -> None:
        """Count the loss and its parts of one micro-batch."""
        for name, value in figures.items():
            held = value.detach().float()
            self.sums[name] = self.sums[name] + held if name in self.sums else held
            self.counts[name] = self.counts.get(name, 0) + 1

    def note(self, figures: Mapping[str, float]) -> None:
        """Add these to the next line, as they are."""
        self.extra |= figures

    def step(self, step: int, stepped: StepResult) -> None:
        """Count one step; speak when it is time."""
        self.stopwatch.steps += 1
        self.add({"gradient_norm": torch.tensor(stepped.gradient_norm)})
        if stepped.skipped:
            self.add({"skipped": torch.tensor(1.0)})
        if (step + 1) % self.recipe.log_every and step + 1 != self.recipe.steps:
            return
        line: dict[str, float] = {"step": step + 1, "steps": self.recipe.steps}
        line |= self._means()
        line["learning_rate"] = stepped.learning_rate
        if self.recipe.precision == "float16":
            line["loss_scale"] = stepped.loss_scale
        copies = self.recipe.engine.copies(self.engine.world)
        line |= self.stopwatch.read(copies) | self.resources.figures() | self.extra
        line |= self.engine.figures()
        self.sums, self.counts, self.extra = {}, {}, {}
        if self.engine.rank == 0:
            self._write(line)

    def _means(self) -> dict[str, float]:
        """Over all processes, of which not all have every part."""
        own = {name: (float(value), self.counts[name]) for name, value in self.sums.items()}
        each = self.engine.gather(own)
        names = sorted({name for one in each for name in one})
        totals = {n: [sum(v) for v in zip(*(x[n] for x in each if n in x), strict=True)]
                  for n in names}  # fmt: skip
        return {name: round(total / count, 6) for name, (total, count) in totals.items()}

    def _write(self, line: dict[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        shown = {k: v for k, v in line.items() if k not in ("step", "steps")}
        for track in self.trackers:
            track(int(line["step"]), shown)
        self.on_log(line)


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a log; a half-written last one is left out."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _forget_after(path: Path, first: int) -> None:
    """A run that goes on from a checkpoint writes the lines after it once more."""
    kept = [line for line in read_log(path) if line["step"] <= first]
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
