"""A small BERT from scratch on two sentences that use one word in two senses, to look into.

Its loss is only the mean of its hidden states, as in the lesson it follows: it learns nothing of
language, and its attention shows how such pictures are read, not what words mean.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from anomalyst.explaining.attention import TokenAttention
from anomalyst.explaining.record import recorded

SENTENCES = (
    "Apple presents a new phone in the autumn",
    "she eats a sweet apple under the tree",
)
MARKS = ("[PAD]", "[CLS]", "[SEP]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallBertConfig:
    """What is built and how it is trained."""

    width: int = 128
    heads: int = 2
    layers: int = 2
    mlp: int = 256
    epochs: int = 10
    learning_rate: float = 2e-5  # of AdamW
    seed: int = 0


def train_small_bert(
    config: SmallBertConfig, on_epoch: Callable[[float], None] = lambda _: None
) -> tuple[BertModel, list[TokenAttention]]:
    """The model, and the attention of each sentence among its ten tokens."""
    words = sorted({word for text in SENTENCES for word in text.lower().split()})
    known = {word: number for number, word in enumerate((*MARKS, *words))}
    tokens = [("[CLS]", *text.lower().split(), "[SEP]") for text in SENTENCES]
    ids = torch.tensor([[known[token] for token in row] for row in tokens])  # (2, 10)
    torch.manual_seed(config.seed)
    model = BertModel(
        BertConfig(
            vocab_size=len(known), hidden_size=config.width, num_attention_heads=config.heads,
            num_hidden_layers=config.layers, intermediate_size=config.mlp,
            max_position_embeddings=ids.shape[1],
        )
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
    for _ in range(config.epochs):
        loss: Tensor = model(ids).last_hidden_state.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        on_epoch(float(loss.detach()))
    model.eval()
    with torch.no_grad(), recorded(model, attention=True) as record:
        model(ids)
    whole = torch.stack([one for _, one in record.layers()])  # (L, 2, heads, T, T)
    return model, [
        TokenAttention(
            title=text, weights=whole[:, number].numpy(), queries=tokens[number],
            keys=tokens[number],
        )
        for number, text in enumerate(SENTENCES)
    ]  # fmt: skip
