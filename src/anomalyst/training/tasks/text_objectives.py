"""What BERT, GPT-2 and BART each learn from a text: token ids -> what is read, what is wanted."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

NOTHING = -100  # a label that does not count
MASKED, REPLACED, KEPT = 0.8, 0.1, 0.1  # what becomes of a word that is asked for


def masked_words(
    ids: Tensor,
    asked_from: Tensor,
    rng: np.random.Generator,
    *,
    mask: int,
    words: range,
    share: float = 0.15,
) -> tuple[Tensor, Tensor]:
    """What a masked language model reads and is asked: ids (B, T) -> read, labels, both (B, T).

    Of the places where `asked_from` (B, T) is true, each is asked for with probability `share`; of
    these 80 % become `mask`, 10 % a word at random of `words`, 10 % stay (Devlin et al. 2019,
    section 3.1). Where nothing is asked the label is NOTHING. A row that may be asked is asked for
    at least one word, or its loss would have no terms.
    """
    asked = torch.from_numpy(rng.random(ids.shape) < share) & asked_from
    for row in range(len(ids)):
        places = asked_from[row].nonzero()[:, 0]
        if len(places) and not asked[row].any():
            asked[row, places[int(rng.integers(len(places)))]] = True
    fate = torch.from_numpy(rng.random(ids.shape))
    read = torch.where(asked & (fate < MASKED), mask, ids)
    other = torch.from_numpy(rng.integers(words.start, words.stop, ids.shape))
    read = torch.where(asked & (fate >= MASKED) & (fate < MASKED + REPLACED), other, read)
    return read, torch.where(asked, ids, NOTHING)


def corrupted_spans(
    ids: Sequence[int],
    rng: np.random.Generator,
    *,
    mask: int,
    share: float = 0.3,
    mean_length: float = 3.0,
) -> list[int]:
    """A text in which spans are one mask each: BART's text infilling (Lewis et al. 2020, 2.2).

    Lengths are Poisson's with that mean; `share` of the tokens is hidden. A span of no token puts a
    mask between two. Spans do not touch, so every mask stands for one.
    """
    hidden = round(share * len(ids))
    lengths: list[int] = []
    while sum(lengths) < hidden:
        lengths.append(min(int(rng.poisson(mean_length)), hidden - sum(lengths)))
    lengths = lengths[: max(0, len(ids) - sum(lengths) + 1)]
    kept = len(ids) - sum(lengths)
    # Between `kept` tokens there are kept + 1 gaps; each takes at most one span.
    gaps = dict(zip(rng.permutation(kept + 1)[: len(lengths)].tolist(), lengths, strict=True))
    found: list[int] = []
    at = 0
    for gap in range(kept + 1):
        if gap in gaps:
            found.append(mask)
            at += gaps[gap]
        if gap < kept:
            found.append(ids[at])
            at += 1
    return found


def next_words(ids: Tensor, filling: Tensor) -> Tensor:
    """Labels of a causal language model, (B, T): the ids themselves, NOTHING where is filling.

    The model shifts them by one (Radford et al. 2019).
    """
    return ids.masked_fill(filling, NOTHING)


def filled(rows: Sequence[Sequence[int]], filling: int) -> Tensor:
    """Rows of different lengths as one tensor (B, T), `filling` behind them."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[filling] * (longest - len(row))] for row in rows])
