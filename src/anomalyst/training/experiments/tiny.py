"""A run small enough for a bench or a test: drawn pictures, a tiny LLaMA, AnomalyGPT's recipe."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from anomalyst.backbones.huggingface import quiet
from anomalyst.config import from_mapping
from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset
from anomalyst.training.data.dialogues.tokenizer import learn_tokenizer
from anomalyst.training.data.dialogues.writer import write_dialogue
from anomalyst.training.tasks.inspection_data import INTENTS, facts_about
from anomalyst.training.tasks.language import LanguageRecipe, LanguageTask, collated
from anomalyst.vlm.dialogue import IMAGE_TOKEN, messages_for
from anomalyst.vlm.huggingface import AnomalystProcessor

SIDE_PX = 96
LAYERS = 4


def make_tiny(folder: Path, *, schooling: int = 0, width: int = 64, **changes: Any) -> Path:
    """Draw a set, make a language model and write FOLDER/tiny.yaml over both; its path.

    `schooling`: steps in which the language model learns to answer, before anything is added to it;
    `width`: of its embeddings; `changes`: keys of the recipe. Nothing is made twice.
    """
    if not (folder / "pills").exists():
        config = SetConfig(family="pill", size_px=SIDE_PX, train=8, test_good=3, test_bad=3)
        write_dataset(folder / "pills", config)
    model = folder / f"llama-{width}-{schooling}"
    if not model.exists():
        write_tiny_llama(model, schooling, width)
    recipe = {
        "task": "anomalygpt",
        "data": [str(folder / "pills")],
        "language_model": str(model),
        "steps": 50,
        "batch": 4,
        "micro_batch": 2,
        "learning_rate": 0.002,
        "warmup_steps": 5,
        "precision": "float32",
        "lora_rank": 4,
        "workers": 0,
        "side_px": SIDE_PX,
        "log_every": 1,
        "checkpoint_every": 1000,
        "accuracy": False,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe | changes), encoding="utf-8")
    return path


def make_tiny_language(folder: Path, **changes: Any) -> Path:
    """Write FOLDER/language.yaml: a language model of 0.3 M parameters that processes can share.

    Its first weights and tokenizer are in the folder, so that no process makes them anew. Batches
    of 8 in micro-batches of 2; `changes`: keys of the recipe. Nothing is made twice.
    """
    model = {"width": 64, "layers": 4, "heads": 4, "kv_heads": 4, "hidden": 192, "vocabulary": 480}
    recipe = {
        "task": "language",
        "looks": str(folder / "looks"),
        "initial": "",
        "steps": 50,
        "batch": 8,
        "micro_batch": 2,
        "learning_rate": 0.002,
        "warmup_steps": 5,
        "precision": "float32",
        "episodes": 8,
        "turns": 1,
        "workers": 0,
        "log_every": 1,
        "checkpoint_every": 1000,
        "model": model,
        "watch": {"every": 25},
    }
    path = folder / "language.yaml"
    begun = folder / "made" / "model"
    folder.mkdir(parents=True, exist_ok=True)
    if not begun.exists():
        task = LanguageTask(from_mapping(LanguageRecipe, recipe), folder / "made")
        task.write_model(task.model)
    path.write_text(yaml.safe_dump(recipe | {"initial": str(begun)} | changes), encoding="utf-8")
    return path


def write_tiny_llama(folder: Path, schooling: int, width: int) -> None:
    """A LLaMA with its tokenizer, 0.2 M parameters at a width of 64, schooled on our dialogues."""
    rng = np.random.default_rng(0)
    dialogues = [_dialogue(rng) for _ in range(160)]
    tokenizer = learn_tokenizer([m["content"] for messages in dialogues for m in messages], 480)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    processor = AnomalystProcessor(tokenizer)
    pairs = [processor.training_ids(messages, "llama") for messages in dialogues]
    samples = [{"input_ids": ids, "labels": labels} for ids, labels in pairs]
    optimizer = torch.optim.AdamW(model.parameters(), 4e-3)
    for _ in range(schooling):
        batch = collated([samples[int(i)] for i in rng.integers(len(samples), size=16)])
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with quiet():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _dialogue(rng: np.random.Generator) -> list[dict[str, str]]:
    """A question that nothing but a picture could answer, and an answer."""
    mask = np.zeros((SIDE_PX, SIDE_PX), bool)
    if rng.random() < 0.5:
        x, y = rng.integers(4, SIDE_PX - 14, 2)
        mask[y : y + 10, x : x + 10] = True
    one = write_dialogue(facts_about(mask, "pills"), "", rng, turns=1, intents=INTENTS)[0]
    messages = messages_for("", (), one.question)
    messages[0]["content"] = messages[0]["content"].replace(IMAGE_TOKEN, "")
    return [*messages, {"role": "assistant", "content": one.answer}]
