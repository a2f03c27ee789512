"""Stops a run that cannot come to anything, and names the layer.

The predecessor's first run died of its gradients, its third learnt fluent sentences and answered no
question (docs/architecture.md, "Training"); both went on to the end.
"""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.training.engines import Engine, StepResult
from anomalyst.training.monitor.config_checks import is_norm, kind_of, trains
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import ProbeAnswer, Task

Rerun = Callable[[], object]  # the step's forward and backward passes once more


class TrainingStopped(AnomalystError):
    """The training monitor's sentence."""


@dataclass(slots=True)
class BlockStatistics:
    """What the blocks did in one watched step, in the order they are called."""

    step: int
    activations: dict[str, float]  # root mean square of a block's output
    zeros: dict[str, float]  # share of it that is zero
    flowing: dict[str, float]  # norm of the gradient that reaches a block's output
    gradients: dict[str, float]  # norm of the gradient of what is trained, by block


class TrainingMonitor:
    """Looks at a run through hooks on its blocks, active in watched steps only."""

    def __init__(self, recipe: Recipe, task: Task, engine: Engine, out: Path):
        self.recipe, self.config = recipe, recipe.watch
        self.task, self.engine, self.path = task, engine, out / "watch.jsonl"
        self.blocks = task.blocks() or _children(task.module)
        self.groups = _groups(engine.task, [f"module.{name}" for name in self.blocks])
        self.history: list[BlockStatistics] = []
        self.rounds: list[list[ProbeAnswer]] = []
        self.first_loss = math.nan
        self.active = False
        self._outputs: dict[str, list[Tensor]] = {}
        self._output_gradients: dict[str, Tensor] = {}
        for name, block in self.blocks.items():
            block.register_forward_hook(self._hook(name))

    def due(self, step: int) -> bool:
        """Whether a step is looked at."""
        return bool(self.config.every) and (step + 1) % self.config.every == 0

    @contextmanager
    def recording(self, wanted: bool) -> Iterator[None]:
        """The hooks are active inside, if `wanted`."""
        self.active = wanted
        if wanted:
            self._outputs, self._output_gradients = {}, {}
        try:
            yield
        finally:
            self.active = False

    def before_step(self, step: int) -> None:
        """Note what a watched step did, before its gradients are gone."""
        gradients = {n: math.sqrt(v) for n, v in self.engine.squared_norms(self.groups).items()}
        look = BlockStatistics(step + 1, *self._gathered(), gradients)
        self.history.append(look)
        self._note(asdict(look))

    def after_step(self, step: int, loss: float, stepped: StepResult, rerun: Rerun) -> None:
        """Raises TrainingStopped when the run cannot go on."""
        if math.isnan(self.first_loss):
            self.first_loss = loss
        at = f"Step {step + 1}: "
        floor = stepped.loss_scale <= 1.0
        if not math.isfinite(loss):
            self._stop(f"{at}the loss is {loss}; {self._broken(rerun)}.")
        if stepped.skipped and self.recipe.precision != "float16":
            self._stop(f"{at}the gradient is not finite; {self._broken(rerun)}.")
        if stepped.skipped and floor:
            self._stop(
                f"{at}the loss scale has fallen to its floor of 1 and the gradient still "
                f"overflows; {self._broken(rerun)}. bfloat16 has a wider range."
            )
        recent = self.history[-self.config.patience :]
        watched = bool(recent) and recent[-1].step == step + 1
        if watched and len(recent) == self.config.patience and (trouble := self._trouble(recent)):
            self._stop(f"{at}{trouble}")

    def listen(self, step: int) -> None:
        """Raises TrainingStopped where the task itself says that it should not go on."""
        if trouble := self.task.trouble():
            self._stop(f"Step {step + 1}: {trouble}")

    def probe(self, step: int, loss: float, asked: list[ProbeAnswer]) -> dict[str, float]:
        """Take the answers of a round; figures of it. Raises TrainingStopped for empty words."""
        self.rounds.append(asked)
        answered = sum(a.right is not None for a in asked) / len(asked)
        right = sum(a.right is True for a in asked) / len(asked)
        self._note({"step": step, "probe": [asdict(a) for a in asked]})
        recent = self.rounds[-2:]
        silent = all(a.right is None for one in recent for a in one)
        if len(self.rounds) > 2 and silent and loss < self.first_loss / 2:
            self._stop(
                f"Step {step}: the loss fell from {self.first_loss:.2f} to {loss:.2f}, but of "
                f"{len(asked)} questions none is answered with yes or no (as in "
                f"{asked[0].answer[:60]!r}); {self._answers_differently()}."
            )
        return {"answered": answered, "answers_right": right}

    def _trouble(self, recent: list[BlockStatistics]) -> str:
        first = self.history[0]
        for name in recent[-1].zeros:
            if any(name not in look.zeros for look in (first, *recent)):
                continue  # not every step calls it
            if all(look.zeros[name] > self.config.dead for look in recent):
                return (
                    f"{name} is dead: {100 * recent[-1].zeros[name]:.0f} % of its output is zero; "
                    f"{self._cause(name, 'a learning rate that is too high')}."
                )
            grown = [x.activations[name] / max(first.activations[name], 1e-12) for x in recent]
            if min(grown) > self.config.exploding:
                return (
                    f"the output of {name} is {grown[-1]:.0f} times as large as at first; "
                    f"{self._cause(name, 'a learning rate that is too high')}."
                )
        return self._vanished("gradients", recent) or self._vanished("flowing", recent)

    def _vanished(
        self, kind: Literal["gradients", "flowing"], recent: list[BlockStatistics]
    ) -> str:
        """A block whose gradient is nothing beside another's, in every recent look."""
        rows = [{n: v for n, v in getattr(x, kind).items() if n in self.blocks} for x in recent]
        if any(len(row) < 2 or not max(row.values()) for row in rows):
            return ""
        shares = [{n: v / max(row.values()) for n, v in row.items()} for row in rows]
        for name in rows[-1]:
            if all(share.get(name, 1.0) < self.config.vanishing for share in shares):
                largest = max(rows[-1], key=lambda n: rows[-1][n])
                of = "" if kind == "gradients" else " that reaches its output"
                return (
                    f"the gradient of {name}{of} has vanished: it is {shares[-1][name]:.1e} of "
                    f"that of {largest}; {self._cause(name, 'layers without a path around them')}."
                )
        return ""

    def _broken(self, rerun: Rerun) -> str:
        """The step once more with the hooks active: which block breaks first, and on what."""
        with self.recording(True):
            rerun()
        seen, _, flowing = self._gathered()
        for name, value in seen.items():
            if not math.isfinite(value):
                return f"the output of {name} is the first that breaks; {self._cause(name)}"
        names = list(flowing)
        broken = [place for place, name in enumerate(names) if not math.isfinite(flowing[name])]
        if broken and broken[-1] + 1 < len(names):
            name = names[broken[-1] + 1]
            return f"on its way back the gradient breaks in {name}; {self._cause(name)}"
        if broken:
            return "the gradient is broken before it reaches the last block: look at the loss"
        worst = max(flowing, key=lambda n: flowing[n]) if flowing else ""
        if worst:
            return (
                f"every block is finite by itself, the largest gradient is {flowing[worst]:.1e} "
                f"at {worst}; {self._cause(worst)}"
            )
        return "the loss itself breaks: look at the batch and at learning_rate"

    def _cause(self, name: str, otherwise: str = "learning_rate or the data") -> str:
        """A layer in a block that should not be there, else the most common cause."""
        for inner, module in self.blocks[name].named_modules():
            if "patched_" in inner and is_norm(module):
                state = "" if trains(module) else "frozen "
                return (
                    f"the likely cause is the {kind_of(module)} put into its {state}"
                    f"{inner.split('.')[0]}, which gives it other values than its weights were "
                    "trained with; take it out of `patches`"
                )
        return f"the likely cause is {otherwise}"

    def _answers_differently(self) -> str:
        """A layer that behaves differently in evaluation than in training."""
        for name, module in self.task.module.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                return (
                    f"the likely cause is {name}, a BatchNorm: while it learns it norms by the "
                    "tokens of the whole batch, those to come included; while it answers, by "
                    "running statistics. Take it out of `patches`"
                )
        return "the words are learnt without the question: look at the dialogues and at the prompt"

    def _gathered(self) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """Root mean squares, zeros and gradients of the blocks that were called, over all."""
        own = {
            name: (*map(float, outputs), _number(self._output_gradients.get(name)))
            for name, outputs in self._outputs.items()
        }
        each = self.engine.gather(own)  # of a pipeline every process has blocks of its own
        names = [name for name in self.blocks if any(name in one for one in each)]
        if not names:
            return {}, {}, {}
        held = [[one[name] for one in each if name in one] for name in names]
        means = [np.mean([[a, b, float(c or 0)] for a, b, c in values], 0) for values in held]
        squares, zeros, flowing = torch.tensor(np.stack(means)).T  # (blocks,) each
        seen, dead, arrived = (
            dict(zip(names, row.tolist(), strict=True))
            for row in (squares.sqrt(), zeros, flowing.sqrt())
        )
        reached = {
            n
            for n, values in zip(names, held, strict=True)
            if any(c is not None for *_, c in values)
        }
        return seen, dead, {n: v for n, v in arrived.items() if n in reached}

    def _hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def see(module: nn.Module, args: Any, output: Any) -> None:
            del module, args
            if not self.active:
                return
            value = _first_tensor(output)
            if value is None:
                return
            held = value.detach().double()
            self._outputs[name] = [held.pow(2).mean(), (held == 0).double().mean()]
            if value.requires_grad:
                value.register_hook(lambda g: self._arrived(name, g))

        return see

    def _arrived(self, name: str, gradient: Tensor) -> None:
        add = gradient.detach().double().pow(2).sum()
        self._output_gradients[name] = self._output_gradients.get(name, torch.zeros_like(add)) + add

    def _stop(self, sentence: str) -> None:
        self._note({"stopped": sentence})
        raise TrainingStopped(sentence)

    def _note(self, line: dict[str, Any]) -> None:
        if self.engine.rank == 0:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")


def _children(module: nn.Module) -> dict[str, nn.Module]:
    """The parts of the parts of a module."""
    return {
        f"{outer}.{inner}": part
        for outer, whole in module.named_children()
        for inner, part in whole.named_children()
        if any(True for _ in part.parameters())
    }


def _groups(task: nn.Module, blocks: list[str]) -> dict[str, list[str]]:
    """Trained parameters by the block they are in, else by the part of the model."""
    groups: dict[str, list[str]] = {}
    for name, parameter in task.named_parameters():
        if parameter.requires_grad:
            inside = [b for b in blocks if name.startswith(f"{b}.")]
            group = inside[0] if inside else ".".join(name.split(".")[:2])
            groups.setdefault(group.removeprefix("module."), []).append(name)
    return groups


def _number(value: Tensor | None) -> float | None:
    return None if value is None else float(value)


def _first_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        return output[0]
    return None
