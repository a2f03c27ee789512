"""What the embedded inspector sees of drawn products, kept on disk: what words are learnt from.

An episode costs a third of a second to draw and to inspect, and words are read from it many times,
so each is looked at once. Shards of safetensors; a stopped gathering goes on.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from anomalyst.backbones.embedded import load_embedded
from anomalyst.config import from_mapping
from anomalyst.detection.classifiers.defect_types import region_look
from anomalyst.detection.classifiers.kinds import KIND_OF, KINDS
from anomalyst.detection.detector import Detector
from anomalyst.detection.pair_decoder import load_decoder
from anomalyst.detection.regions import box_iou, regions_for
from anomalyst.io.files import written_whole
from anomalyst.io.geometry import Frame
from anomalyst.synthetic.procedural import Episode, WorldConfig, make_episode
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.teaching.references import with_copies
from anomalyst.training.recipe import Recipe
from anomalyst.types import Region

CACHE_SEED = 1 << 41  # episodes of the cache; the detector was never trained on these
SHARD = 250  # episodes
MAP_PX = 64  # side of the maps kept
PICTURED = ("map", "embedding", "patches")  # of a look, kept as tensors
CROPPED = ("pixels", "maps", "details", "figures", "kinds")  # of the regions
KNOWN = ("family", "colours", "anomalous")  # and as JSON, beside its regions


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureCacheRecipe(Recipe):
    """What a task has that learns from looks."""

    looks: str = ""  # folder of looks that are there or will be; empty: `looks` in the run's folder
    episodes: int = 4000  # to look at, where the folder has fewer
    world: WorldConfig = field(
        default_factory=lambda: WorldConfig(
            size_px=256, references=(1, 1), anomalous_share=0.7, without=HELD_OUT
        )
    )

    def feature_folder(self, out: Path) -> Path:
        """The folder of looks, filled where it has too few; `out`: the run's folder."""
        folder = Path(self.looks) if self.looks else out / "looks"
        # Looking loads networks, which draws random numbers: a run that had to look must not begin
        # with other new weights than one that found the looks there.
        with torch.random.fork_rng():
            fill_cache(folder, self.world, self.episodes)
        return folder


@dataclass(slots=True)
class CachedFeatures:
    """One episode as the inspector saw it."""

    map: Tensor  # (1, 64, 64) in [0, 1]
    embedding: Tensor  # (D,)
    patches: Tensor  # (D', 4, 4): the coarsest level, pooled
    regions: tuple[Region, ...]  # as an "anomalous" verdict would name them
    family: str
    colours: tuple[str, ...]
    anomalous: bool


# Features, and of each region on a defect what the kind classifier sees, and its kind.
Extracted = tuple[CachedFeatures, list[tuple[Tensor, ...]], list[int]]


class FeatureExtractor:
    """The embedded detector beside one good picture, as an inspection uses it: episode -> seen."""

    def __init__(self) -> None:
        self.detector = Detector(load_embedded(), load_decoder())

    @torch.inference_mode()
    def __call__(self, episode: Episode) -> Extracted:
        """What is seen beside the episode's first good picture."""
        query, good = episode.query, list(episode.references[:1])
        frame = Frame.of(query.shape[:2], query.shape[0], self.detector.encoder.multiple_px)
        views = frame.cut(query)
        memory = self.detector.remember(
            with_copies(self.detector, self.detector.encode(good), good)
        )
        features = self.detector.encode(views.canvases)
        evidence = self.detector.judge(features, memory, views.placements[0])
        regions = regions_for(views.join([evidence.map]), "anomalous")
        look = CachedFeatures(
            map=F.adaptive_avg_pool2d(torch.from_numpy(evidence.map)[None], MAP_PX),
            embedding=features.embedding[0],
            patches=F.adaptive_avg_pool2d(features.levels[2], 4)[0],
            regions=regions,
            family=episode.truth.family,
            colours=episode.truth.colours,
            anomalous=bool(episode.mask.any()),
        )
        seen: list[tuple[Tensor, ...]] = []
        kinds: list[int] = []
        for region in regions[:5]:
            kind = true_kind(region, episode)
            found = region_look(region, views, [evidence])
            if kind is not None and found is not None:
                seen.append(found)
                kinds.append(KINDS.index(kind))
        return look, seen, kinds


def true_kind(region: Region, episode: Episode) -> str | None:
    """The kind of the defect that a region lies on most; None if it lies on none."""
    x0, y0, x1, y1 = region.box_xyxy
    if not episode.mask[y0:y1, x0:x1].any():
        return None
    overlaps = [(box_iou(region.box_xyxy, d.box_xyxy), d.kind) for d in episode.truth.defects]
    best, kind = max(overlaps, default=(0.0, ""))
    return KIND_OF[kind] if best > 0.05 else None


def fill_cache(folder: Path, world: WorldConfig, count: int, *, seed: int = CACHE_SEED) -> None:
    """Look at `count` episodes and keep what is seen; shards that are in `folder` are kept."""
    extractor: FeatureExtractor | None = None
    for start in range(0, count, SHARD):
        path = folder / f"looks-{start:06d}.safetensors"
        if path.exists():
            continue
        extractor = extractor or FeatureExtractor()
        looks, seen, kinds = [], [], []
        for index in range(start, min(count, start + SHARD)):
            look, some, named = extractor(make_episode(seed + index, world))
            looks.append(look)
            seen += some
            kinds += named
        write_shard(path, looks, seen, kinds)


def write_shard(
    path: Path, looks: list[CachedFeatures], seen: list[tuple[Tensor, ...]], kinds: list[int]
) -> None:
    """One shard, whole: pictures in half precision, crops in 8 bit."""
    tensors: dict[str, Tensor] = {}
    if looks:
        for name in PICTURED:
            tensors[name] = torch.stack([getattr(look, name) for look in looks]).half()
    if seen:
        pixels, maps, details, figures = (torch.cat(part) for part in zip(*seen, strict=True))
        held = (pixels.round().byte(), maps.half(), details.half(), figures, torch.tensor(kinds))
        tensors |= zip(CROPPED, held, strict=True)
    known = [
        {"regions": [asdict(region) for region in look.regions]}
        | {name: getattr(look, name) for name in KNOWN}
        for look in looks
    ]
    with written_whole(path) as part:
        save_file(tensors, part, {"format": "pt", "looks": json.dumps(known)})


def read_features(folder: Path) -> list[CachedFeatures]:
    """All looks of a folder, in order."""
    return [
        CachedFeatures(
            map=tensors["map"][index].float(),
            embedding=tensors["embedding"][index].float(),
            patches=tensors["patches"][index].float(),
            regions=tuple(from_mapping(Region, region) for region in one["regions"]),
            family=one["family"],
            colours=tuple(one["colours"]),
            anomalous=one["anomalous"],
        )
        for tensors, known in _shards(folder)
        for index, one in enumerate(known)
    ]


def read_crops(folder: Path) -> dict[str, Tensor]:
    """What the kind classifier learns from: pixels, maps, details, figures, kinds."""
    shards = [tensors for tensors, _ in _shards(folder) if "kinds" in tensors]
    return {name: torch.cat([tensors[name] for tensors in shards]) for name in CROPPED}


def _shards(folder: Path) -> Iterator[tuple[dict[str, Tensor], list[dict[str, Any]]]]:
    for path in sorted(folder.glob("looks-*.safetensors")):
        with safe_open(str(path), framework="pt") as file:
            yield (
                {name: file.get_tensor(name) for name in file.keys()},  # noqa: SIM118
                json.loads(file.metadata()["looks"]),
            )
