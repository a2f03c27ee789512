"""Any Hugging Face folder of BERT's, GPT-2's or BART's class -> a text model, by its Auto class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from anomalyst.backbones.huggingface import quiet
from anomalyst.errors import AnomalystError
from anomalyst.vlm.texts.heads import Heads

Objective = Literal["masked", "next", "spans", "none"]
CLASSES: dict[Objective, Any] = {
    "masked": AutoModelForMaskedLM,  # BERT, RoBERTa, ELECTRA, Longformer, ...
    "next": AutoModelForCausalLM,  # GPT-2, XLNet, LLaMA, ...
    "spans": AutoModelForSeq2SeqLM,  # BART, T5, Pegasus, mBART, ...
    "none": AutoModel,  # an encoder alone: it embeds and writes nothing
}
AT_ONCE = 32  # texts
LONGEST = 512  # tokens of a text, where the folder does not say


@dataclass(frozen=True, slots=True)
class TextModel:
    """A text model of one of the classes, ready to embed, and to write if it can."""

    name: str
    objective: Objective
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    heads: Heads | None = None  # fitted on drawn notes; None: the folder has none

    @property
    def longest(self) -> int:
        """Tokens of a text that are read."""
        config = self.model.config
        said = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
        known = [one for one in said if isinstance(one, int) and one > 8]
        # Two fewer: RoBERTa counts its positions from 2 on.
        return min([self.tokenizer.model_max_length, *(one - 2 for one in known)] + [LONGEST])

    @torch.no_grad()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """Sentences -> the mean of their tokens' last states, at unit length: float32 (N, D)."""
        return torch.cat(
            [self._embed(texts[i : i + AT_ONCE]) for i in range(0, len(texts), AT_ONCE)]
        )

    def _embed(self, texts: Sequence[str]) -> Tensor:
        read = self.tokens(texts)
        if self.objective == "spans":
            states = self.model.get_encoder()(**read).last_hidden_state
        else:
            body = self.model.base_model if self.objective != "none" else self.model
            states = body(**read).last_hidden_state
        seen = read["attention_mask"][..., None].to(states.dtype)  # (B, T, 1)
        return F.normalize(((states * seen).sum(1) / seen.sum(1).clamp(min=1)).float(), dim=1)

    def tokens(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Texts as one batch, filled behind: input_ids and attention_mask, int64 (B, T)."""
        read = self.tokenizer(
            list(texts),
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=self.longest,
            padding_side="right",
        )
        return {name: read[name] for name in ("input_ids", "attention_mask")}


def load_text_model(spec: Path | str) -> TextModel:
    """The text model of a folder, or of a run as `run:DIR`.

    Its class is that of config.json: with encoder and decoder it rebuilds, with a masked head it
    fills in, with a causal head it goes on. Raises AnomalystError for a folder that holds none,
    weights that are missing or do not fit, or no tokenizer.
    """
    folder = folder_of(str(spec))
    if not (folder / "config.json").is_file():
        raise AnomalystError(
            f"{folder}: holds no config.json; give the folder of a text model, or run:DIR of a run "
            "of recipes/texts."
        )
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            objective = objective_of(config, folder)
            model, report = CLASSES[objective].from_pretrained(
                folder, local_files_only=True, use_safetensors=True, dtype=torch.float32,
                output_loading_info=True,
            )  # fmt: skip
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise AnomalystError(f"{folder}: the text model cannot be read ({reason}).") from error
    # A pooler says nothing here; checkpoints of an encoder with a head often lack it.
    missing = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if missing or report["mismatched_keys"]:
        raise AnomalystError(
            f"{folder}: weights are missing or do not fit: "
            f"{', '.join(missing[:3]) or 'other sizes'}; config.json and safetensors must come "
            "from the same training."
        )
    if tokenizer.pad_token_id is None:  # GPT-2 was trained one text at a time
        tokenizer.pad_token = tokenizer.eos_token
    model.eval().requires_grad_(False)
    return TextModel(str(spec), objective, model, tokenizer, Heads.read(folder))


def folder_of(spec: str) -> Path:
    """The folder of a model: DIR, or that of a run, given as `run:DIR` or by its own folder."""
    kind, _, rest = spec.partition(":")
    folder = Path(rest) / "model" if kind == "run" and rest else Path(spec)
    own = folder / "model"
    return own if not (folder / "config.json").is_file() and own.is_dir() else folder


def objective_of(config: Any, folder: Path) -> Objective:
    """What a model of this configuration was trained to do. Raises AnomalystError if unknown."""
    named = (config.architectures or [""])[0]
    if getattr(config, "is_encoder_decoder", False):
        return "spans"
    if named.endswith(("ForMaskedLM", "ForPreTraining")) and not named.startswith("GPT"):
        return "masked"
    if named.endswith(("ForCausalLM", "LMHeadModel")):
        return "next"
    if named.endswith("Model"):
        return "none"
    raise AnomalystError(
        f"{folder}: is a {named or config.model_type}; a model that fills in (BERT), goes on "
        "(GPT-2) or rebuilds (BART) is needed."
    )
