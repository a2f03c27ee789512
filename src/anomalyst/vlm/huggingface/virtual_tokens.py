"""Learned places before everything a language model reads: prefix tuning and prompt tuning.

Kept here and not by `peft`, so that a shipped folder is read without it; the tests compare both.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from anomalyst.errors import AnomalystError

VirtualKind = Literal["prefix", "prompt"]
LABEL = "virtual_tokens"  # its name in the decoder


class PrefixTokens(nn.Module):
    """Keys and values of P places for every layer (Li and Liang 2021, without their MLP).

    Trained: P x layers x 2 x width of the keys.
    """

    def __init__(self, count: int, text_config: Any):
        super().__init__()
        self.count = count
        heads = text_config.num_attention_heads
        width = getattr(text_config, "head_dim", None) or text_config.hidden_size // heads
        kept = getattr(text_config, "num_key_value_heads", None) or heads
        shape = (text_config.num_hidden_layers, 2, kept, count, width)
        self.states = nn.Parameter(torch.randn(shape) * 0.02)

    def forward(self, batch: int) -> Tensor:
        """-> (layers, 2, B, heads, P, width): keys and values."""
        return self.states[:, :, None].repeat(1, 1, batch, 1, 1, 1)


class PromptTokens(nn.Module):
    """Embeddings of P places before the first layer (Lester et al. 2021). Trained: P x width."""

    def __init__(self, count: int, text_config: Any):
        super().__init__()
        self.count = count
        self.embeddings = nn.Parameter(torch.randn(count, text_config.hidden_size) * 0.02)

    def forward(self, batch: int) -> Tensor:
        """-> (B, P, E)."""
        return self.embeddings.repeat(batch, 1, 1)


def insert_virtual_tokens(language_model: Any, kind: VirtualKind, count: int) -> nn.Module:
    """Put P virtual tokens before all that the language model reads; what holds them.

    Whoever calls the model does not see them: masks and positions are moved, and the output has a
    state for each real token. Raises AnomalystError for a decoder that has no cache of keys.
    """
    decoder = language_model.get_decoder() if hasattr(language_model, "get_decoder") else None
    if decoder is None or not hasattr(decoder, "layers"):
        raise AnomalystError(
            f"{kind}: virtual tokens need a LLaMA-type decoder; a {type(language_model).__name__} "
            "is none. Train lora instead."
        )
    made = {"prefix": PrefixTokens, "prompt": PromptTokens}[kind](count, language_model.config)
    decoder.add_module(LABEL, made)
    decoder.register_forward_pre_hook(_before, with_kwargs=True)
    if kind == "prompt":
        decoder.register_forward_hook(_after, with_kwargs=True)
    return made


def virtual_tokens_of(language_model: Any) -> Any:
    """What holds the virtual tokens, or None."""
    return getattr(language_model.get_decoder(), LABEL, None)


@torch.no_grad()
def start_from_words(language_model: Any, seed: int) -> None:
    """Begin where the model stands for words of its own, which trains better than noise does.

    Both papers: embeddings of words (Lester et al., 3.2), activations of words (Li and Liang, 7.2).
    """
    held = virtual_tokens_of(language_model)
    words = language_model.get_input_embeddings().weight
    drawn = torch.Generator().manual_seed(seed)
    picked = torch.randperm(len(words), generator=drawn)[: held.count]
    if len(picked) < held.count:  # more tokens than words
        picked = torch.randint(len(words), (held.count,), generator=drawn)
    embedded = words[picked.to(words.device)]
    if isinstance(held, PromptTokens):
        held.embeddings.copy_(embedded)
        return
    cache = DynamicCache()
    decoder = language_model.get_decoder()
    del decoder._modules[LABEL]  # these words have nothing before them
    decoder(inputs_embeds=embedded[None], past_key_values=cache, use_cache=True)
    decoder.add_module(LABEL, held)
    for layer, states in enumerate(held.states):
        states[0].copy_(cache.layers[layer].keys[0])
        states[1].copy_(cache.layers[layer].values[0])


def _before(decoder: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The virtual tokens go in where nothing was read yet; masks and positions move in any case."""
    held = getattr(decoder, LABEL, None)
    if held is None:
        return args, kwargs
    changed = dict(kwargs)
    given = changed.get("inputs_embeds")
    if given is None:
        given = decoder.embed_tokens(
            changed.pop("input_ids") if "input_ids" in changed else args[0]
        )
        args = ()
    changed["inputs_embeds"] = given
    batch, device = given.shape[0], given.device
    cache = changed.get("past_key_values")
    first = cache is None or cache.get_seq_length() == 0
    mask = changed.get("attention_mask")
    if mask is not None:
        changed["attention_mask"] = torch.cat([mask.new_ones(batch, held.count), mask], 1)
    positions = changed.get("position_ids")
    if positions is not None:
        positions = positions + held.count
        if first and isinstance(held, PromptTokens):
            own = torch.arange(held.count, device=device).expand(len(positions), -1)
            positions = torch.cat([own, positions], 1)
        changed["position_ids"] = positions
    if first and isinstance(held, PromptTokens):
        changed["inputs_embeds"] = torch.cat([held(batch).to(given.dtype), given], 1)
        decoder._virtual_first = True
    elif first:
        changed["past_key_values"] = _filled(cache, held(batch), given)
    return args, changed


def _after(decoder: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """States of the virtual embeddings are nobody's."""
    del args, kwargs
    if decoder.__dict__.pop("_virtual_first", False):
        output.last_hidden_state = output.last_hidden_state[:, getattr(decoder, LABEL).count :]
    return output


def _filled(cache: Any, states: Tensor, given: Tensor) -> Any:
    """A cache that begins with the prefix, in the precision that attention computes in."""
    kind = given.device.type
    low = torch.is_autocast_enabled(kind)
    states = states.to(torch.get_autocast_dtype(kind) if low else given.dtype)
    filled = DynamicCache() if cache is None else cache
    for layer, (keys, values) in enumerate(states):
        filled.update(keys, values, layer)
    return filled
