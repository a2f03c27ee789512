"""A drawn product as a data set in MVTec-AD layout, with the truth in words beside it."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_bytes, write_text
from anomalyst.synthetic.procedural.episode import (
    Truth,
    WorldConfig,
    defective_picture,
    normal_picture,
)
from anomalyst.synthetic.procedural.families import draw_product

Drawn = tuple[np.ndarray, np.ndarray, Truth]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetConfig:
    """How large the set is."""

    family: str
    seed: int = 0
    size_px: int = 320
    train: int = 20
    test_good: int = 10
    test_bad: int = 20
    suffix: str = ".png"  # .jpg is a tenth of the size


def write_dataset(folder: Path, config: SetConfig) -> None:
    """Draw one product of the family into `folder`: pictures, masks, index.csv, truth.json.

    The same config gives the same files. Raises AnomalystError if the folder holds something.
    """
    if folder.exists() and any(folder.iterdir()):
        raise AnomalystError(f"{folder}: holds files already; choose an empty place.")
    spec = draw_product(np.random.default_rng(config.seed), only=[config.family])
    rng = np.random.default_rng((config.seed, 1))
    rows: list[dict[str, str]] = []
    truths: dict[str, object] = {}
    for part, count in (("train/good", config.train), ("test/good", config.test_good)):
        for index in range(count):
            name = f"{part}/{index:03d}{config.suffix}"
            _write_picture(folder / name, normal_picture(spec, rng, config.size_px))
            rows.append({"file": name, "mask": ""})
    world = WorldConfig(size_px=config.size_px)
    for index in range(config.test_bad):
        picture, mask, truth = _seen(lambda: defective_picture(spec, rng, world))
        kind = truth.defects[0].kind.replace(" ", "_") if len(truth.defects) == 1 else "combined"
        name, mask_name = f"test/{kind}/{index:03d}", f"ground_truth/{kind}/{index:03d}_mask.png"
        _write_picture(folder / f"{name}{config.suffix}", picture)
        _write_picture(folder / mask_name, mask.astype(np.uint8) * 255)
        rows.append({"file": f"{name}{config.suffix}", "mask": mask_name})
        truths[f"{name}{config.suffix}"] = asdict(truth)
    text = io.StringIO()
    table = csv.DictWriter(text, ["file", "mask"], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(folder / "index.csv", text.getvalue())
    note = {"made_by": "anomalyst world", "config": asdict(config), "truth": truths}
    write_text(folder / "truth.json", json.dumps(note, indent=1) + "\n")


def _seen(draw: Callable[[], Drawn]) -> Drawn:
    """Draw until a defect can be seen: a set's defective pictures must be defective."""
    while True:
        picture, mask, truth = draw()
        if mask.any():
            return picture, mask, truth


def _write_picture(path: Path, picture: np.ndarray) -> None:
    pixels = picture if picture.ndim == 2 else picture[..., ::-1]
    write_bytes(path, cv2.imencode(path.suffix, pixels)[1].tobytes())
