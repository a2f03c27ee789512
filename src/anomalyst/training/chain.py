"""A model as a chain of like blocks: what an engine must know to deal it to several processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

Figures = dict[str, Tensor]
Cut = Literal["columns", "rows"]  # a linear layer's outputs are dealt out, or its inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """How a task's loss is computed block by block; names are those in the task's module."""

    blocks: Mapping[str, nn.Module]  # in order, each (B, T, D) -> (B, T, D)
    width: int  # D
    after: tuple[str, ...]  # parts that only `finish` uses; what is in no block else, `begin` does
    linear: Mapping[str, Cut]  # of a block: its linear layers by name, and how each is dealt out
    aligned: Callable[..., list[Any]]  # micro-batches made equally long; and of a multiple of n
    places: Callable[[Any], tuple[int, int]]  # a micro-batch -> (B, T)
    begin: Callable[[Any], Tensor]  # a micro-batch -> what the first block reads, (B, T, D)
    run: Callable[..., Tensor]  # a block, what it reads, and its first place in the text
    finish: Callable[[Tensor, Any], Tensor]  # what the last block gave -> loss
    finish_part: Callable[
        [Tensor, Any, int], Tensor
    ]  # of a stretch of tokens: its part of the loss
    share_tokens: Callable[[nn.Module, Any], None]  # tell a block which group shares its tokens
