"""A drawn product as a data set in MVTec-AD layout, with the truth in words beside it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_bytes, write_csv, write_text
from anomalyst.io.pictures import encoded
from anomalyst.synthetic.procedural.episode import (
    Truth,
    WorldConfig,
    defective_picture,
    normal_picture,
)
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.procedural.product import ProductSpec
from anomalyst.synthetic.sampling import Rng


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
            picture = normal_picture(spec, rng, config.size_px)
            write_bytes(folder / name, encoded(picture, config.suffix))
            rows.append({"file": name, "mask": ""})
    world = WorldConfig(size_px=config.size_px)
    for index in range(config.test_bad):
        picture, mask, truth = _visibly_defective(spec, rng, world)
        kind = truth.defects[0].kind.replace(" ", "_") if len(truth.defects) == 1 else "combined"
        name = f"test/{kind}/{index:03d}{config.suffix}"
        mask_name = f"ground_truth/{kind}/{index:03d}_mask.png"
        write_bytes(folder / name, encoded(picture, config.suffix))
        write_bytes(folder / mask_name, encoded(mask))
        rows.append({"file": name, "mask": mask_name})
        truths[name] = asdict(truth)
    write_csv(folder / "index.csv", rows)
    note = {"made_by": "anomalyst world", "config": asdict(config), "truth": truths}
    write_text(folder / "truth.json", json.dumps(note, indent=1) + "\n")


def _visibly_defective(
    spec: ProductSpec, rng: Rng, world: WorldConfig
) -> tuple[np.ndarray, np.ndarray, Truth]:
    """Draw until a defect can be seen: a set's defective pictures must be defective."""
    while True:
        picture, mask, truth = defective_picture(spec, rng, world)
        if mask.any():
            return picture, mask, truth
