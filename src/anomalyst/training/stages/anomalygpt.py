"""The predecessor's own recipe, on any set of pictures: map, prompt and words trained together.

Good pictures and their spoiled twins, question and answer with place words; one batch of these,
one of general instructions. Cross-entropy + focal + dice, weights 1, 1, 1 (AnomalyGPT, AAAI 2024,
equation 8). First the language model is frozen, then LoRA is tuned with the rest.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from anomalyst.data.reading import read_dataset
from anomalyst.detection.decoder import load_decoder
from anomalyst.detection.detector import Detector, Memory
from anomalyst.detection.losses import dice_loss, focal_loss
from anomalyst.detection.regions import find_regions, joined_px
from anomalyst.detection.text_aligned import text_states
from anomalyst.encoders import load_encoder
from anomalyst.errors import AnomalystError
from anomalyst.imaging import canvas_for, open_picture, place
from anomalyst.language.dialogue import IMAGE_TOKEN, messages_for
from anomalyst.language.facts import MOST_NAMED, Facts
from anomalyst.language.showing import shown
from anomalyst.model import AnomalystConfig, AnomalystModel, AnomalystProcessor
from anomalyst.synthesis.pasting import spoil
from anomalyst.training.dialogues.writer import write_dialogue
from anomalyst.training.recipe import Recipe
from anomalyst.training.stages.language import collated
from anomalyst.types import Features

INTENTS = ("presence", "sound", "where", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnomalyGPTRecipe(Recipe):
    """A language model of any size that reads a map; `batch` counts pictures or instructions."""

    stage: Literal["anomalygpt"] = "anomalygpt"
    data: tuple[str, ...] = ()  # sets in any layout `data check` knows; their good pictures train
    instructions: str = ""  # LLaVA or PandaGPT JSON; every second step is one of these
    images: str = ""  # folder that the instructions' pictures lie in
    language_model: str = ""  # folder or name of a causal language model
    vision: str = "embedded"  # the frozen encoder: embedded, or hf:DIR
    states: str = ""  # folder of CLIP or SigLIP whose text tower says normal and abnormal
    facts: bool = False  # say in words what was found; the predecessor did not
    few_shot_share: float = 0.5  # of the pictures whose map comes from a good one instead
    lora_from: int = 0  # step from which LoRA is tuned; before it the language model is frozen
    lora_rank: int = 32
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    lora_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    language_weight: float = 1.0
    focal_weight: float = 1.0
    dice_weight: float = 1.0
    yes_weight: float = 1.0  # of the cross-entropy of answers about spoiled pictures
    gamma: float = 2.0  # of the focal loss
    adaptive_gamma: float = 0.0  # added to gamma, times the share of the picture that is sound
    side_px: int = 256
    longest: int = 1024  # tokens of a dialogue

    def __post_init__(self) -> None:
        if self.stage == "anomalygpt" and not (self.data and self.language_model):
            raise ValueError("data and language_model are needed: a set, and a model's folder")


class AnomalyGPTCourse:
    """Batches of inspections and, if there are any, of instructions in turn."""

    def __init__(self, recipe: AnomalyGPTRecipe, out: Path):
        self.recipe, self.out = recipe, out
        encoder = load_encoder(recipe.vision)
        embedded = recipe.vision == "embedded"
        self.detector = Detector(encoder, load_decoder() if embedded else None)
        self.good = good_pictures(recipe.data, recipe.side_px, encoder.multiple_px)
        self.instructions = read_instructions(recipe) if recipe.instructions else []
        self.model, self.processor = self._built()
        self.module: nn.Module = self.model
        self.states = {
            name: text_states(recipe.states, name) for name in self.good if recipe.states
        }

    def _built(self) -> tuple[AnomalystModel, AnomalystProcessor]:
        recipe = self.recipe
        try:
            tokenizer = AutoTokenizer.from_pretrained(recipe.language_model)
            language = AutoModelForCausalLM.from_pretrained(
                recipe.language_model, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError) as error:
            raise AnomalystError(
                f"{recipe.language_model}: no language model can be read there ({error})."
            ) from error
        tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        with torch.inference_mode():
            probe = self.detector.encode([np.zeros((recipe.side_px,) * 2 + (3,), np.uint8)])
        levels = probe.levels[:3]
        if len(tokenizer) > language.get_input_embeddings().num_embeddings:
            language.resize_token_embeddings(len(tokenizer))
        config = AnomalystConfig(
            text_config=language.config,
            vision=recipe.vision,
            embedding_width=probe.embedding.shape[1],
            patch_width=levels[-1].shape[1],
            level_widths=tuple(level.shape[1] for level in levels),
            state_width=_state_width(recipe),
            facts=recipe.facts,
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        )
        model = AnomalystModel(config)
        model.language_model.load_state_dict(language.state_dict())
        model.language_model.requires_grad_(False)
        adapter = LoraConfig(
            r=recipe.lora_rank,
            lora_alpha=recipe.lora_alpha,
            lora_dropout=recipe.lora_dropout,
            target_modules=_targets(model.language_model, recipe.lora_targets),
        )
        inject_adapter_in_model(adapter, model.language_model)
        self.adapted = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
        return model, AnomalystProcessor(tokenizer, config.num_image_tokens)

    def batches(self, first_step: int) -> Iterator[dict[str, Any]]:
        """One batch of inspections, one of instructions, and so on, by the step's own numbers."""
        recipe = self.recipe
        for step in range(first_step, recipe.steps):
            rng = np.random.default_rng((recipe.seed, step))
            if self.instructions and step % 2:
                samples = [self._instruction(rng) for _ in range(recipe.batch)]
            else:
                samples = [self._inspection(rng, spoiled=i % 2 == 1) for i in range(recipe.batch)]
            yield collated(samples) | {"step": step}

    def loss(self, batch: dict[str, Any], device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of what the words and the map lose; instructions have no map."""
        recipe = self.recipe
        for layer in self.adapted:
            layer._disable_adapters = batch["step"] < recipe.lora_from
        batch.pop("step")
        moved = {name: values.to(device) for name, values in batch.items()}
        mask, weights = moved.pop("mask", None), moved.pop("weight", None)
        levels = [moved.pop(f"level{i}") for i in range(3)] if mask is not None else []
        states, given = moved.pop("states", None), moved.pop("given", None)
        parts: dict[str, Tensor] = {}
        if mask is not None:
            features = Features(levels, moved["image_embedding"])
            decoder = self.model.text_aligned
            assert decoder is not None  # its widths are in the configuration
            found = decoder.level_logits(features, mask.shape[-2:], states)
            gamma = recipe.gamma + recipe.adaptive_gamma * float(1 - mask.mean())
            parts["focal"] = torch.stack([focal_loss(x, mask, gamma) for x in found]).sum()
            parts["dice"] = torch.stack([dice_loss(x, mask) for x in found]).sum()
            learnt = decoder(features, mask.shape[-2:], states).sigmoid()
            # The words' gradient reaches the decoder through the maps that are its own.
            moved["anomaly_map"] = torch.where(
                given[:, None, None, None], moved["anomaly_map"], learnt
            )
        labels = moved.pop("labels")
        logits = self.model(**moved).logits[:, :-1].float()
        parts["language"] = weighted_cross_entropy(logits, labels[:, 1:], weights)
        shares = {"language": recipe.language_weight, "focal": recipe.focal_weight,
                  "dice": recipe.dice_weight}  # fmt: skip
        return torch.stack([shares[k] * v for k, v in parts.items()]).sum(), parts

    def ship(self, average: dict[str, Tensor]) -> Path:
        """A folder as `AnomalystModel.from_pretrained` reads it, LoRA merged into the words."""
        folder = self.out / "model"
        whole = copy.deepcopy(self.model)
        whole.load_state_dict(average, strict=False)
        merged = AnomalystModel(self.model.config)
        merged.load_state_dict(_merged(whole))
        merged.save_pretrained(folder)
        self.processor.save_pretrained(folder)
        return folder

    def finish(self, weights: Path) -> None:
        """Nothing remains."""

    @torch.no_grad()
    def _inspection(self, rng: np.random.Generator, *, spoiled: bool) -> dict[str, Any]:
        """A good picture, or a spoiled one, with a question and its true answer."""
        recipe = self.recipe
        name = str(rng.choice(list(self.good)))
        pictures = self.good[name]
        picture = pictures[int(rng.integers(len(pictures)))]
        mask = np.zeros(picture.shape[:2], bool)
        if spoiled:
            picture, mask = spoil(picture, pictures, rng)
        features = self.detector.encode([picture])
        gap = joined_px(mask.shape)
        regions = find_regions(mask.astype(np.float32), 0.5, 4, join_px=gap)
        verdict: Literal["normal", "anomalous"] = "anomalous" if regions else "normal"
        facts = Facts(
            verdict=verdict, p_value=0.02 if regions else 0.5, confidence=0.9, regions=regions,
            size_hw=picture.shape[:2], num_good=1, guaranteed=False, product=name,
        )  # fmt: skip
        one = write_dialogue(facts, "", rng, turns=1, intents=INTENTS)[0]
        messages = messages_for(facts.as_text() if recipe.facts else "", (), one.question)
        messages.append({"role": "assistant", "content": one.answer})
        given = bool(rng.random() < recipe.few_shot_share) and len(pictures) > 1
        anomaly_map = self._beside(features, pictures, rng) if given else torch.zeros(8, 8)
        small = F.interpolate(anomaly_map[None, None], (64, 64), mode="bilinear")[0, 0]
        seen = shown(
            small, regions if recipe.facts else (), picture.shape[:2], features, most=MOST_NAMED
        )
        extra = {
            "mask": F.interpolate(
                torch.from_numpy(mask)[None, None].float(), (64, 64), mode="area"
            ),
            "given": torch.tensor([given]),
            "weight": torch.tensor([recipe.yes_weight if regions else 1.0]),
            **{f"level{i}": level for i, level in enumerate(features.levels[:3])},
        }
        extra["mask"] = (extra["mask"] > 0.25).float()
        if self.states:
            extra["states"] = self.states[name][None]
        return self._tokens(messages) | seen | extra

    def _beside(
        self, query: Features, pictures: list[np.ndarray], rng: np.random.Generator
    ) -> Tensor:
        """The few-shot map beside another good picture of the product."""
        other = pictures[int(rng.integers(len(pictures)))]
        memory: Memory = self.detector.remember(self.detector.encode([other]))
        return torch.from_numpy(self.detector.judge(query, memory, None).map)

    @torch.no_grad()
    def _instruction(self, rng: np.random.Generator) -> dict[str, Any]:
        """A general question and answer, about a picture or about none."""
        recipe = self.recipe
        one = self.instructions[int(rng.integers(len(self.instructions)))]
        canvas = np.zeros((recipe.side_px,) * 2 + (3,), np.uint8)
        if one["image"] is not None:
            canvas = place(open_picture(Path(recipe.images) / one["image"]), canvas.shape[:2])[0]
        features = self.detector.encode([canvas])
        messages = messages_for("", (), one["question"], instruction="")
        messages.append({"role": "assistant", "content": one["answer"]})
        seen = shown(torch.zeros(64, 64), (), canvas.shape[:2], features, most=MOST_NAMED)
        return self._tokens(messages) | seen

    def _tokens(self, messages: list[dict[str, str]]) -> dict[str, Tensor]:
        family = self.model.config.text_config.model_type
        ids, labels = self.processor.training_ids(messages, family)
        return {"input_ids": ids[: self.recipe.longest], "labels": labels[: self.recipe.longest]}


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over the tokens that are said, each weighing as its dialogue does: (B, T, V), (B, T)."""
    loss = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
    share = (labels >= 0).float() * (1.0 if weights is None else weights[:, None])
    return (loss * share).sum() / share.sum().clamp(min=1e-6)


def good_pictures(
    folders: tuple[str, ...], side_px: int, multiple_px: int
) -> dict[str, list[np.ndarray]]:
    """The good training pictures of each category, square canvases uint8.

    Raises AnomalystError for a folder that is no set, or a set without good training pictures.
    """
    found: dict[str, list[np.ndarray]] = {}
    for folder in folders:
        for sample in read_dataset(Path(folder)):
            if sample.split == "train" and sample.label == "normal":
                canvas_hw = canvas_for((side_px, side_px), side_px, multiple_px)
                canvas, _ = place(open_picture(sample.image), canvas_hw)
                found.setdefault(sample.category or Path(folder).name, []).append(canvas)
    if not found:
        raise AnomalystError(f"{', '.join(folders)}: no good training picture is there.")
    return found


def read_instructions(recipe: AnomalyGPTRecipe) -> list[dict[str, Any]]:
    """Question, answer and picture (or None) of each entry of a LLaVA or PandaGPT file.

    LLaVA: {"image", "conversations": [{"from": "human"|"gpt", "value"}]}; PandaGPT the same with
    "image_name". The first question and answer of each is used. Raises AnomalystError for others.
    """
    path = Path(recipe.instructions)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        read = []
        for entry in entries:
            human, gpt = entry["conversations"][:2]
            assert (human["from"], gpt["from"]) == ("human", "gpt")
            read.append(
                {
                    "question": human["value"].replace(IMAGE_TOKEN, "").strip(),
                    "answer": gpt["value"],
                    "image": entry.get("image") or entry.get("image_name"),
                }
            )
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise AnomalystError(
            f"{path}: is no list of conversations as LLaVA or PandaGPT write them "
            f"({type(error).__name__}: {error})."
        ) from error
    if not read:
        raise AnomalystError(f"{path}: holds no conversation.")
    return read


def _state_width(recipe: AnomalyGPTRecipe) -> int:
    """The width of the space that the states are in: the text tower's, or that of learned ones."""
    return text_states(recipe.states, "object").shape[1] if recipe.states else 64


def _targets(language_model: nn.Module, wanted: tuple[str, ...]) -> list[str]:
    """The projections of the attention by the names this model has for them."""
    names = {name.rsplit(".", 1)[-1] for name, _ in language_model.named_modules()}
    found = [name for name in (*wanted, "out_proj", "c_attn", "c_proj") if name in names]
    if not found:
        raise AnomalystError(
            f"lora_targets {', '.join(wanted)}: none is in a {type(language_model).__name__}."
        )
    return found


def _merged(model: AnomalystModel) -> dict[str, Tensor]:
    """The state of a model with LoRA added to the weights it adapts."""
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module._disable_adapters = False
            module.merge()
    state = model.state_dict()
    return {
        name.replace(".base_layer.", "."): value
        for name, value in state.items()
        if ".lora_" not in name
    }
