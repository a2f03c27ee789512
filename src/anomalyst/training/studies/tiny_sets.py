"""Drawn sets in place of MVTec-AD and AeBAD-S, and a language model of 0.2 M parameters."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from anomalyst.datasets.builders.augment import plan_augmentation
from anomalyst.datasets.builders.build_job import fill
from anomalyst.datasets.builders.source_set import read_originals
from anomalyst.io.files import folder_written_whole
from anomalyst.synthetic.augmentation import Operation, Plan, Plans
from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset
from anomalyst.training.data.dialogues.writer import messages_of, write_dialogue
from anomalyst.training.experiments.tiny import SIDE_PX, write_tiny_llama
from anomalyst.training.tasks.anomalygpt import AnomalyGPTTask
from anomalyst.training.tasks.inspection_data import (
    INTENTS,
    AnomalyGPTRecipe,
    as_tokens,
    facts_about,
)
from anomalyst.training.tasks.language import collated
from anomalyst.types import Features
from anomalyst.vlm.huggingface import AnomalystModel

SCHOOLING = 400  # steps in which the language model learns to answer, before any picture
READING = 300  # steps in which it learns to read maps, where a study starts from there
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
    """A LLaMA schooled on answers alone."""
    if not folder.exists():
        with folder_written_whole(folder) as part:
            write_tiny_llama(part, SCHOOLING, 64)
    return folder


def write_reader(folder: Path, recipe: AnomalyGPTRecipe) -> Path:
    """A model of the recipe's parts that reads maps, in FOLDER/model; what its `initial` wants.

    It is schooled on maps that nothing was compared for: a few blobs on noise, or noise alone.
    AnomalyGPT starts from a language model that can read pictures, too (PandaGPT's). In the end its
    gated activations are made as small as a large model's: the same function, which a norm put
    there breaks.
    """
    if (folder / "model").exists():
        return folder / "model"
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    task = AnomalyGPTTask(recipe, folder)
    task.model.language_model.requires_grad_(True)
    features = task.inspections.encode(np.zeros((recipe.side_px,) * 2 + (3,), np.uint8))
    left_out = ("text_aligned", ".lora_")
    named = task.model.named_parameters()
    parameters = [p for n, p in named if not any(part in n for part in left_out)]
    optimizer = torch.optim.AdamW(parameters, 2e-3)
    for step in range(READING):
        batch = collated([_imagined(task, features, rng) for _ in range(16)])
        loss = task.model(**batch).loss
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, 2 * (1 - step / READING))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    reader = AnomalystModel(task.model.config)
    state = {n.replace(".base_layer.", "."): v for n, v in task.model.state_dict().items()}
    reader.load_state_dict({n: v for n, v in state.items() if ".lora_" not in n})
    shrink_gates(reader.language_model, 100.0)
    return task.write_model(reader)


def _imagined(task: AnomalyGPTTask, features: Features, rng: np.random.Generator) -> dict[str, Any]:
    """A map and a question about it with its true answer."""
    side = task.recipe.side_px
    mask = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 3)) if rng.random() < 0.5 else 0):
        size_xy = rng.integers(side // 16, side // 4, 2)
        x, y = (int(rng.integers(0, side - size)) for size in size_xy)
        mask[y : y + size_xy[1], x : x + size_xy[0]] = rng.uniform(0.3, 1.0)
    noise = rng.random((8, 8), dtype=np.float32) * np.float32(rng.uniform(0.02, 0.3))
    blurred = cv2.GaussianBlur(mask, (0, 0), side / 48) + cv2.resize(noise, (side, side))
    facts = facts_about(mask > 0, "part")
    one = write_dialogue(facts, "", rng, turns=1, intents=INTENTS)[0]
    messages = messages_of([(one.question, one.answer)])
    seen = task.inspections.visual_inputs(features, torch.from_numpy(blurred.clip(0, 1)), facts)
    return as_tokens({"messages": messages} | seen, task.processor, task.family, 1024)


@torch.no_grad()
def shrink_gates(language_model: Any, factor: float) -> None:
    """Divide the gated activations of a LLaMA, and multiply what reads them."""
    for block in language_model.model.layers:
        block.mlp.up_proj.weight /= factor
        block.mlp.down_proj.weight *= factor
