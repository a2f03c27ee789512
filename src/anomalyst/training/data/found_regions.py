"""Regions as the detector finds them on drawn parts, beside what is really there: on disk.

What a person clicks can be imitated; how the detector's map lies about a defect is better looked
at. Each episode is inspected once; a stopped gathering goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy import ndimage
from torch import Tensor

from anomalyst.backbones.embedded import load_embedded
from anomalyst.detection.detector import Detector
from anomalyst.detection.pair_decoder import load_decoder
from anomalyst.detection.regions import regions_for
from anomalyst.inspection.refining import prompt_of, view_of
from anomalyst.io.files import written_whole
from anomalyst.io.geometry import Box, Frame, resize
from anomalyst.synthetic.photographs import photograph_episode
from anomalyst.synthetic.procedural import Episode, WorldConfig, make_episode
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.teaching.references import with_copies
from anomalyst.types import Region

SHARD = 100  # episodes
MOST_REGIONS = 4  # of an episode
LEAST_CELLS = 6  # of a truth that is trained on
EPISODE_SEED = 1 << 43  # episodes that no other training draws


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRegionsConfig:
    """What is inspected."""

    episodes: int = 800
    share: float = 0.6  # of the steps that begin with a region; the others imitate a map
    photograph_share: float = 0.25  # of the episodes
    world: WorldConfig = field(
        default_factory=lambda: WorldConfig(
            size_px=320,
            references=(1, 3),
            anomalous_share=1.0,
            layout_share=0.15,
            without=HELD_OUT,
        )
    )


@dataclass(frozen=True, slots=True)
class FoundRegions:
    """Regions whose views have one size, as they prompt."""

    pixels: Tensor  # uint8 (N, H, W, 3)
    heat: Tensor  # uint8 (N, H / 2, W / 2): the map within the region's box
    truth: Tensor  # uint8 (N, H / 2, W / 2): 255 where a cell is all of the defect
    places: Tensor  # float32 (N, 3, 2): peak and corners of the box as shares of the view


COLUMNS = ("pixels", "heat", "truth", "places")  # of FoundRegions, in its order


def found_regions(
    folder: Path, config: FoundRegionsConfig, sizes_hw: Sequence[tuple[int, int]]
) -> list[FoundRegions]:
    """The regions of `config.episodes` inspections by size of their views; made where missing."""
    sizes = list(dict.fromkeys(sizes_hw))
    detector: Detector | None = None
    shards = []
    for start in range(0, config.episodes, SHARD):
        path = folder / f"regions-{start:06d}.safetensors"
        if not path.is_file():
            # Loading networks draws random numbers, which a run that goes on must not notice.
            with torch.random.fork_rng():
                detector = detector or Detector(load_embedded(), load_decoder())
                made = _shard(detector, config, range(start, start + SHARD), sizes)
            with written_whole(path) as part:
                save_file(made, part)
        shards.append(load_file(path))
    return [
        FoundRegions(*(torch.cat([one[f"{name}{index}"] for one in shards]) for name in COLUMNS))
        for index in range(len(sizes))
    ]


def _shard(
    detector: Detector,
    config: FoundRegionsConfig,
    numbers: range,
    sizes: Sequence[tuple[int, int]],
) -> dict[str, Tensor]:
    rows: list[list[tuple[np.ndarray, ...]]] = [[] for _ in sizes]
    for number in numbers:
        episode = _episode(config, number)
        heat = _inspected(detector, episode)
        for region in regions_for(heat, "anomalous")[:MOST_REGIONS]:
            index, row = _looked_at(episode, heat, region, sizes)
            if row is not None:
                rows[index].append(row)
    made = {}
    for index, (size_hw, some) in enumerate(zip(sizes, rows, strict=True)):
        height, width = size_hw
        empty = (
            np.zeros((0, height, width, 3), np.uint8),
            *(np.zeros((0, height // 2, width // 2), np.uint8) for _ in range(2)),
            np.zeros((0, 3, 2), np.float32),
        )
        columns = [np.stack(column) for column in zip(*some, strict=True)] if some else empty
        for name, column in zip(COLUMNS, columns, strict=True):
            made[f"{name}{index}"] = torch.from_numpy(column)
    return made


def _episode(config: FoundRegionsConfig, number: int) -> Episode:
    seed = (EPISODE_SEED, number)
    lot = np.random.default_rng((*seed, 1)).random()
    if lot < config.photograph_share:
        return photograph_episode(seed, replace(config.world, references=(1, 2)))
    return make_episode(seed, config.world)


@torch.inference_mode()
def _inspected(detector: Detector, episode: Episode) -> np.ndarray:
    """The map (H, W) of an episode's query beside its good pictures."""
    query, good = episode.query, list(episode.references)
    frame = Frame.of(query.shape[:2], detector.encoder.side_px, detector.encoder.multiple_px)
    canvases = [frame.cut(one).canvases[0] for one in good]
    memory = detector.remember(with_copies(detector, detector.encode(canvases), canvases))
    views = frame.cut(query)
    evidence = detector.judge(detector.encode(views.canvases), memory, views.placements[0])
    return views.join([evidence.map])


def _looked_at(
    episode: Episode, heat: np.ndarray, region: Region, sizes: Sequence[tuple[int, int]]
) -> tuple[int, tuple[np.ndarray, ...] | None]:
    """Which size a region's view has, and its row; no row where nothing is wrong there."""
    x0, y0, x1, y1 = region.box_xyxy
    labels, _ = ndimage.label(episode.mask, np.ones((3, 3)))
    touched = np.unique(labels[y0:y1, x0:x1])
    truth = np.isin(labels, touched[touched > 0])
    view = view_of(region.box_xyxy, heat.shape)
    wide = (view[2] - view[0]) / (view[3] - view[1])
    index = int(np.argmin([abs(np.log(w / h / wide)) for h, w in sizes]))
    view = _of_aspect(view, sizes[index], heat.shape)
    height, width = sizes[index]
    cut = np.s_[view[1] : view[3], view[0] : view[2]]
    cells = (height // 2, width // 2)
    asked = prompt_of(region, heat)
    assert asked.mask is not None
    shown = resize(truth[cut].astype(np.uint8) * 255, cells)
    if (shown > 127).sum() < LEAST_CELLS:
        return index, None
    span = np.array([view[2] - view[0], view[3] - view[1]])
    places = np.array([*asked.points_xy, (x0, y0), (x1, y1)], np.float32)
    return index, (
        resize(np.ascontiguousarray(episode.query[cut]), sizes[index]),
        resize((asked.mask[cut] * 255).round().astype(np.uint8), cells),
        shown,
        ((places - view[:2]) / span).clip(0, 1).astype(np.float32),
    )


def _of_aspect(view: Box, size_hw: tuple[int, int], picture_hw: tuple[int, ...]) -> Box:
    """The view made larger along one side, as far as the picture goes."""
    x0, y0, x1, y1 = view
    wide = size_hw[1] / size_hw[0]
    more_x = max(0, round(((y1 - y0) * wide - (x1 - x0)) / 2))
    more_y = max(0, round(((x1 - x0) / wide - (y1 - y0)) / 2))
    return (
        max(0, x0 - more_x),
        max(0, y0 - more_y),
        min(picture_hw[1], x1 + more_x),
        min(picture_hw[0], y1 + more_y),
    )
