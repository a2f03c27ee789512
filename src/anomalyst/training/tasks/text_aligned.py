"""The text-aligned task: normal or damaged, told from one picture, in the space of a text tower.

It learns from the procedural world, or from the training pictures of sets: good ones, and
defective ones with masks as `anomalyst data synthesize` makes them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from anomalyst.backbones import fingerprint
from anomalyst.config import to_mapping
from anomalyst.datasets.reading import read_dataset
from anomalyst.datasets.splits import folds
from anomalyst.detection.classifiers.text_aligned import Shares, aligned_levels, fitting
from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import canvas_for, resize
from anomalyst.io.pictures import open_mask, open_picture, shrink_mask
from anomalyst.synthetic.procedural import WorldConfig, make_episode
from anomalyst.teaching.losses import dice_loss, focal_loss
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.data.procedural_calibration import HELD_OUT
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task, frozen_dtype, prefetched
from anomalyst.types import Sample
from anomalyst.vlm.text_aligned import WEIGHTS, fresh_decoder, image_tower, level_widths
from anomalyst.vlm.text_tower import TextTower, words_of

# Pixels (B, 3, H, W) in [0, 1], masks (B, 1, H, W), and the product's name for each.
Batch = tuple[Tensor, Tensor, tuple[str, ...]]
# A set and its category -> good pictures, and defective ones with masks.
Pictures = dict[str, tuple[list[Sample], list[Sample]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAlignedRecipe(Recipe):
    """Four linear layers on a frozen encoder; `batch` counts pictures."""

    task: Literal["text_aligned"] = "text_aligned"
    encoder: str = "embedded"  # or hf:DIR, an image tower
    text_tower: str = ""  # folder whose words are the two states; empty: these are learned vectors
    shares: Shares = field(default_factory=Shares)  # of words in the detector's map
    width: int = 64  # of the space that levels and states share, without a text tower
    data: tuple[str, ...] = ()  # sets whose training pictures are learnt from; empty: the world
    world: WorldConfig = field(
        default_factory=lambda: WorldConfig(size_px=160, references=(1, 1), anomalous_share=0.8)
    )


class TextAlignedTask(Task):
    """Pictures of drawn parts with their masks; the good pictures are not looked at."""

    def __init__(self, recipe: TextAlignedRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.encoder = image_tower(recipe.encoder, frozen_dtype(recipe))
        self.text = TextTower(recipe.text_tower) if recipe.text_tower else None
        self.states: dict[str, Tensor] = {}  # of each product met
        self.decoder = fresh_decoder(self.encoder, self.text, recipe.width)
        self.module: nn.Module = self.decoder
        self.leaves_out = self.text is not None  # the learned states
        hold_out = recipe.validate_every > 0
        self.shown, self.kept_back = pictures_of(recipe.data, recipe.seed, hold_out=hold_out)
        self.canvases_hw = {
            name: self._canvas_of(some[0]) for name, (some, _) in self.shown.items()
        }

    def _canvas_of(self, sample: Sample) -> tuple[int, int]:
        height, width = open_picture(sample.image).shape[:2]
        side = self.recipe.world.size_px
        return canvas_for((height, width), side, self.encoder.multiple_px)

    def batches(self, first_step: int, share: Share) -> Iterator[Batch]:
        """Batches of the share."""
        steps = range(first_step, self.recipe.steps)
        return prefetched(
            self._maker(self.recipe, self.shown, share), steps, share, self.recipe.workers
        )

    def held_out(self, share: Share, count: int) -> Iterator[Batch]:
        """Pictures of other seeds; of sets, the fifth that is never trained on."""
        other = replace(self.recipe, seed=self.recipe.seed + HELD_OUT)
        return prefetched(self._maker(other, self.kept_back, share), range(count), share, 0)

    def _maker(
        self, recipe: TextAlignedRecipe, pictures: Pictures, share: Share
    ) -> Callable[[int, int], Batch]:
        if not recipe.data:
            return partial(_drawn, recipe, share.of)
        return partial(_opened, recipe, pictures, self.canvases_hw, share.of)

    def amount(self, batch: Batch) -> dict[str, int]:
        """Pictures count."""
        return {"samples": len(batch[0])}

    def loss(self, batch: Batch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Focal and dice, of every level and so of their mean."""
        pixels, mask = (part.to(device) for part in batch[:2])
        with torch.no_grad():
            features = self.encoder.to(device)(fitting(pixels, self.encoder))
        levels = [level.float() for level in aligned_levels(features)]
        states = self._states(batch[2]).to(device) if self.text else None
        found = self.decoder.level_logits(levels, (mask.shape[-2], mask.shape[-1]), states)
        focal = torch.stack([focal_loss(x.float(), mask) for x in found]).mean()
        dice = torch.stack([dice_loss(x.float(), mask) for x in found]).mean()
        return focal * 4 + dice, {"focal": focal, "dice": dice}

    def _states(self, names: Sequence[str]) -> Tensor:
        """The two states of each picture's product, (B, 2, D)."""
        assert self.text is not None  # asked for with a text tower alone
        for name in names:
            if name not in self.states:
                self.states[name] = self.text.states(name).clone()  # no inference tensor
        return torch.stack([self.states[name] for name in names])

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """text_aligned.safetensors, as `vlm.text_aligned` reads it."""
        path = self.out / WEIGHTS
        recipe = self.recipe
        note = {
            "level_widths": level_widths(self.encoder),
            "width": self.decoder.states.shape[1],
            "standardised": self.decoder.standardised,
            "encoder": recipe.encoder,
            "text_tower": recipe.text_tower,
            "fingerprint": fingerprint(self.text.model) if self.text else "",
            "shares": to_mapping(recipe.shares),
        }
        write_weights(path, {f"text_aligned.{k}": v for k, v in average.items()}, note)
        return path


def _drawn(recipe: TextAlignedRecipe, parts: int, step: int, part: int) -> Batch:
    """The pictures of a part of a step."""
    count = recipe.batch // parts
    places = range(part * count, (part + 1) * count)
    drawn = [make_episode((recipe.seed, step, i), recipe.world) for i in places]
    return _stacked([(e.query, e.mask) for e in drawn], [e.truth.noun for e in drawn])


def pictures_of(sets: Sequence[str], seed: int, *, hold_out: bool) -> tuple[Pictures, Pictures]:
    """The training pictures of sets by category: (those that train, a fifth held out or none).

    Raises AnomalystError for a category without good pictures or without defective ones that
    have a mask.
    """
    shown, kept_back = Pictures(), Pictures()
    for root in sets:
        samples = [s for s in read_dataset(Path(root)) if s.split == "train" and s.label]
        for category in sorted({s.category for s in samples}):
            mine = [s for s in samples if s.category == category]
            good = [s for s in mine if s.label == "normal"]
            bad = [s for s in mine if s.mask is not None]
            if not good or not bad:
                raise AnomalystError(
                    f"{root}: {category!r} has {len(good)} good training pictures and {len(bad)} "
                    "defective ones with masks; some of each are needed. `anomalyst data "
                    "synthesize` makes them."
                )
            for some, number in ((good, 0), (bad, 1)):
                parts = folds(some, 5, seed) if hold_out else [[], some]
                for kept, part in ((kept_back, parts[:1]), (shown, parts[1:])):
                    pair = kept.setdefault(f"{root} {category}", ([], []))
                    pair[number].extend(s for samples in part for s in samples)
    return shown, kept_back


def _opened(
    recipe: TextAlignedRecipe,
    pictures: Pictures,
    canvases_hw: Mapping[str, tuple[int, int]],
    parts: int,
    step: int,
    part: int,
) -> Batch:
    """Pictures of one category, on a canvas of its first one's aspect."""
    rng = np.random.default_rng((recipe.seed, step, part))
    name = str(rng.choice(list(pictures)))
    (good, bad), canvas_hw = pictures[name], canvases_hw[name]
    found = []
    for _ in range(recipe.batch // parts):
        defective = rng.random() < recipe.world.anomalous_share
        some = bad if defective else good
        sample = some[int(rng.integers(len(some)))]
        picture = open_picture(sample.image)
        mask = np.zeros(canvas_hw, bool)
        if sample.mask is not None:
            truth = open_mask(sample.mask, (picture.shape[0], picture.shape[1]))
            mask = shrink_mask(truth, canvas_hw)
        found.append((resize(picture, canvas_hw), mask))
    return _stacked(found, [words_of(name.rpartition(" ")[2])] * len(found))


def _stacked(pairs: Sequence[tuple[np.ndarray, np.ndarray]], names: Sequence[str]) -> Batch:
    pixels = torch.from_numpy(np.stack([picture for picture, _ in pairs])).permute(0, 3, 1, 2)
    masks = torch.from_numpy(np.stack([mask for _, mask in pairs]))[:, None]
    return pixels.float() / 255, masks.float(), tuple(names)
