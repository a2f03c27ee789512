"""The language model block by block: what engines that deal it to several processes need."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anomalyst.training.chain import Chain, Cut
from anomalyst.training.recipe import Divisible
from anomalyst.vlm.huggingface import AnomalystModel
from anomalyst.vlm.huggingface.windowed_attention import WindowedAttention, with_window

# By columns what each head and each hidden number is made from, by rows what joins them again.
LINEAR: dict[str, Cut] = {
    "self_attn.q_proj": "columns", "self_attn.k_proj": "columns", "self_attn.v_proj": "columns",
    "self_attn.o_proj": "rows",
    "mlp.gate_proj": "columns", "mlp.up_proj": "columns", "mlp.down_proj": "rows",
}  # fmt: skip


SIZES = {  # of a model that can be dealt out, by Hugging Face's names
    "layers": "num_hidden_layers", "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads", "hidden": "intermediate_size",
}  # fmt: skip


def divisible_model(recipe: Any) -> Divisible:
    """What of a language recipe's model processes can share out, and what is in the way."""
    model, spread = recipe.model, recipe.engine.name
    obstacles = []
    if recipe.compiled:
        obstacles.append("torch.compile would join again; say compiled=false")
    if recipe.watch.probe_every and spread != "expert":
        obstacles.append("no process can then ask anything; say watch.probe_every=0")
    if model.positions == "relative" and spread in ("tensor", "tensor_pipeline", "sequence"):
        obstacles.append("has one bias for each head in one table; take model.positions=rotary")
    sizes = {name: getattr(model, name) for name in SIZES} | {"experts": model.experts}
    if recipe.initial:
        sizes = _sizes_of(Path(recipe.initial), sizes)
    return Divisible(obstacles=tuple(obstacles), **sizes)


def _sizes_of(folder: Path, otherwise: dict[str, int]) -> dict[str, int]:
    """Those of a model on disk; one that cannot be read says so when it is loaded."""
    try:
        read = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        sizes = {name: int(read["text_config"][key]) for name, key in SIZES.items()}
        return sizes | {"experts": int(read.get("blocks", {}).get("experts", 0))}
    except (OSError, ValueError, KeyError):
        return otherwise


def model_chain(model: AnomalystModel, blocks: Mapping[str, nn.Module]) -> Chain:
    """Embeddings of words and pictures, decoder layers, and the loss of what is said."""
    decoder: Any = model.language_model.get_decoder()

    def begin(batch: Mapping[str, Tensor]) -> Tensor:
        return model.embedded(**{k: v for k, v in batch.items() if k != "labels"})

    def run(block: nn.Module, x: Tensor, first: int = 0) -> Tensor:
        places = torch.arange(first, first + x.shape[1], device=x.device)[None]
        turned = decoder.rotary_emb(x, position_ids=places)
        out: Tensor = block(x, attention_mask=None, position_ids=places, position_embeddings=turned)
        return out

    def finish(x: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        return said_loss(model, decoder.norm(x), batch["labels"])

    def finish_part(x: Tensor, batch: Mapping[str, Tensor], first: int) -> Tensor:
        # The word that follows a stretch is the first of the next one.
        labels = nn.functional.pad(batch["labels"], (0, 1), value=-100)
        own = labels[:, first : first + x.shape[1] + 1].clone()
        share = (own[:, 1:] >= 0).sum() / (labels[:, 1:] >= 0).sum()
        if not share:
            return x.sum() * 0
        return said_loss(model, nn.functional.pad(decoder.norm(x), (0, 0, 0, 1)), own) * share

    return Chain(
        blocks=blocks,
        width=int(model.config.text_config.hidden_size),
        after=("language_model.model.norm", "language_model.lm_head"),
        linear=LINEAR,
        aligned=equally_long,
        places=lambda batch: (batch["input_ids"].shape[0], batch["input_ids"].shape[1]),
        begin=begin,
        run=run,
        finish=finish,
        finish_part=finish_part,
        share_tokens=share_tokens,
    )


def said_loss(model: AnomalystModel, hidden: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the labelled tokens: the decoder's last states (B, T, E), labels (B, T)."""
    hidden, labels = hidden[:, :-1], labels[:, 1:]
    logits = model.get_output_embeddings()(hidden[labels >= 0])
    return nn.functional.cross_entropy(logits.float(), labels[labels >= 0])


def share_tokens(block: nn.Module, group: Any) -> None:
    """Let a block's attention exchange heads for tokens with the processes of a group."""
    attention: Any = block.self_attn
    if not isinstance(attention, WindowedAttention):
        with_window(attention, 0)
    attention.group = group


def equally_long(
    batches: Sequence[Mapping[str, Tensor]], multiple: int = 1
) -> list[dict[str, Tensor]]:
    """Micro-batches filled up on the right to the longest, where a causal model does not look."""
    longest = max(batch["input_ids"].shape[1] for batch in batches)
    longest += -longest % multiple
    filled = []
    for batch in batches:
        left = longest - batch["input_ids"].shape[1]
        ends = {"input_ids": 0, "labels": -100}
        longer = {n: nn.functional.pad(batch[n], (0, left), value=v) for n, v in ends.items()}
        filled.append({**batch, **longer})
    return filled
