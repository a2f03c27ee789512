"""A taught product on an engine: its networks are written once, then read and run."""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from anomalyst.detection.detector import Detector, Evidence, Memory, evidence_of
from anomalyst.files import make_folder
from anomalyst.geometry import Placement
from anomalyst.runtime.engines import ENGINE_FOLDER, SUFFIX, BuiltEngine, Run, open_engine
from anomalyst.runtime.exporting import write_network
from anomalyst.runtime.graph import whole_inspection
from anomalyst.types import Features


class Compiled:
    """One product's networks, a tile each, on one engine."""

    def __init__(self, engine: BuiltEngine, paths: Sequence[Path], threads: int, bfloat16: bool):
        self.engine = engine
        self.tiles: list[Run] = [open_engine(p, threads, bfloat16=bfloat16) for p in paths]

    def look(
        self, canvases: Sequence[np.ndarray], placements: Sequence[Placement]
    ) -> tuple[list[Evidence], Features]:
        """One picture's tiles, uint8 (h, w, 3) each -> their evidence, and what words are shown."""
        found = [run(canvas[None]) for run, canvas in zip(self.tiles, canvases, strict=True)]
        evidence = [
            evidence_of(
                torch.from_numpy(one["logits"]),
                torch.from_numpy(one["map"]),
                torch.from_numpy(one["detail"]),
                placement,
            )
            for one, placement in zip(found, placements, strict=True)
        ]
        patches, embedding = (
            torch.from_numpy(np.concatenate([one[name] for one in found]))
            for name in ("patches", "embedding")
        )
        return evidence, Features([patches], embedding)


def networks_of(
    detector: Detector,
    memories: Sequence[Memory],
    canvas_hw: tuple[int, int],
    engine: BuiltEngine,
    folder: Path,
) -> list[Path]:
    """The networks of a product in `folder`/engines/ENGINE, written if they are not there.

    A product's folder is replaced whole when it is taught again, so what lies there is of it.
    """
    target = folder / ENGINE_FOLDER / engine
    names = [f"tile{tile}{SUFFIX[engine]}" for tile in range(len(memories))]
    if not all((target / name).is_file() for name in names):
        make_folder(target.parent)
        # Several processes may want them at once: each writes its own, the first one's stay.
        with tempfile.TemporaryDirectory(prefix=".part-", dir=target.parent) as part:
            written = Path(part) / engine
            for name, memory in zip(names, memories, strict=True):
                network = whole_inspection(detector, memory, canvas_hw)
                write_network(network, canvas_hw, written / name)
            with suppress(OSError):
                written.rename(target)
    return [target / name for name in names]


def compiled(
    detector: Detector,
    memories: Sequence[Memory],
    canvas_hw: tuple[int, int],
    engine: BuiltEngine,
    folder: Path | None,
    *,
    bfloat16: bool = False,
) -> Compiled:
    """A product on an engine; its networks are kept if it has a folder that may be written.

    `bfloat16`: quicker where the processor has it, but engines then compare patches in it, too,
    and scores differ by more than torch's (docs/benchmarks.md).
    """
    with tempfile.TemporaryDirectory(prefix="anomalyst-") as passing:
        built = folder is not None and (folder / ENGINE_FOLDER / engine).is_dir()
        kept = folder is not None and (built or os.access(folder, os.W_OK))
        place = folder if kept and folder is not None else Path(passing)
        paths = networks_of(detector, memories, canvas_hw, engine, place)
        return Compiled(engine, paths, torch.get_num_threads(), bfloat16)
