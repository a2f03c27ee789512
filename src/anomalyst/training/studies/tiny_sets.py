"""Drawn sets in place of MVTec-AD and AeBAD-S, and a language model of 0.2 M parameters."""

from collections.abc import Mapping
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from anomalyst.backbones.huggingface import quiet
from anomalyst.datasets.builders.augment import plan_augmentation
from anomalyst.datasets.builders.build_job import fill
from anomalyst.datasets.builders.source_set import read_originals
from anomalyst.io.files import folder_written_whole
from anomalyst.synthetic.augmentation import Operation, Plan, Plans
from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset
from anomalyst.training.experiments.tiny import SIDE_PX, write_tiny_llama

SCHOOLING = 400  # steps in which the language model learns to answer, before any picture
# Safe for every drawn product: a little turned, a little lighter or darker.
PLANS = Plans(
    default=Plan(
        operations=(
            Operation(do="rotate", low=-12.0, high=12.0),
            Operation(do="brightness", low=0.9, high=1.1),
        )
    )
)


def draw_set(
    folder: Path, categories: Mapping[str, tuple[str, int]], *, test: int, seed: int = 0
) -> Path:
    """Categories by name, of a family and so many good pictures to train; `test` good and bad."""
    for number, (name, (family, train)) in enumerate(categories.items()):
        if not (folder / name / "truth.json").exists():
            config = SetConfig(family=family, seed=100 * seed + number, size_px=SIDE_PX,
                               train=train, test_good=test, test_bad=test)  # fmt: skip
            with folder_written_whole(folder / name) as part:
                write_dataset(part, config)
    return folder


def augment_set(source: Path, out: Path, target: int) -> Path:
    """The set with `target` good training pictures in every category."""
    if not (out / "made.json").exists() or (out / ".rows.jsonl").exists():
        made = plan_augmentation(
            read_originals(source, out), PLANS, target=target, defects=None, seed=0
        )
        fill(out, made.jobs, made.settings, workers=1)
    return out


def write_language_model(folder: Path) -> Path:
    """A schooled LLaMA whose gated activations are as small as a large model's; the same function.

    In large models they are small beside what the next layer was trained on, which is why a norm
    put there breaks it (docs/architecture.md, "Training monitor").
    """
    if folder.exists():
        return folder
    with folder_written_whole(folder) as part:
        write_tiny_llama(part, SCHOOLING, 64)
        shrink_gates(part, 100.0)
    return folder


def shrink_gates(folder: Path, factor: float) -> None:
    """Divide the gated activations of a LLaMA on disk, and multiply what reads them."""
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for block in model.model.layers:
            block.mlp.up_proj.weight /= factor
            block.mlp.down_proj.weight *= factor
    with quiet():
        model.save_pretrained(folder)
