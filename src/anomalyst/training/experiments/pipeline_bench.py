"""How much of a pipeline's time is bubble, beside (p - 1) / (v m + p - 1).

Blocks that take a fixed time and compute nothing (they sleep: forward once, backward twice as
long) go through the pipeline engine itself, in processes of their own. So what is measured is the
order of the passes and what sending costs, whatever cores there are for the processes.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.io.files import write_bytes, write_text
from anomalyst.training.chain import Chain
from anomalyst.training.distributed.ranks import RankContext, read_context
from anomalyst.training.engines.base import EngineSetup
from anomalyst.training.engines.pipeline import PipelineEngine
from anomalyst.training.experiments.plots import as_png
from anomalyst.training.experiments.spread_rows import leave_rows, measured_rows, write_rows
from anomalyst.training.recipe import EngineConfig, PipelineOrder, Recipe
from anomalyst.training.task import Share

CHUNKS = 2  # parts of the layers in a process, interleaved
COUNTS = (2, 4, 8, 16)  # micro-batches
ORDERS: tuple[PipelineOrder, ...] = ("gpipe", "1f1b", "interleaved")
OURS = "anomalyst.training.experiments.pipeline_bench"
THEIRS = "anomalyst.training.experiments.deepspeed_bubble"
DEEPSPEED: Final = "deepspeed"  # its own pipeline, 1F1B, beside ours where it is installed
STEPS = 3  # after one that warms up; their median counts


@dataclass(frozen=True, slots=True)
class BubbleRow:
    """One order at one number of stages and micro-batches."""

    order: PipelineOrder | Literal["deepspeed"]
    stages: int
    micro_batches: int
    measured: float  # share of a step's passes in which a stage computes nothing
    formula: float


def bubble(stages: int, micro_batches: int, chunks: int = 1) -> float:
    """(p - 1) / (v m + p - 1): Narayanan et al. 2021, section 2.2, as a share of the whole."""
    return (stages - 1) / (chunks * micro_batches + stages - 1)


def bench_pipeline(
    folder: Path,
    worlds: Sequence[int],
    seconds: float,
    say: Callable[[str], None] = lambda _: None,
) -> list[BubbleRow]:
    """Measure every order; writes pipeline.json, .md and .png into `folder`.

    `seconds`: what all of a process's blocks take forward; backward takes twice as long.
    """
    found: list[BubbleRow] = []
    for world in worlds:
        for module in (OURS, *([THEIRS] if find_spec(DEEPSPEED) else ())):
            out = folder / f"{module.rpartition('.')[2]}-{world}.json"
            found += measured_rows(BubbleRow, module, world, out, str(seconds))
        say(f"{world} stages are done.")
    write_rows(folder / "pipeline.json", found)
    write_text(folder / "pipeline.md", bubble_table(found))
    write_bytes(folder / "pipeline.png", draw_bubbles(found))
    return found


def bubble_table(rows: Sequence[BubbleRow]) -> str:
    """Stages and micro-batches down; each order measured and by the formula, percent."""
    heads = ["stages", "micro-batches"]
    orders = [*ORDERS, *([DEEPSPEED] if any(r.order == DEEPSPEED for r in rows) else [])]
    for order in orders:
        heads += [order, "formula"]
    cells = []
    for stages, count in dict.fromkeys((r.stages, r.micro_batches) for r in rows):
        line = [str(stages), str(count)]
        for order in orders:
            one = [r for r in rows
                   if (r.stages, r.micro_batches, r.order) == (stages, count, order)]  # fmt: skip
            line += [f"{100 * r.measured:.1f}" for r in one] or ["-"]
            line += [f"{100 * r.formula:.1f}" for r in one] or ["-"]
        cells.append(line)
    return markdown_table(heads, cells) + "\n"


def draw_bubbles(rows: Sequence[BubbleRow]) -> bytes:
    """A panel for each number of stages: formula as lines, measured as points."""
    worlds = sorted({row.stages for row in rows})
    figure = Figure(figsize=(5 * len(worlds), 4), layout="constrained")
    for axes, stages in zip(figure.subplots(1, len(worlds), squeeze=False)[0], worlds, strict=True):
        drawn = dict.fromkeys(r.order for r in rows if r.stages == stages)
        for index, order in enumerate(drawn):
            some = [r for r in rows if r.stages == stages and r.order == order]
            counts = [r.micro_batches for r in some]
            style = "-" if order in ("gpipe", "interleaved") else ":"  # of the others one formula
            axes.plot(counts, [100 * r.formula for r in some], style, color=f"C{index}",
                      label=f"{order}, formula")  # fmt: skip
            axes.plot(counts, [100 * r.measured for r in some], "ox^s"[index], color=f"C{index}",
                      label=f"{order}, measured")  # fmt: skip
        axes.set(xlabel="micro-batches of a step", ylabel="bubble, % of the time", ylim=(0, None))
        axes.set_xscale("log", base=2)
        axes.set_xticks(COUNTS, [str(n) for n in COUNTS])
        axes.set_title(f"{stages} stages")
        axes.legend(fontsize="small")
    return as_png(figure)


class _Waits(torch.autograd.Function):
    """The same numbers, later."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, seconds: float) -> Tensor:
        ctx.seconds = seconds
        time.sleep(seconds)
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        time.sleep(2 * ctx.seconds)
        return gradients[0], None


class Block(nn.Module):
    """A layer that takes a fixed time and multiplies by one number."""

    def __init__(self, seconds: float):
        super().__init__()
        self.seconds, self.scale = seconds, nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """(any) -> the same, later."""
        waited: Tensor = _Waits.apply(x * self.scale, self.seconds)
        return waited


def _chain(blocks: int, seconds: float) -> tuple[nn.Module, Chain]:
    def begin(batch: dict[str, Tensor]) -> Tensor:
        return batch["x"]

    def finish(x: Tensor, batch: dict[str, Tensor]) -> Tensor:
        del batch
        return x.mean()

    task = nn.Module()
    task.module = nn.ModuleDict({f"block{i}": Block(seconds) for i in range(blocks)})
    held: Any = task.module
    chain = Chain(
        blocks=dict(held.items()), width=8, after=(), linear={}, aligned=list,
        places=lambda batch: (batch["x"].shape[0], batch["x"].shape[1]),
        begin=begin, run=lambda block, x: block(x), finish=finish,
        finish_part=lambda *_: torch.zeros(()), share_tokens=lambda *_: None,
    )  # fmt: skip
    return task, chain


def _measure(context: RankContext, order: PipelineOrder, count: int, seconds: float) -> BubbleRow:
    config = EngineConfig(name="pipeline", order=order, chunks=CHUNKS)
    chunks = CHUNKS if order == "interleaved" else 1
    world = context.world
    engine = PipelineEngine(context, config)
    task, chain = _chain(world * chunks, seconds / chunks)
    setup = EngineSetup(
        recipe=Recipe(engine=config), share=Share(0, count, count), precision="float32",
        blocks={}, leaves_out=False, chain=chain,
    )  # fmt: skip
    engine.prepare(task, setup)
    batches = [{"x": torch.ones(1, 4, 8)} for _ in range(count)]
    shares = []
    for _ in range(STEPS + 1):
        engine.all_passes(batches)
        shares.append(engine.figures()["bubble_share"])
    measured = statistics.median(shares[1:])
    return BubbleRow(order, world, count, measured, bubble(world, count, chunks))


def _work(out: Path, seconds: float) -> None:
    """One of the processes that torchrun started."""
    # On processors only: the blocks take their time asleep, and of a GPU no idle share is known.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    context = read_context(os.environ)
    assert context is not None
    rows = [
        _measure(context, order, count, seconds)
        for count in COUNTS
        for order in ORDERS
        if count >= context.world or order == "gpipe"
    ]
    leave_rows(out, rows)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), float(sys.argv[2]))
