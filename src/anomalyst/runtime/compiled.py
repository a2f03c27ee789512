"""A taught product on an engine: its networks are written once, then read and run."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

from anomalyst.config import to_mapping
from anomalyst.detection.detector import Detector
from anomalyst.detection.pose import Shown
from anomalyst.detection.scoring import Evidence, evidence_of
from anomalyst.io.files import make_folder
from anomalyst.product import Product
from anomalyst.runtime.engines import ENGINE_FOLDER, SUFFIX, BuiltEngine, Run, open_engine
from anomalyst.runtime.exporting import write_network
from anomalyst.runtime.graph import whole_inspection
from anomalyst.types import Features
from anomalyst.version import __version__


class Compiled:
    """One product's networks, a tile each, on one engine."""

    def __init__(self, engine: BuiltEngine, paths: Sequence[Path], threads: int, bfloat16: bool):
        self.engine = engine
        self.tiles: list[Run] = [open_engine(p, threads, bfloat16=bfloat16) for p in paths]

    def look(
        self, canvases: Sequence[np.ndarray], placements: Sequence[Shown]
    ) -> tuple[list[Evidence], Features]:
        """One picture's tiles, uint8 (h, w, 3) each -> their evidence, and what words are shown."""
        found = [run(canvas[None]) for run, canvas in zip(self.tiles, canvases, strict=True)]
        evidence = [
            evidence_of(
                torch.from_numpy(one["logits"]),
                torch.from_numpy(one["map"]),
                torch.from_numpy(one["detail"]),
                torch.from_numpy(one["frozen"]),
                placement,
            )
            for one, placement in zip(found, placements, strict=True)
        ]
        patches, embedding = (
            torch.from_numpy(np.concatenate([one[name] for one in found]))
            for name in ("patches", "embedding")
        )
        return evidence, Features([patches], embedding)


def network_key(detector: Detector, product: Product) -> str:
    """Sixteen hex digits of all that the networks of a product are made of.

    Weights, good pictures, head, frame, settings of the detector, and our version: networks of
    another key are of another product, or of this one before it was taught again.
    """
    assert product.frame is not None  # a taught product has one
    settings = [__version__, product.fingerprint, product.frame.canvas_hw]
    said = json.dumps([*settings, to_mapping(detector.config)], default=str)
    digest = hashlib.sha256(said.encode())
    for name, value in sorted(product.head.items()):
        digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    if product.rule and product.rule.shares:
        digest.update(json.dumps(product.rule.shares).encode())
    for tile in product.features:
        for level in (*tile.levels, *tile.frozen):
            digest.update(level.half().numpy().tobytes())  # as they are saved
    return digest.hexdigest()[:16]


@contextmanager
def built_networks(
    detector: Detector, product: Product, key: str, engine: BuiltEngine
) -> Iterator[list[Path]]:
    """The files of a product's networks, a tile each, written if they are not there yet.

    They stay in the product's folder, `engines/ENGINE-KEY`; of a product that has none, or one that
    may not be written, they are gone when the block ends.
    """
    with tempfile.TemporaryDirectory(prefix="anomalyst-") as passing:
        names = [f"tile{tile}{SUFFIX[engine]}" for tile in range(len(product.features))]
        kept = None if product.folder is None else product.folder / ENGINE_FOLDER
        target = (kept or Path(passing)) / f"{engine}-{key}"
        if kept is not None and not _complete(target, names) and not _writable(kept):
            target = Path(passing) / target.name
        if not _complete(target, names):
            _write(detector, product, target, names)
        yield [target / name for name in names]


def _write(detector: Detector, product: Product, target: Path, names: Sequence[str]) -> None:
    assert product.frame is not None
    make_folder(target.parent)
    # Several processes may want them at once: each writes its own, the last one's stay.
    with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as part:
        written = Path(part) / target.name
        for name, memory in zip(names, product.memories, strict=True):
            network = whole_inspection(detector, memory, product.frame.canvas_hw)
            write_network(network, product.frame.canvas_hw, written / name)
        engine = target.name.partition("-")[0]
        for old in target.parent.glob(f"{engine}-*"):  # of before, or incomplete
            shutil.rmtree(old, ignore_errors=True)
        with suppress(OSError):  # another process was quicker: the same networks
            written.rename(target)


def _complete(target: Path, names: Sequence[str]) -> bool:
    files = [target / name for name in names]
    files += [path.with_suffix(".bin") for path in files if path.suffix == ".xml"]
    return all(path.is_file() for path in files)


def _writable(folder: Path) -> bool:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return os.access(existing, os.W_OK)


def compiled(
    detector: Detector, product: Product, key: str, engine: BuiltEngine, *, bfloat16: bool = False
) -> Compiled:
    """A product on an engine; `product.memories` must be there.

    `bfloat16`: quicker where the processor has it, but engines then compare patches in it, too,
    and scores differ by more than torch's (docs/benchmarks.md).
    """
    with built_networks(detector, product, key, engine) as paths:
        return Compiled(engine, paths, torch.get_num_threads(), bfloat16)
