"""A stream of batches of episodes: drawn in worker processes, each used a few times.

A micro-batch is a function of the recipe, the step and its part of the step, so a resumed run draws
what the uninterrupted one would have drawn (the stores of past episodes, one for each part, are
filled again first, as far as fifty steps back), and so does a run of more processes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from anomalyst.synthetic.photographs import photograph_episode
from anomalyst.synthetic.procedural import Episode, WorldConfig, make_episode
from anomalyst.training.recipe import DetectorRecipe
from anomalyst.training.task import Share, prefetched

WHOLE = Share()
PHOTOGRAPH_LOT = 1  # keeps the lot apart from the numbers an episode is made of


@dataclass(slots=True)
class Batch:
    """Episodes as tensors: pixels in [0, 1], masks in {0, 1}."""

    references: Tensor  # (B, K, 3, S, S)
    query: Tensor  # (B, 3, S, S)
    mask: Tensor  # (B, 1, S, S)
    shown: int  # good pictures a query is compared with; 0: only with itself
    taught: Tensor | None = None  # a teacher's logits (Q, 1, S/4, S/4), where there is one


def drawn(recipe: DetectorRecipe, parts: int, step: int, part: int) -> tuple[Tensor, Tensor]:
    """The fresh episodes of a part of a step, uint8 ((n, K + 1, S, S, 3), (n, S, S))."""
    count = recipe.fresh_at(step, parts)
    world = replace(recipe.world, size_px=recipe.size_at(step))
    pictures, masks = [], []
    for offset in range(part * count, (part + 1) * count):
        episode = _episode(recipe, world, (recipe.seed, step, offset))
        pictures.append(np.concatenate([episode.query[None], episode.references]))
        masks.append(episode.mask)
    return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(masks))


def _episode(recipe: DetectorRecipe, world: WorldConfig, seed: tuple[int, int, int]) -> Episode:
    """Drawn, or on a photograph, by the seed's own lot."""
    if recipe.photograph_share == 0:
        return make_episode(seed, world)
    lot = np.random.default_rng((*seed, PHOTOGRAPH_LOT)).random()
    make = photograph_episode if lot < recipe.photograph_share else make_episode
    return make(seed, world)


def batches(recipe: DetectorRecipe, first_step: int = 0, share: Share = WHOLE) -> Iterator[Batch]:
    """The share's micro-batches of each step from `first_step` to the recipe's last."""
    # Enough past steps to have something to draw from again.
    begin = max(0, first_step - 50)
    chunks = prefetched(
        partial(drawn, recipe, share.of), range(begin, recipe.steps), share, recipe.workers
    )
    stores: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
    for index, (pictures, masks) in enumerate(chunks):
        step, part = begin + index // share.count, share.first + index % share.count
        store = stores.setdefault((recipe.size_at(step), part), [])
        store.extend(zip(pictures, masks, strict=True))
        del store[: max(0, len(store) - recipe.buffer_episodes // share.of)]
        if step >= first_step:
            yield _assemble(recipe, store, len(pictures), (step, part))


def _assemble(
    recipe: DetectorRecipe, store: list[tuple[Tensor, Tensor]], fresh: int, at: tuple[int, int]
) -> Batch:
    """A part's fresh episodes and past ones drawn by its own random numbers, augmented."""
    rng = np.random.default_rng((recipe.seed, at[0], (1 << 20) + at[1]))
    chosen = store[-fresh:]
    past = rng.integers(0, len(store), fresh * (recipe.reuse - 1))
    chosen = chosen + [store[int(i)] for i in past]
    pictures = torch.stack([p for p, _ in chosen]).permute(0, 1, 4, 2, 3).float() / 255
    masks = torch.stack([m for _, m in chosen])[:, None].float()
    shown = _shown(recipe, rng, pictures.shape[1] - 1)
    turns, flip = int(rng.integers(4)), rng.random() < 0.5
    pictures, masks = pictures.rot90(turns, (3, 4)), masks.rot90(turns, (2, 3))
    if flip:
        pictures, masks = pictures.flip(4), masks.flip(3)
    pictures = _recoloured(pictures, rng)
    query, references = pictures[:, 0].contiguous(), pictures[:, 1:].contiguous()
    return Batch(references, query, masks.contiguous(), shown)


def _shown(recipe: DetectorRecipe, rng: np.random.Generator, good: int) -> int:
    """How many good pictures the queries of a step are compared with."""
    draw = rng.random()
    if draw < recipe.alone_share:
        return 0
    return good if draw < recipe.alone_share + recipe.both_share else 1


def _recoloured(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Colour changes of a whole episode, and a slight exposure change of each picture."""
    batch, count = pictures.shape[:2]
    order = torch.from_numpy(np.stack([rng.permutation(3) for _ in range(batch)]))
    pictures = pictures.gather(
        2, order[:, None, :, None, None].expand(-1, count, -1, *pictures.shape[3:])
    )
    grey = torch.from_numpy(rng.random(batch) < 0.2)
    pictures[grey] = pictures[grey].mean(2, keepdim=True).expand_as(pictures[grey])
    inverse = torch.from_numpy(rng.random(batch) < 0.15)
    pictures[inverse] = 1 - pictures[inverse]
    gain = torch.from_numpy(rng.uniform(0.94, 1.06, (batch, count, 1, 1, 1))).float()
    return (pictures * gain).clamp_(0, 1)
