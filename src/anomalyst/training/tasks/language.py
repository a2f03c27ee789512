"""The language task: the embedded language model, from scratch, on dialogues about drawn parts.

Half of the dialogues are about what the detector truly saw, half about regions that never were, so
that no habit of the detector is learnt instead of reading.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlamaConfig

from anomalyst.backbones.huggingface import quiet
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.language import QUESTION, strictly_yes_or_no
from anomalyst.io.files import folder_written_whole
from anomalyst.layers.experts import Experts
from anomalyst.training.chain import Chain
from anomalyst.training.data.dialogues.scenes import Scene, draw_scene
from anomalyst.training.data.dialogues.tokenizer import learn_tokenizer
from anomalyst.training.data.dialogues.writer import INTENTS, messages_of, write_dialogue
from anomalyst.training.data.feature_cache import FeatureCacheRecipe, read_features
from anomalyst.training.data.procedural_calibration import HELD_OUT
from anomalyst.training.recipe import Divisible
from anomalyst.training.task import ProbeAnswer, Share, Task, prefetched
from anomalyst.training.tasks.language_chain import divisible_model, model_chain, said_loss
from anomalyst.vlm.dialogue import messages_for
from anomalyst.vlm.huggingface import AnomalystConfig, AnomalystModel, AnomalystProcessor
from anomalyst.vlm.huggingface.configuration import OWN_VISION
from anomalyst.vlm.huggingface.layer_patches import blocks_of
from anomalyst.vlm.huggingface.loading import load_model
from anomalyst.vlm.huggingface.varied_llama import BlockConfig

GROUP = 8  # steps whose dialogues are written together
LONGEST_ANSWER = 24  # tokens of an answer in training; only its yes or no is read
PROBED = 12  # scenes that the training monitor asks about


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelConfig(BlockConfig):
    """The embedded language model: LLaMA's architecture, small; its blocks may be varied."""

    width: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    hidden: int = 704
    vocabulary: int = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRecipe(FeatureCacheRecipe):
    """The embedded language model; `batch` counts dialogues."""

    task: Literal["language"] = "language"
    turns: int = 4  # of each dialogue
    compiled: bool = False  # torch.compile: 1.7 times as fast on a CPU with a C++ compiler
    balance_weight: float = (
        0.01  # of the loss that spreads tokens over experts, where there are any
    )
    imagined: float = 0.5  # share of dialogues about regions that never were
    model: LanguageModelConfig = field(default_factory=LanguageModelConfig)

    def divisible(self) -> Divisible | None:
        """What engines can deal out of the model."""
        return divisible_model(self)


class DialogueTask(Task):
    """A model that reads what it is shown of a picture and answers: what its tasks share."""

    out: Path
    model: AnomalystModel
    processor: AnomalystProcessor

    def amount(self, batch: dict[str, Any]) -> dict[str, int]:
        """Dialogues and tokens count."""
        return {"samples": len(batch["input_ids"]), "tokens": batch["input_ids"].numel()}

    @property
    def family(self) -> str:
        """Of the language model; it decides the template."""
        return str(self.model.config.text_config.model_type)

    def blocks(self) -> dict[str, nn.Module]:
        """The decoder layers of the language model."""
        return {f"language_model.{k}": v for k, v in blocks_of(self.model.language_model).items()}

    def write_model(self, model: AnomalystModel, vision: Any = None) -> Path:
        """A folder as `AnomalystModel.from_pretrained` reads it; `vision`: its own encoder."""
        folder = self.out / "model"
        with folder_written_whole(folder) as part, quiet():
            model.save_pretrained(part)
            self.processor.save_pretrained(part)
            if vision is not None:
                vision.save(part / OWN_VISION.removeprefix("hf:"))
        return folder


class LanguageTask(DialogueTask):
    """Dialogues written anew for every step."""

    def __init__(self, recipe: LanguageRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.looks = read_features(recipe.feature_folder(out))
        self._group: tuple[Any, list[dict[str, Any]], Any] = (None, [], None)  # the last written
        self.model, self.processor = self._start()
        self.module: nn.Module = self.model
        self.mixtures = [part for part in self.model.modules() if isinstance(part, Experts)]
        self.read = self.model.language_model.get_decoder().forward
        if recipe.compiled:
            self.read = torch.compile(self.read, dynamic=True)

    def _start(self) -> tuple[AnomalystModel, AnomalystProcessor]:
        """The model and tokenizer of `initial`, or new ones."""
        if self.recipe.initial:
            return self._checked(*load_initial(Path(self.recipe.initial)))
        texts = (text for step in range(400) for text in self._texts(step))
        tokenizer = learn_tokenizer(texts, self.recipe.model.vocabulary)
        config = model_config(self.recipe.model, tokenizer)
        return AnomalystModel(config), AnomalystProcessor(tokenizer, config.num_image_tokens)

    def _checked(
        self, model: AnomalystModel, processor: AnomalystProcessor
    ) -> tuple[AnomalystModel, AnomalystProcessor]:
        """Raises AnomalystError where the recipe asks for other blocks than `initial` has."""
        asked, held = self.recipe.model.blocks(), model.config.blocks
        for key, value in sorted(asked.items() - held.items()):
            raise AnomalystError(
                f"model.{key} is {value!r}, and initial {self.recipe.initial} was not trained "
                "so; leave the key away, or train from scratch."
            )
        return model, processor

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Tensor]]:
        """Dialogues of a step, written by the random numbers of its group of steps.

        The dialogues of a group are sorted by length, so that little of a batch is filling.
        """
        return self._written(self.recipe.seed, range(first_step, self.recipe.steps), share)

    def held_out(self, share: Share, count: int) -> Iterator[dict[str, Tensor]]:
        """Dialogues of another seed."""
        return self._written(self.recipe.seed + HELD_OUT, range(count), share)

    def probe(self) -> list[ProbeAnswer]:
        """The fixed questions of the training monitor, about scenes that are never trained on."""
        rng = np.random.default_rng((self.recipe.seed + HELD_OUT, 1))
        scenes = [self._scene(rng) for _ in range(PROBED)]
        return [
            ask_yes_or_no(
                self.model,
                self.processor,
                facts.as_text(),
                seen,
                defective=facts.verdict != "normal",
            )
            for facts, _, seen in scenes
        ]

    def _written(self, seed: int, steps: range, share: Share) -> Iterator[dict[str, Tensor]]:
        make = partial(self._micro_batch, seed, share.of)
        # One worker: a second would write every group of steps once more.
        return prefetched(make, steps, share, min(1, self.recipe.workers))

    def _micro_batch(self, seed: int, parts: int, step: int, part: int) -> dict[str, Tensor]:
        if self._group[0] != (seed, step // GROUP):
            rng = np.random.default_rng((seed, step // GROUP))
            samples = [self._sample(rng) for _ in range(self.recipe.batch * GROUP)]
            samples.sort(key=lambda sample: len(sample["input_ids"]))
            self._group = (seed, step // GROUP), samples, rng.permutation(GROUP)
        _, samples, order = self._group
        start = int(order[step % GROUP]) * self.recipe.batch
        return collated(samples[start : start + self.recipe.batch][part::parts])

    def loss(
        self, batch: dict[str, Tensor], device: torch.device
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross-entropy of what the assistant says, and how unevenly experts are used."""
        moved = {name: values.to(device) for name, values in batch.items()}
        loss = answer_loss(self.model, moved, self.read)
        if not self.mixtures:
            return loss, {}
        balance = torch.stack([mixture.balance for mixture in self.mixtures]).mean()
        shares = torch.stack([mixture.shares for mixture in self.mixtures]).mean(0)
        figures = {"said": loss, "balance": balance}
        figures |= {f"expert_{number}": share for number, share in enumerate(shares)}
        return loss + self.recipe.balance_weight * balance, figures

    def chain(self) -> Chain:
        """Embeddings, decoder layers, and the loss of what the assistant says."""
        return model_chain(self.model, self.blocks())

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """A folder as `AnomalystModel.from_pretrained` reads it, in half precision."""
        shipped = AnomalystModel(self.model.config)
        shipped.load_state_dict(average)
        return self.write_model(shipped.to(torch.bfloat16))

    def _scene(self, rng: np.random.Generator) -> Scene:
        size_px = self.recipe.world.size_px
        return draw_scene(self.looks, rng, imagined=self.recipe.imagined, size_px=size_px)

    def _texts(self, step: int) -> Iterator[str]:
        rng = np.random.default_rng((self.recipe.seed, 1 << 40, step))
        for _ in range(10):
            facts, look, _ = self._scene(rng)
            yield facts.as_text()
            for one in write_dialogue(facts, look, rng, turns=3):
                yield f"{one.question} {one.answer}"

    def _sample(self, rng: np.random.Generator) -> dict[str, Any]:
        turns, family = self.recipe.turns, self.family
        return dialogue_sample(self._scene(rng), self.processor, rng, turns=turns, family=family)


def load_initial(folder: Path) -> tuple[AnomalystModel, AnomalystProcessor]:
    """A model to go on from, all of it trained.

    Raises AnomalystError for one with virtual tokens, which are not read here.
    """
    model, processor = load_model(folder)
    if model.config.virtual_tokens:
        raise AnomalystError(
            f"initial {folder}: has a {model.config.virtual_tokens['kind']}, which this task does "
            "not read; start from a model without one."
        )
    return model.train().requires_grad_(True), processor


def answer_loss(
    model: AnomalystModel, batch: Mapping[str, Tensor], read: Callable[..., Any] | None = None
) -> Tensor:
    """Cross-entropy of the labelled tokens of a batch of `collated`; `read`: a compiled decoder.

    No mask: the filling is on the right, where a causal model does not look. Logits are made where
    something is said, which is a quarter of the places.
    """
    read = read or model.language_model.get_decoder()
    shown = {name: value for name, value in batch.items() if name != "labels"}
    return said_loss(
        model, read(inputs_embeds=model.embedded(**shown)).last_hidden_state, batch["labels"]
    )


def dialogue_sample(
    scene: Scene,
    processor: AnomalystProcessor,
    rng: np.random.Generator,
    *,
    turns: int,
    family: str,
    intents: Sequence[str] = INTENTS,
) -> dict[str, Any]:
    """A dialogue of the grammar about a scene: ids (T,), labels (T,), and what is shown."""
    facts, look, shown = scene
    written = write_dialogue(facts, look, rng, turns=turns, intents=intents)
    messages = messages_of([(one.question, one.answer) for one in written], facts.as_text())
    ids, labels = processor.training_ids(messages, family)
    return {"input_ids": ids, "labels": labels} | shown


@torch.no_grad()
def ask_yes_or_no(
    model: AnomalystModel,
    processor: AnomalystProcessor,
    facts: str,
    seen: dict[str, Tensor],
    *,
    defective: bool,
) -> ProbeAnswer:
    """The plain greedy answer about what is `seen`, neither checked nor mended, and if it is true.

    `facts`: what the model is told in words; empty for a model that only sees.
    """
    family = str(model.config.text_config.model_type)
    text = processor.prompt(messages_for(facts, (), QUESTION), family)
    device = next(model.parameters()).device
    inputs: dict[str, Any] = {k: v.to(device) for k, v in processor(text, seen).items()}
    training = model.training
    tokens = model.eval().generate(
        **inputs,
        max_new_tokens=LONGEST_ANSWER,
        do_sample=False,
        pad_token_id=processor.tokenizer.pad_token_id,
    )
    model.train(training)
    answer = processor.tokenizer.decode(tokens[0], skip_special_tokens=True).strip()
    said = strictly_yes_or_no(answer)
    return ProbeAnswer(QUESTION, answer, None if said is None else said == defective)


def model_config(config: LanguageModelConfig, tokenizer: Any) -> AnomalystConfig:
    """The configuration of the whole model."""
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return AnomalystConfig(
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        blocks=config.blocks(),
    )


def collated(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Dialogues of different lengths as one batch, filled up on the right."""
    longest = max(len(s["input_ids"]) for s in samples)

    def filled(name: str, value: int) -> Tensor:
        rows = [
            nn.functional.pad(s[name], (0, longest - len(s[name])), value=value) for s in samples
        ]
        return torch.stack(rows)

    batch = {"input_ids": filled("input_ids", 0), "labels": filled("labels", -100)}
    others = samples[0].keys() - {"input_ids", "labels"}
    return batch | {name: torch.cat([s[name] for s in samples]) for name in sorted(others)}
