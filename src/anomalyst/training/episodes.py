"""A stream of batches of episodes: drawn in worker processes, each used a few times.

Batch `step` is a function of the recipe and of the step alone, so a resumed run draws what the
uninterrupted one would have drawn (the store of past episodes is filled again first, as far as
fifty steps back).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from anomalyst.synthesis.world import at_size, make_episode
from anomalyst.training.recipe import DetectorRecipe


@dataclass(slots=True)
class Batch:
    """Episodes as tensors: pixels in [0, 1], masks in {0, 1}."""

    references: Tensor  # (B, K, 3, S, S)
    query: Tensor  # (B, 3, S, S)
    mask: Tensor  # (B, 1, S, S)
    shown: int  # good pictures a query is compared with; 0: only with itself


class _Drawn(Dataset[tuple[Tensor, Tensor]]):
    """Chunk i: the fresh episodes of step i, uint8 ((n, K + 1, S, S, 3), (n, S, S))."""

    def __init__(self, recipe: DetectorRecipe, first_step: int):
        self.recipe, self.first_step = recipe, first_step

    def __len__(self) -> int:
        return self.recipe.steps - self.first_step

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        cv2.setNumThreads(0)
        step = self.first_step + index
        recipe = self.recipe
        world = at_size(recipe.world, recipe.size_at(step))
        pictures, masks = [], []
        for offset in range(recipe.fresh_at(step)):
            episode = make_episode((recipe.seed, step, offset), world)
            pictures.append(np.concatenate([episode.query[None], episode.references]))
            masks.append(episode.mask)
        return torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(masks))


def batches(recipe: DetectorRecipe, first_step: int = 0) -> Iterator[Batch]:
    """One batch per step from `first_step` to the recipe's last."""
    # Enough past steps to have something to draw from again.
    begin = max(0, first_step - 50)
    loader = DataLoader(
        _Drawn(recipe, begin),
        batch_size=None,
        num_workers=recipe.workers,
        prefetch_factor=8 if recipe.workers else None,
    )
    stores: dict[int, list[tuple[Tensor, Tensor]]] = {size: [] for size in recipe.sizes_px}
    for step, (pictures, masks) in enumerate(loader, start=begin):
        store = stores[recipe.size_at(step)]
        store.extend(zip(pictures, masks, strict=True))
        del store[: max(0, len(store) - recipe.buffer_episodes)]
        if step >= first_step:
            yield _assemble(recipe, store, len(pictures), step)


def _assemble(
    recipe: DetectorRecipe, store: list[tuple[Tensor, Tensor]], fresh: int, step: int
) -> Batch:
    """The step's fresh episodes and past ones drawn by its own random numbers, augmented."""
    rng = np.random.default_rng((recipe.seed, step, 1 << 20))
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
