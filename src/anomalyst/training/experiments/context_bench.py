"""Long texts: what a window saves in time, and what sharing the tokens saves in memory.

Processor time of a block of the language model, forward and backward; and the bytes that autograd
keeps of it in each process when several share the tokens. Weights and tokens are random.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import LlamaConfig, LlamaModel

from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.io.files import write_text
from anomalyst.training.distributed.ranks import read_context
from anomalyst.training.experiments.spread_rows import leave_rows, measured_rows, write_rows
from anomalyst.vlm.huggingface.windowed_attention import with_window

WIDTH, HEADS, HIDDEN = 64, 4, 192  # of recipes/parallel/long.yaml
REPEATS = 3
MODULE = "anomalyst.training.experiments.context_bench"


@dataclass(frozen=True, slots=True)
class ContextRow:
    """One block on so many tokens, shared by so many processes."""

    tokens: int
    window: int  # 0: all
    processes: int
    processor_ms: float  # median of forward and backward, in the first process
    kept_mb: float  # what autograd keeps, in the process that keeps most


def bench_context(
    folder: Path,
    tokens: Sequence[int],
    window: int,
    worlds: Sequence[int],
    say: Callable[[str], None] = lambda _: None,
) -> list[ContextRow]:
    """Every length with and without the window, by every number of processes.

    Writes context.json and context.md into `folder`.
    """
    found: list[ContextRow] = []
    for world in worlds:
        out, words = folder / f"context-{world}.json", [str(window), *map(str, tokens)]
        found += measured_rows(ContextRow, MODULE, world, out, *words)
        say(f"{world} process{'es' * (world > 1)}: done.")
    write_rows(folder / "context.json", found)
    write_text(folder / "context.md", context_table(found))
    return found


def context_table(rows: Sequence[ContextRow]) -> str:
    """Lengths and processes down, what they cost across."""
    heads = ("tokens", "processes", "window", "processor ms", "kept for backward, MB")
    cells = [(r.tokens, r.processes, r.window or "all", f"{r.processor_ms:.1f}",
              f"{r.kept_mb:.2f}") for r in rows]  # fmt: skip
    return markdown_table(heads, cells) + "\n"


def measure(tokens: int, window: int, world: int) -> ContextRow:
    """In one of `world` processes, each with its share of the tokens; all of them call."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8, hidden_size=WIDTH, intermediate_size=HIDDEN, num_hidden_layers=1,
        num_attention_heads=HEADS, num_key_value_heads=HEADS, max_position_embeddings=tokens,
    )  # fmt: skip
    model: Any = LlamaModel(config)
    block, each = model.layers[0], tokens // world
    with_window(block.self_attn, window)
    first = 0
    if world > 1:
        block.self_attn.group, first = dist.group.WORLD, dist.get_rank() * each
    x = torch.randn(1, each, WIDTH, requires_grad=True)
    places = torch.arange(first, first + each)[None]
    turned = model.rotary_emb(x, position_ids=places)
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    seconds = []
    for _ in range(REPEATS + 1):
        kept.clear()
        begun = time.process_time()
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            out = block(x, attention_mask=None, position_ids=places, position_embeddings=turned)
            out.sum().backward()
        seconds.append(time.process_time() - begun)
    weights = {p.untyped_storage().data_ptr() for p in block.parameters()}
    own = torch.tensor(sum(size for place, size in kept.items() if place not in weights) / 1e6)
    if world > 1:
        dist.all_reduce(own, dist.ReduceOp.MAX)
    median = 1000 * statistics.median(seconds[1:])
    return ContextRow(tokens, window, world, round(median, 2), round(float(own), 3))


def _work(out: Path, window: int, tokens: Sequence[int]) -> None:
    """One of the processes that torchrun started."""
    context = read_context(os.environ)
    assert context is not None
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rows = [measure(count, seen, context.world) for count in tokens for seen in (0, window)]
    leave_rows(out, rows)


if __name__ == "__main__":
    _work(Path(sys.argv[1]), int(sys.argv[2]), [int(count) for count in sys.argv[3:]])
