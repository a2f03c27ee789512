"""The ways to make the language model smaller, by name, and how it then reads dialogues.

They are written about looks at drawn parts that no model was trained on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.classifiers import quantised
from anomalyst.evaluation.classifiers.costs import saved_bytes
from anomalyst.inspection.config import EMBEDDED_LANGUAGE
from anomalyst.layers.packed import Format, kept_bytes, pack_weights
from anomalyst.training.data.feature_cache import fill_cache
from anomalyst.training.studies.compression.detector_ways import Made
from anomalyst.training.studies.compression.pruning import (
    drop_hidden,
    make_permanent,
    mask_smallest,
    sparse_bytes,
)
from anomalyst.training.task import Share
from anomalyst.training.tasks.language import LanguageRecipe, LanguageTask
from anomalyst.vlm.huggingface import AnomalystModel

LOOKS_SEED = 1 << 44  # parts that nothing was trained on
SPARSE, HIDDEN = 0.5, 0.3  # shares taken away by magnitude, and of the MLPs' width
RATE = 2e-4  # of Adam while fine-tuning
TOKENS = 16  # written when a pass is timed


@dataclass(frozen=True, slots=True)
class Dialogues:
    """Batches to fine-tune on and, of other dialogues, to judge by."""

    training: list[dict[str, Tensor]]
    held_out: list[dict[str, Tensor]]


def dialogues(folder: Path, *, steps: int, batch: int, held_out: int) -> Dialogues:
    """Dialogues about 48 drawn parts, whose looks are kept in `folder`."""
    recipe = LanguageRecipe(
        looks=str(folder), initial=str(EMBEDDED_LANGUAGE), steps=max(1, steps), batch=batch,
        workers=0, episodes=48, seed=11,
    )  # fmt: skip
    with torch.random.fork_rng():
        fill_cache(folder, recipe.world, recipe.episodes, seed=LOOKS_SEED)
    task = LanguageTask(recipe, folder)
    training = list(task.batches(0, Share())) if steps else []
    return Dialogues(training, list(task.held_out(Share(), held_out)))


Way = Callable[[AnomalystModel, Dialogues, Callable[[], None]], tuple[AnomalystModel, Made]]


def as_it_is(
    model: AnomalystModel, _: Dialogues, __: Callable[[], None]
) -> tuple[AnomalystModel, Made]:
    """float32, as questions are answered."""
    return model, Made(kept_bytes(model), "weights and sums float32; the shipped file is bfloat16")


def bfloat16(
    model: AnomalystModel, _: Dialogues, __: Callable[[], None]
) -> tuple[AnomalystModel, Made]:
    """Weights and sums in bfloat16."""
    made = model.to(torch.bfloat16)
    return made, Made(kept_bytes(made), "weights and sums bfloat16")


def int8_dynamic(
    model: AnomalystModel, _: Dialogues, __: Callable[[], None]
) -> tuple[AnomalystModel, Made]:
    """8-bit dense layers, activations rounded as they come."""
    made = quantised.dynamic(model.language_model)
    model.language_model = made.network
    return model, Made(saved_bytes(model), f"{made.said}; embeddings float32")


def int8_static(
    model: AnomalystModel, known: Dialogues, _: Callable[[], None]
) -> tuple[AnomalystModel, Made]:
    """8-bit dense layers with ranges fixed on dialogues."""
    made = quantised.static(Reading(model.language_model), _embedded(model, known.training[:2]))
    model.language_model = made.network.model
    return model, Made(saved_bytes(model), f"{made.said}; embeddings float32")


def int8_aware(
    model: AnomalystModel, known: Dialogues, on_step: Callable[[], None]
) -> tuple[AnomalystModel, Made]:
    """As static, fine-tuned on dialogues with the rounding in place first."""
    from torch import ao

    language = model.language_model
    with quantised.quiet():
        config = ao.quantization.get_default_qat_qconfig(torch.backends.quantized.engine)
        for name, layer in list(language.named_modules()):
            if type(layer) is nn.Linear:
                layer.weight = nn.Parameter(layer.weight.detach().clone())  # not the embedding's
                layer.qconfig = config
                between = ao.quantization.QuantWrapper(layer)
                between.weight = torch.empty(0)  # some layers ask which number format it has
                language.set_submodule(name, between)
        ao.quantization.prepare_qat(language.train(), inplace=True)
        fine_tune(model, known.training, on_step)
        ao.quantization.convert(language.eval(), inplace=True)
    steps = len(known.training)
    return model, Made(saved_bytes(model), f"dense layers 8 bit, after {steps} steps")


def packed(format_: Format) -> Way:
    """Weights packed in 6 or 4 bits, embeddings, too."""

    def way(
        model: AnomalystModel, _: Dialogues, __: Callable[[], None]
    ) -> tuple[AnomalystModel, Made]:
        share = pack_weights(model, format_)
        said = f"{share.weights / share.of_weights:.1%} of the weights packed"
        return model, Made(kept_bytes(model), f"{said}, unpacked at each use")

    return way


def torchao(name: str) -> Way:
    """torchao's own 8 bit for dense layers. Raises AnomalystError where it is not installed."""

    def way(
        model: AnomalystModel, _: Dialogues, __: Callable[[], None]
    ) -> tuple[AnomalystModel, Made]:
        if find_spec("torchao") is None:
            raise AnomalystError("torchao is not installed; `pip install torchao`.")
        with quantised.quiet():
            from torchao import quantization

            quantization.quantize_(model.language_model, getattr(quantization, name)())
        return model, Made(saved_bytes(model), f"torchao's {name}; embeddings float32")

    return way


def magnitude(
    model: AnomalystModel, known: Dialogues, on_step: Callable[[], None]
) -> tuple[AnomalystModel, Made]:
    """Half of the blocks' weights zero, fine-tuned."""
    blocks = model.language_model.get_decoder().layers
    mask_smallest([blocks], SPARSE)
    fine_tune(model, known.training, on_step)
    make_permanent(blocks)
    said = f"{SPARSE:.0%} of the blocks' weights zero, {len(known.training)} steps"
    return model, Made(sparse_bytes(model), f"{said}; size with a bit for each weight")


def structured(
    model: AnomalystModel, known: Dialogues, on_step: Callable[[], None]
) -> tuple[AnomalystModel, Made]:
    """Narrower MLPs, fine-tuned."""
    for layer in model.language_model.get_decoder().layers:
        drop_hidden(layer.mlp, HIDDEN)
    fine_tune(model, known.training, on_step)
    said = f"{HIDDEN:.0%} of each MLP's width gone, {len(known.training)} steps"
    return model, Made(kept_bytes(model), said)


WAYS: dict[str, Way] = {
    "float32": as_it_is,
    "bfloat16": bfloat16,
    "int8 dynamic": int8_dynamic,
    "int8 static": int8_static,
    "int8 quantisation-aware": int8_aware,
    "int8 weights (torchao)": torchao("Int8WeightOnlyConfig"),
    "6-bit float, weights": packed("fp6"),
    "4-bit, weights": packed("int4"),
    "pruned by magnitude": magnitude,
    "pruned by structure": structured,
}


class Reading(nn.Module):
    """Embeddings (B, T, E) -> logits: the form in which ranges are fixed."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, embedded: Tensor) -> Any:
        """What the language model says to embeddings."""
        return self.model(inputs_embeds=embedded).logits


def _shown(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in batch.items() if name != "labels"}


@torch.no_grad()
def _embedded(model: AnomalystModel, batches: list[dict[str, Tensor]]) -> Tensor:
    """Some dialogues as embeddings (B, T, E), cut to the shortest."""
    rows = [model.embedded(**_shown(batch)) for batch in batches]
    length = min(row.shape[1] for row in rows)
    return torch.cat([row[:, :length] for row in rows])


def fine_tune(
    model: AnomalystModel, batches: list[dict[str, Tensor]], on_step: Callable[[], None]
) -> None:
    """Train all of a model on dialogues, in place."""
    weights = [p for p in model.parameters() if p.is_floating_point()]
    for weight in weights:
        weight.requires_grad_(True)
    optimizer = torch.optim.Adam(weights, lr=RATE)
    for batch in batches:
        loss, _ = _said(model, batch)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        on_step()
    for weight in weights:
        weight.requires_grad_(False)
    model.eval()


def _said(model: AnomalystModel, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Cross-entropy of what the assistant says, and whether each of its tokens comes first."""
    labels = batch["labels"][:, 1:]
    logits = model.language_model(inputs_embeds=model.embedded(**_shown(batch))).logits[:, :-1]
    logits, labels = logits[labels >= 0].float(), labels[labels >= 0]
    return nn.functional.cross_entropy(logits, labels), logits.argmax(1) == labels


@torch.no_grad()
def judged(model: AnomalystModel, held_out: list[dict[str, Tensor]]) -> dict[str, float]:
    """Cross-entropy in nats a token, and share of tokens that come first, in [0, 1]."""
    loss, right, count = 0.0, 0, 0
    for batch in held_out:
        mean, first = _said(model, batch)
        loss += float(mean) * len(first)
        right += int(first.sum())
        count += len(first)
    return {"nats": loss / count, "right": right / count}


@torch.no_grad()
def seconds_to_write(model: AnomalystModel, batch: dict[str, Tensor]) -> float:
    """Seconds to read one dialogue and write `TOKENS` more tokens, greedily."""
    one = {name: value[:1] for name, value in _shown(batch).items()}
    embedded = model.embedded(**one)
    mask = torch.ones(embedded.shape[:2], dtype=torch.long)
    started = time.perf_counter()
    model.language_model.generate(
        inputs_embeds=embedded, attention_mask=mask, max_new_tokens=TOKENS,
        min_new_tokens=TOKENS, do_sample=False, pad_token_id=0,
    )  # fmt: skip
    return time.perf_counter() - started
