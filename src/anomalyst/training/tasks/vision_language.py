"""What tasks share that teach a language model to read pictures: how it starts, how it ships.

PandaGPT trains the projector and LoRA, LLaVA first the projector, then the language model with it;
AnomalyGPT the prompt learner and the decoder. `train` says which, in any combination.
"""

import copy
import json
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from anomalyst.backbones import load_encoder
from anomalyst.backbones.huggingface import quiet
from anomalyst.detection.classifiers.text_aligned import aligned_levels
from anomalyst.detection.detector import Detector
from anomalyst.detection.pair_decoder import load_decoder
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.io.geometry import canvas_for
from anomalyst.training.checkpoint import fill
from anomalyst.training.task import frozen_dtype
from anomalyst.training.tasks.language import DialogueTask
from anomalyst.training.tasks.tuning import (
    TuningRecipe,
    checked_words,
    choose_sparse,
    merged_state,
    set_trained,
    trained_count,
)
from anomalyst.vlm.dialogue import IMAGE_TOKEN
from anomalyst.vlm.huggingface import AnomalystConfig, AnomalystModel, AnomalystProcessor
from anomalyst.vlm.huggingface.configuration import OWN_VISION
from anomalyst.vlm.huggingface.layer_patches import Patch, as_values, insert
from anomalyst.vlm.huggingface.loading import load_model, own_vision
from anomalyst.vlm.text_tower import TextTower
from anomalyst.vlm.visual_inputs import PATCH_CELLS

SPARSE_SAMPLES = 64  # whose gradients choose what sparse fine-tuning changes


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionLanguageRecipe(TuningRecipe):
    """A language model of any size that is shown pictures; `initial`: an earlier stage's model."""

    language_model: str = ""  # folder or name of a causal language model, where `initial` is empty
    vision: str = "embedded"  # the encoder: embedded, or hf:DIR; frozen unless `train` has vision
    instructions: str = ""  # LLaVA or PandaGPT JSON, or pairs of image and caption
    images: str = ""  # folder that the instructions' pictures lie in; empty: the JSON's own
    text_tower: str = ""  # folder whose words are the two states of the decoder; empty: learned
    facts: bool = False  # say in words what was found; the predecessor did not
    turns: int = 1  # of each dialogue about a picture whose truth is known
    patches: tuple[Patch, ...] = ()  # layers put into every block of the language model
    side_px: int = 256
    longest: int = 1024  # tokens of a dialogue
    probe_pictures: int = 8  # of each of the training monitor's rounds, half of them defective

    def check(self) -> None:
        """Raises ValueError for what contradicts itself."""
        checked_words(self.train)
        if "vision" in self.train and not self.vision.startswith("hf:"):
            raise ValueError(
                f"train has vision, and vision is {self.vision!r}: the pair decoder and its "
                "calibration were learnt on that encoder as it is; take vision=hf:DIR, or leave "
                "vision out of train"
            )
        if "prefix" in self.train and self.activation_checkpointing:
            raise ValueError(
                "activation_checkpointing computes blocks twice and would read the prefix twice; "
                "leave it out, or train prompt or lora"
            )
        if self.turns < 1:
            raise ValueError(f"turns is {self.turns}; one or more is needed")

    def check_sources(self) -> None:
        """Raises AnomalystError where there is no model to start from."""
        if self.initial:
            if not (Path(self.initial) / "config.json").is_file():
                raise AnomalystError(
                    f"initial {self.initial}: no model is there; give the folder `model` of a "
                    "finished run, as in initial=runs/captions/model."
                )
            return
        named = re.fullmatch(r"[\w-]+/[\w.-]+", self.language_model)  # as a hub names it
        if not named and not Path(self.language_model).exists():
            raise AnomalystError(
                f"{self.language_model}: no language model is there; give the folder of one, as in "
                "language_model=./vicuna-7b."
            )


class VisionLanguageTask(DialogueTask):
    """The model, what of it is trained, and how it ships; subclasses bring samples and a loss."""

    has_decoder = True  # whether the model has a text-aligned decoder

    def __init__(self, recipe: VisionLanguageRecipe, out: Path):
        self.start, self.out = recipe, out
        dtype = frozen_dtype(recipe)
        encoder = load_encoder(recipe.vision, dtype)
        embedded = recipe.vision == "embedded"
        self.detector = Detector(encoder, load_decoder() if embedded else None, dtype=dtype)
        self.model, self.processor = self._build_model()
        self.adapted = [m for m in self.model.modules() if isinstance(m, BaseTunerLayer)]
        self.module: nn.Module = self.model
        self.leaves_out = "vision" in recipe.train  # some of an encoder serves other tasks

    @abstractmethod
    def single(self, index: int) -> dict[str, Any]:
        """A micro-batch of one sample, the index-th of the run."""

    def seen(self, moved: dict[str, Any]) -> dict[str, Any]:
        """A batch with what the encoder in training sees in place of what the frozen one saw."""
        pixels = moved.pop("pixels", None)
        if pixels is None:
            return moved
        encoder = self.model.vision_encoder
        features = encoder(pixels.to(next(encoder.parameters()).device))
        last = features.levels[min(2, len(features.levels) - 1)]
        changed = {
            "image_embedding": features.embedding,
            "patches": F.adaptive_avg_pool2d(last, PATCH_CELLS),
        } | {f"level{i}": level for i, level in enumerate(aligned_levels(features))}
        return moved | {name: value for name, value in changed.items() if name in moved}

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """A folder as `AnomalystModel.from_pretrained` reads it; what can be merged is.

        An encoder that was trained, too, lies in its folder `vision`.
        """
        whole, _ = self._build_model()  # from the disk: the model in training may lie in shards
        fill(whole, average)
        vision = whole._modules.pop("vision_encoder", None)
        merged = AnomalystModel(copy.deepcopy(self.model.config))
        merged.load_state_dict(merged_state(whole))
        if vision is None and merged.config.trained_vision:  # an earlier stage's own
            vision = load_encoder(self.start.vision)
        if vision is not None:
            merged.config.vision, merged.config.trained_vision = OWN_VISION, True
        return self.write_model(merged, vision)

    def finish(self, weights: Path) -> None:
        """trained.json: how many parameters were trained, of how many.

        What is asked from now on is seen by the encoder that ships.
        """
        if "vision" in self.start.train:
            self.detector.encoder = load_encoder(own_vision(weights))
        note = {
            "trained": trained_count(self.module), "of": self.whole, "train": list(self.start.train)
        }  # fmt: skip
        write_text(self.out / "trained.json", json.dumps(note) + "\n")

    def choose_sparse(self) -> None:
        """Where `train` has sparse, choose its weights on the first samples of the run."""
        if "sparse" in self.start.train:
            cpu = torch.device("cpu")
            losses: Iterator[Callable[[], Tensor]] = (
                partial(lambda index: self.loss(self.single(index), cpu)[0], index)
                for index in range(SPARSE_SAMPLES)
            )
            choose_sparse(self.model, losses)

    def _build_model(self) -> tuple[AnomalystModel, AnomalystProcessor]:
        """The model as it starts: what is on disk, and all else new."""
        recipe = self.start
        with torch.inference_mode():
            side, multiple = recipe.side_px, self.detector.encoder.multiple_px
            canvas_hw = canvas_for((side, side), side, multiple)
            probe = self.detector.encode([np.zeros((*canvas_hw, 3), np.uint8)])
        levels = aligned_levels(probe)
        # The width of the states' space: the text tower's, or that of learned states.
        tower = TextTower(recipe.text_tower) if recipe.text_tower else None
        state_width = tower.states("object").shape[1] if tower else 64
        shape = {
            "vision": recipe.vision,
            "embedding_width": probe.embedding.shape[1],
            "patch_width": probe.levels[:3][-1].shape[1],
            "level_widths": tuple(level.shape[1] for level in levels) if self.has_decoder else (),
            "state_width": state_width,
            "facts": recipe.facts,
        }
        with torch.random.fork_rng(devices=[]):
            # What is new and not trained must be the same when the model is built again to ship.
            torch.manual_seed(recipe.seed)
            model, processor = (continued if recipe.initial else begun)(recipe, shape)
            if "vision" in recipe.train:
                model.add_module("vision_encoder", load_encoder(recipe.vision))
            self.whole = sum(p.numel() for p in model.parameters())  # before anything is put in
            set_trained(model, recipe)
        return model.train(), processor


def begun(
    recipe: VisionLanguageRecipe, shape: dict[str, Any]
) -> tuple[AnomalystModel, AnomalystProcessor]:
    """A new model around the recipe's language model."""
    tokenizer, language = read_language_model(recipe.language_model)
    config = AnomalystConfig(
        text_config=language.config,
        image_token_id=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        **shape,
    )
    model = AnomalystModel(config)
    model.language_model.load_state_dict(language.state_dict())
    config.patches = as_values(recipe.patches)
    insert(model.language_model, recipe.patches)
    return model, AnomalystProcessor(tokenizer, config.num_image_tokens)


def continued(
    recipe: VisionLanguageRecipe, shape: dict[str, Any]
) -> tuple[AnomalystModel, AnomalystProcessor]:
    """The model of an earlier stage; a text-aligned decoder that it lacks is new.

    Raises AnomalystError if it was trained with another encoder.
    """
    earlier, processor = load_model(Path(recipe.initial))
    config = copy.deepcopy(earlier.config)
    if config.vision != recipe.vision:
        raise AnomalystError(
            f"initial {recipe.initial}: was trained with the encoder {config.vision}, the recipe "
            f"says {recipe.vision}; say vision={config.vision}."
        )
    _refuse_what_does_not_fit(recipe, config, shape)
    new = bool(shape["level_widths"]) and not config.level_widths
    if new:
        config.level_widths, config.state_width = list(shape["level_widths"]), shape["state_width"]
    config.facts = shape["facts"]
    model = AnomalystModel(config)
    missing, _ = model.load_state_dict(earlier.state_dict(), strict=False)
    assert all(new and name.startswith("text_aligned.") for name in missing), missing
    if recipe.patches:
        if config.patches:
            raise AnomalystError(
                f"initial {recipe.initial}: has patches of its own; leave patches out."
            )
        config.patches = as_values(recipe.patches)
        insert(model.language_model, recipe.patches)
    return model, processor


def _refuse_what_does_not_fit(
    recipe: VisionLanguageRecipe, config: AnomalystConfig, shape: Mapping[str, Any]
) -> None:
    """Raises AnomalystError for an earlier model that this recipe cannot go on from."""
    if recipe.activation_checkpointing and config.virtual_tokens.get("kind") == "prefix":
        raise AnomalystError(
            f"initial {recipe.initial}: has a prefix, which activation_checkpointing would read "
            "twice; leave that out."
        )
    wanted = list(shape["level_widths"]), shape["state_width"]
    held = list(config.level_widths), config.state_width
    if wanted[0] and held[0] and held != wanted:
        raise AnomalystError(
            f"initial {recipe.initial}: its decoder was trained on other levels or another text "
            "tower; start from a model without one."
        )


def read_language_model(source: str) -> tuple[Any, Any]:
    """Tokenizer, with a token for the picture, and model of a folder or a name on the hub."""
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(source)
            language = AutoModelForCausalLM.from_pretrained(
                source, use_safetensors=True, dtype=torch.float32
            )
    except (OSError, ValueError) as error:
        raise AnomalystError(f"{source}: no language model can be read there ({error}).") from error
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if len(tokenizer) > language.get_input_embeddings().num_embeddings:
        language.resize_token_embeddings(len(tokenizer))
    return tokenizer, language
