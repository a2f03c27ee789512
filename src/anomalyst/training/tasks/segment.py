"""The segment task: Segment Anything on drawn pictures, of which every mask is known.

Kirillov et al., ICCV 2023 (arXiv:2304.02643), appendix A: focal and dice loss 20 : 1, of three
masks the best one is trained, and rounds of clicks from errors, eleven at most.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from anomalyst.backbones.drawn_senses import load_drawn_senses
from anomalyst.backbones.embedded import load_embedded, read_weights
from anomalyst.segmentation.network import (
    Encoded,
    FrozenImageEncoder,
    SegmentConfig,
    SegmentNetwork,
)
from anomalyst.segmentation.prompt_encoder import CORNER, ON, OTHER_CORNER, PromptTokens
from anomalyst.segmentation.small import FROZEN, TENSORS
from anomalyst.segmentation.soft_masks import as_logits
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.data.found_regions import (
    FoundRegions,
    FoundRegionsConfig,
    found_regions,
)
from anomalyst.training.data.simulated_prompts import (
    BOX_JITTER,
    anomaly_map,
    as_region,
    box_of,
    click_from_error,
    no_place,
    random_click,
    so_far,
)
from anomalyst.training.data.views import ViewConfig, draw_view
from anomalyst.training.recipe import Recipe
from anomalyst.training.task import Share, Task, frozen_dtype, prefetched

MOST_ROUNDS = 11
FOCUS = 2.0  # gamma of the focal loss (Lin et al., ICCV 2017, eq. 4)
FOCAL_TO_DICE = 20.0
Asked = Literal["point", "box", "region", "words"]
ASKED: tuple[Asked, ...] = ("point", "box", "region", "words")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecipe(Recipe):
    """The segmenter; `batch` counts views."""

    task: Literal["segment"] = "segment"
    masks: int = 4  # of each view
    rounds: int = MOST_ROUNDS  # most of a step: a first prompt, then clicks
    more_rounds: float = 0.6  # chance of each round after the first
    shares: tuple[float, float, float, float] = (0.3, 0.2, 0.4, 0.1)  # point, box, region, words
    views: ViewConfig = field(default_factory=ViewConfig)
    found: FoundRegionsConfig = field(default_factory=FoundRegionsConfig)
    model: SegmentConfig = field(default_factory=SegmentConfig)

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= MOST_ROUNDS:
            raise ValueError(f"rounds is {self.rounds}; 1 to {MOST_ROUNDS}")
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ValueError(f"shares add up to {sum(self.shares):g}; 1 is needed")


class SegmentTask(Task):
    """Views of a step, prompted as people and the detector would."""

    leaves_out = True  # a step without words does not train what reads them

    def __init__(self, recipe: SegmentRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.network = SegmentNetwork(recipe.model)
        if isinstance(self.network.image, FrozenImageEncoder):
            self.network.image.encoder = load_embedded(dtype=frozen_dtype(recipe))
        if recipe.initial:
            start_from(self.network, Path(recipe.initial))
        self.module: nn.Module = self.network

    @cached_property
    def tower(self) -> Any:
        """The text tower, read when words are first asked."""
        return load_drawn_senses()

    @cached_property
    def regions(self) -> list[FoundRegions]:
        """What the detector finds, inspected before the first step that asks by it."""
        return found_regions(self.out / "regions", self.recipe.found, self.recipe.views.views_hw)

    def asked_at(self, step: int) -> tuple[Asked, int]:
        """How a step begins, and how many rounds it has."""
        rng = np.random.default_rng((self.recipe.seed, step, 7))
        asked = ASKED[int(rng.choice(len(ASKED), p=self.recipe.shares))]
        more = int(rng.geometric(1 - self.recipe.more_rounds)) - 1
        return asked, 1 + min(more, self.recipe.rounds - 1)

    def batches(self, first_step: int, share: Share) -> Iterator[dict[str, Any]]:
        """Views of every step, drawn in worker processes by the step's own numbers."""
        if self.recipe.found.episodes:
            _ = self.regions  # before there are workers, who would each inspect
        make = partial(self._micro_batch, share.of)
        yield from prefetched(
            make, range(first_step, self.recipe.steps), share, self.recipe.workers
        )

    def _by_found_regions(self, step: int) -> bool:
        lot = np.random.default_rng((self.recipe.seed, step, 8)).random()
        found = self.recipe.found
        wanted = self.asked_at(step)[0] == "region" and found.episodes > 0
        return wanted and lot < found.share

    def _found(self, parts: int, step: int, part: int) -> dict[str, Any]:
        """Regions of inspections, each with its own view."""
        recipe = self.recipe
        # Of two sizes of one aspect the first has all of its regions.
        filled = [one for one in self.regions if len(one.pixels)]
        kept = filled[step % len(filled)]
        rng = np.random.default_rng((recipe.seed, step, 9))
        rows = rng.integers(len(kept.pixels), size=recipe.batch * recipe.masks)[part::parts]
        turns, flip = 2 * int(rng.integers(2)), bool(rng.integers(2))
        return {
            "pixels": _turned(kept.pixels[rows], turns, flip),
            "masks": _turned(kept.truth[rows], turns, flip)[:, None],
            "heat": _turned(kept.heat[rows], turns, flip),
            "places": _moved(kept.places[rows], turns, flip),
            "names": [],
            "step": step,
        }

    def _micro_batch(self, parts: int, step: int, part: int) -> dict[str, Any]:
        recipe = self.recipe
        if self._by_found_regions(step):
            return self._found(parts, step, part)
        view_hw = recipe.views.views_hw[step % len(recipe.views.views_hw)]
        named = self.asked_at(step)[0] == "words"
        drawn = [
            draw_view((recipe.seed, step, number), recipe.views, view_hw, recipe.masks, named=named)
            for number in range(part, recipe.batch, parts)
        ]
        return {
            "pixels": torch.from_numpy(np.stack([one.pixels for one in drawn])),
            "masks": torch.from_numpy(np.stack([one.masks for one in drawn])),
            "names": [name for one in drawn for name in one.names],
            "step": step,
        }

    def amount(self, batch: dict[str, Any]) -> dict[str, int]:
        """Views count."""
        return {"samples": len(batch["pixels"])}

    def loss(self, batch: dict[str, Any], device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean over the rounds; `iou` of the first and of the last beside it."""
        pixels = batch["pixels"].to(device).permute(0, 3, 1, 2).float() / 255
        truth = batch["masks"].to(device).flatten(0, 1).float() / 255  # (P, h, w)
        masks = batch["masks"].shape[1]
        rows = torch.arange(len(pixels), device=device).repeat_interleave(masks)
        seen = self.network.encode(pixels).rows(rows)
        asked, rounds = self.asked_at(batch["step"])
        prompts = (
            _as_found(batch["places"].to(device), batch["heat"].to(device))
            if "heat" in batch
            else self._first(asked, truth, batch["names"])
        )
        losses, fits = [], []
        for index in range(rounds):
            several = index == 0 and asked in ("point", "words")
            loss, best = self._round(seen, prompts, truth, several=several)
            losses.append(loss)
            fits.append(overlap(best[:, 0] > 0, truth > 0.5).mean())
            prompts = _clicked(prompts, best, truth)
        asked_by = "found" if "heat" in batch else asked
        parts = {f"iou_{asked_by}": fits[0]}
        if rounds > 1:
            parts["iou_gained"] = (fits[-1] - fits[0]) / (rounds - 1)  # by each click
        return torch.stack(losses).mean(), parts

    def _first(self, asked: Asked, truth: Tensor, names: list[str]) -> PromptTokens:
        """What a person, or the detector, says first."""
        solid, count = truth > 0.5, len(truth)
        solid = torch.where(solid.flatten(1).any(1)[:, None, None], solid, truth > 0)
        nowhere, nothing = no_place(count, truth.device)
        if asked == "words":
            vectors = self.tower.embed("text", names).to(truth)
            return PromptTokens(nowhere, nothing, words=vectors)
        if asked == "box":
            return PromptTokens(*box_of(solid, BOX_JITTER))
        if asked == "region":
            places, kinds, logits = as_region(anomaly_map(truth))
            return PromptTokens(places, kinds, logits)
        at = random_click(solid)[:, None]
        return PromptTokens(
            torch.cat([at, nowhere], 1), torch.cat([torch.full_like(nothing, ON), nothing], 1)
        )

    def _round(
        self, seen: Encoded, prompts: PromptTokens, truth: Tensor, *, several: bool
    ) -> tuple[Tensor, Tensor]:
        """The loss of one answer to each prompt, and that answer (P, 1, h, w)."""
        masks, quality = (one.float() for one in self.network.decode(seen, prompts))
        wanted = truth[:, None].expand_as(masks)
        fit = FOCAL_TO_DICE * focal(masks, wanted) + dice(masks, wanted)  # (P, 1 + MASKS)
        lowest, best = fit[:, 1:].min(1)
        real = overlap(masks.detach() > 0, wanted > 0.5)
        judged = (quality - real).square().mean()
        # Both kinds of answer learn from every prompt: half of the network would else idle.
        picked = best + 1 if several else torch.zeros_like(best)
        at = picked[:, None, None, None].expand(-1, 1, *masks.shape[2:])
        return (lowest + fit[:, 0]).mean() / 2 + judged, masks.gather(1, at)

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """segment.safetensors: everything but the frozen encoder, which ships with the detector."""
        path = self.out / "segment.safetensors"
        tensors = {
            f"{TENSORS}.{name}": value
            for name, value in average.items()
            if not name.startswith(FROZEN)
        }
        write_weights(path, tensors, {"model": asdict(self.recipe.model)})
        return path


def start_from(network: SegmentNetwork, path: Path) -> None:
    """Begin with a segmenter's weights, or with the image encoder of a masked autoencoder."""
    names = load_file(path)
    if any(name.startswith("mae.") for name in names):
        own = {n.removeprefix("mae.encoder."): t.float() for n, t in names.items()}
        encoder = {n: t for n, t in own.items() if not n.startswith("mae.")}
        missing, surplus = network.image.load_state_dict(encoder, strict=False)
        beside = [n for n in missing if not n.startswith(("wider", "joined"))]
        assert not surplus and not beside, (surplus, beside)
        return
    tensors, _ = read_weights(path, TENSORS)
    network.load_state_dict(tensors, strict=False)


def focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Focal loss, mean over pixels: (P, M, h, w) -> (P, M) (Lin et al., ICCV 2017, eq. 4)."""
    plain = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    said = logits.sigmoid()
    missed = said * (1 - wanted) + (1 - said) * wanted
    return (missed**FOCUS * plain).flatten(2).mean(2)


def dice(logits: Tensor, wanted: Tensor) -> Tensor:
    """1 - dice, (P, M, h, w) -> (P, M) (Milletari et al., 3DV 2016, eq. 3; plain sums below)."""
    said = logits.sigmoid()
    both = (said * wanted).flatten(2).sum(2)
    sums = said.flatten(2).sum(2) + wanted.flatten(2).sum(2)
    return 1 - (2 * both + 1) / (sums + 1)


def overlap(said: Tensor, wanted: Tensor) -> Tensor:
    """Intersection over union of bool (..., h, w) -> (...); 1 where both are empty."""
    both = (said & wanted).flatten(-2).sum(-1).float()
    either = (said | wanted).flatten(-2).sum(-1).float()
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def _as_found(places: Tensor, heat: Tensor) -> PromptTokens:
    """Regions of inspections: places (P, 3, 2), maps uint8 (P, h, w)."""
    kinds = torch.tensor([ON, CORNER, OTHER_CORNER], device=places.device).expand(len(places), -1)
    return PromptTokens(places, kinds, as_logits(heat[:, None].float() / 255))


def _turned(pictures: Tensor, turns: int, flip: bool) -> Tensor:
    """(N, H, W, ...) turned by so many right angles and perhaps mirrored."""
    found = pictures.rot90(turns, (1, 2)) if turns else pictures
    return (found.flip(2) if flip else found).contiguous()


def _moved(places: Tensor, turns: int, flip: bool) -> Tensor:
    """Peak and corners (N, 3, 2) where `_turned` by half a turn, or not, puts them."""
    found = 1 - places if turns else places.clone()
    if flip:
        found[..., 0] = 1 - found[..., 0]
    low, high = found[:, 1:].amin(1), found[:, 1:].amax(1)
    return torch.stack([found[:, 0], low, high], 1)


def _clicked(prompts: PromptTokens, best: Tensor, truth: Tensor) -> PromptTokens:
    """The same prompts, the answer so far, and one click more."""
    place, kind = click_from_error(best[:, 0] > 0, truth > 0.5)
    return PromptTokens(
        torch.cat([place[:, None], prompts.places_xy], 1),
        torch.cat([kind[:, None], prompts.kinds], 1),
        so_far(best),
        prompts.words,
    )
