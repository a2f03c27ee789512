"""BERT, GPT-2 and BART of about equal size, random, with one tokenizer's marks."""

from dataclasses import dataclass
from typing import Any, Literal

from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

Objective = Literal["masked", "next", "spans"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextModelConfig:
    """Size of a text model; of BART half the layers are the encoder's, half the decoder's."""

    width: int = 128
    layers: int = 4
    heads: int = 4
    hidden: int = 512  # of the MLPs; BART's are narrower: its decoder attends twice
    vocabulary: int = 1024
    positions: int = 512  # tokens of a text, at most
    dropout: float = 0.0  # texts are drawn: few steps see one twice

    def __post_init__(self) -> None:
        if self.layers % 2:
            raise ValueError(f"layers is {self.layers}; BART needs an even number")
        if self.width % self.heads:
            raise ValueError(f"width is {self.width}; a multiple of heads, {self.heads}, is needed")
        least = self.width + self.positions // (2 * self.layers)
        if self.hidden <= least:
            raise ValueError(f"hidden is {self.hidden}; more than {least} is needed for BART's")


def new_network(
    objective: Objective, size: TextModelConfig, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """The network of an objective: BERT's, GPT-2's or BART's, with random weights."""
    return {"masked": _bert, "next": _gpt2, "spans": _bart}[objective](size, tokenizer)


def parameters(network: PreTrainedModel) -> int:
    """How many numbers are trained; a matrix with two names counts once."""
    return sum(one.numel() for one in network.parameters())


def _marks(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _bert(size: TextModelConfig, tokenizer: PreTrainedTokenizerFast) -> BertForMaskedLM:
    config = BertConfig(
        hidden_size=size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.hidden,
        max_position_embeddings=size.positions,
        hidden_dropout_prob=size.dropout,
        attention_probs_dropout_prob=size.dropout,
        type_vocab_size=1,
        **_marks(tokenizer),
    )
    return BertForMaskedLM(config)


def _gpt2(size: TextModelConfig, tokenizer: PreTrainedTokenizerFast) -> GPT2LMHeadModel:
    config = GPT2Config(
        n_embd=size.width,
        n_layer=size.layers,
        n_head=size.heads,
        n_inner=size.hidden,
        n_positions=size.positions,
        resid_pdrop=size.dropout,
        embd_pdrop=size.dropout,
        attn_pdrop=size.dropout,
        **_marks(tokenizer),
    )
    network = GPT2LMHeadModel(config)
    network.loss_type = "ForCausalLM"  # transformers knows it by the names of other classes only
    return network


def _bart(
    size: TextModelConfig, tokenizer: PreTrainedTokenizerFast
) -> BartForConditionalGeneration:
    # An encoder layer has 4 d d + 2 d h weights, a decoder layer 8 d d + 2 d h, and there are two
    # tables of positions, p d each: MLPs narrower by d + p / 2 layers make up for both.
    narrow = size.hidden - size.width - size.positions // (2 * size.layers)
    config = BartConfig(
        d_model=size.width,
        encoder_layers=size.layers // 2,
        decoder_layers=size.layers // 2,
        encoder_attention_heads=size.heads,
        decoder_attention_heads=size.heads,
        encoder_ffn_dim=narrow,
        decoder_ffn_dim=narrow,
        max_position_embeddings=size.positions,
        dropout=size.dropout,
        attention_dropout=size.dropout,
        decoder_start_token_id=tokenizer.bos_token_id,
        forced_eos_token_id=tokenizer.eos_token_id,
        **_marks(tokenizer),
    )
    return BartForConditionalGeneration(config)
