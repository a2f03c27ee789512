"""A language model larger than its memory writes a few tokens: what each way takes."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.reports.tables import markdown_table
from anomalyst.hardware.limits import MIB, Limits, run_limited
from anomalyst.hardware.processor import checked_choice
from anomalyst.io.files import folder_written_whole
from anomalyst.vlm import larger_than_memory as serving

WIDTH, HIDDEN, VOCABULARY = 1024, 2816, 512
WAYS = ("memory", "mapped", "layers", "accelerate")
PROMPT = tuple(range(1, 9))
CHILD = "import sys; from anomalyst.evaluation.benchmarks.offload import child; child(sys.argv[1:])"


@dataclass(frozen=True, slots=True, kw_only=True)
class OffloadRow:
    """What a way took within the limits; figures are None where it did not fit.

    `peak_mb`: of the control group, MiB, file pages counted. `seconds`: a token. `tokens`: what it
    wrote.
    """

    way: str
    model_mb: float
    memory_mb: int | None
    peak_mb: float | None
    resident_mb: float | None
    seconds: float | None
    tokens: tuple[int, ...] | None
    said: str


def bench_offload(
    out: Path,
    *,
    megabytes: int,
    limits: Limits,
    tokens: int,
    ways: Sequence[str] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> list[OffloadRow]:
    """A row a way, in processes of their own. The model is kept in `out` for the next time.

    Raises AnomalystError for an unknown way, one that fails for another reason than memory, and
    one that writes other tokens than the others.
    """
    for way in ways or ():
        checked_choice("--way", way, WAYS)
    folder = make_model(out / f"model-{megabytes}", megabytes)
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / MIB
    rows = []
    for way in ways or WAYS:
        command = [sys.executable, "-c", CHILD, str(folder), way, str(tokens), str(out / "scratch")]
        found = run_limited(command, limits, environment={"OMP_NUM_THREADS": "1"})
        if found.out_of_memory:
            rows.append(OffloadRow(way=way, model_mb=size, memory_mb=limits.memory_mb,
                                   peak_mb=None, resident_mb=None, seconds=None, tokens=None,
                                   said="ended for want of memory"))  # fmt: skip
        elif found.code != 0:
            last = (found.error.strip().splitlines() or ["nothing"])[-1]
            raise AnomalystError(f"--way {way}: ended with {found.code}: {last}")
        else:
            told = json.loads(found.out.strip().splitlines()[-1])
            rows.append(OffloadRow(way=way, model_mb=size, memory_mb=limits.memory_mb,
                                   peak_mb=found.peak_mb, resident_mb=found.resident_mb,
                                   seconds=told["seconds"], tokens=tuple(told["tokens"]),
                                   said=f"held by {found.held_by}"))  # fmt: skip
        say(f"{way}: {rows[-1].said}")
    written = {row.tokens for row in rows if row.tokens is not None}
    if len(written) > 1:
        raise AnomalystError(f"the ways wrote different tokens: {sorted(written)}.")
    return rows


def make_model(folder: Path, megabytes: int) -> Path:
    """A new LLaMA of about so many MiB in float32, in one safetensors file, unless it is there."""
    from transformers import LlamaConfig, LlamaForCausalLM

    if folder.is_dir():
        return folder
    layer = (2 * WIDTH * WIDTH + 2 * WIDTH * WIDTH // 2 + 3 * WIDTH * HIDDEN) * 4 / MIB
    config = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=HIDDEN, vocab_size=VOCABULARY, num_attention_heads=16,
        num_key_value_heads=8, num_hidden_layers=max(1, round(megabytes / layer)),
        max_position_embeddings=256, tie_word_embeddings=True, initializer_range=0.05,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    with folder_written_whole(folder) as part:
        model.save_pretrained(part, max_shard_size="100GB")
    return folder


def child(arguments: Sequence[str]) -> None:
    """FOLDER WAY TOKENS SCRATCH: write tokens greedily, and print them and the seconds of each."""
    folder, way, tokens, scratch = Path(arguments[0]), arguments[1], int(arguments[2]), arguments[3]
    opened = {
        "memory": serving.in_memory,
        "mapped": serving.mapped,
        "layers": serving.by_layers,
        "accelerate": lambda f: serving.by_accelerate(f, Path(scratch)),
    }[way](folder)
    ids = torch.tensor([PROMPT])
    started = time.perf_counter()
    with torch.no_grad():
        said = opened.generate(  # type: ignore[operator]
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens,
            min_new_tokens=tokens, do_sample=False, pad_token_id=0,
        )  # fmt: skip
    seconds = (time.perf_counter() - started) / tokens
    print(json.dumps({"tokens": said[0, len(PROMPT) :].tolist(), "seconds": seconds}))


def offload_table(rows: Sequence[OffloadRow]) -> str:
    """Markdown: a row a way."""
    heads = [
        "way", "model, MiB", "memory given, MiB", "peak, MiB", "resident, MiB", "s a token", "",
    ]  # fmt: skip
    cells = [
        [row.way, f"{row.model_mb:.0f}", row.memory_mb,
         *("-" if v is None else f"{v:.0f}" for v in (row.peak_mb, row.resident_mb)),
         "-" if row.seconds is None else f"{row.seconds:.2f}", row.said]
        for row in rows
    ]  # fmt: skip
    return markdown_table(heads, cells, words=1) + "\n"
