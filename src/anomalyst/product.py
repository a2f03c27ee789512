"""A taught product on disk: a folder that a person can read, copy and carry.

bolt/
  product.json         what it is, how it was taught, its calibration
  references/0001.png  the good pictures it was taught from, as they were
  bank.safetensors     their features, so that loading needs no encoding, and the adapted head
"""

import difflib
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from anomalyst.detection.calibration import Calibration
from anomalyst.errors import AnomalystError
from anomalyst.files import write_text, written_whole
from anomalyst.imaging import Frame
from anomalyst.types import Features

Pose = Literal["fixed", "free"]
FORMAT = 1
UNNAMED = "the product"  # taught for one inspection and not kept


@dataclass(slots=True, kw_only=True)
class Product:
    """What one product is known by.

    `features[t]` holds tile t of all views: (V, D, h, w) per level, where a view is a reference or,
    for a product that lies any way round, one of its right-angle turns.
    """

    name: str
    encoder: str  # the specification the features were made with, as `embedded`
    fingerprint: str  # of that encoder's weights: features of others cannot be compared
    frame: Frame | None  # None: nothing is known, each picture has its own
    pose: Pose
    references: list[Path]  # the good pictures, in the order taught
    features: list[Features]
    calibration: Calibration
    head: dict[str, Tensor] = field(default_factory=dict)  # the decoder's own, if adapted to it
    notes: tuple[str, ...] = ()
    description: str = ""  # what to know of it, in a person's words: "the print should read 500"
    memories: list[Any] = field(default_factory=list, repr=False)  # made by the detector, lazily

    @property
    def num_references(self) -> int:
        """How many good pictures it was taught from."""
        return len(self.references)

    def save(self, folder: Path) -> None:
        """Write the product as folder `folder`, whole: an existing one is replaced at the end."""
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = folder.with_name(f".part-{folder.name}")
        shutil.rmtree(part, ignore_errors=True)
        try:
            (part / "references").mkdir(parents=True)
            kept = []
            for index, source in enumerate(self.references, start=1):
                target = Path("references") / f"{index:04d}{source.suffix.lower()}"
                shutil.copyfile(source, part / target)
                kept.append({"file": str(target), "source": source.name})
            with written_whole(part / "bank.safetensors") as bank:
                save_file(_tensors(self.features, self.head), bank)
            write_text(part / "product.json", json.dumps(self._record(kept), indent=2) + "\n")
            _replace(part, folder)
        except OSError as error:
            raise AnomalystError(f"{folder}: the product cannot be saved ({error}).") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self.references = [folder / str(k["file"]) for k in kept]

    def _record(self, references: list[dict[str, str]]) -> dict[str, Any]:
        assert self.frame is not None  # a product that was taught has one
        return {
            "format": FORMAT,
            "name": self.name,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            "pose": self.pose,
            "frame": {
                "size_hw": self.frame.size_hw,
                "canvas_hw": self.frame.canvas_hw,
                "boxes_xyxy": self.frame.boxes_xyxy,
            },
            "references": references,
            "calibration": self.calibration.as_dict(),
            "notes": list(self.notes),
            "description": self.description,
        }

    @classmethod
    def load(cls, folder: Path) -> "Product":
        """The product saved in `folder`; AnomalystError says what is missing or broken."""
        record = _read_record(folder)
        try:
            frame = record["frame"]
            product = cls(
                name=record["name"],
                encoder=record["encoder"],
                fingerprint=record["fingerprint"],
                pose=record["pose"],
                frame=Frame(
                    tuple(frame["size_hw"]),
                    tuple(frame["canvas_hw"]),
                    tuple(tuple(box) for box in frame["boxes_xyxy"]),
                ),
                references=[folder / r["file"] for r in record["references"]],
                features=_features(tensors := load_file(folder / "bank.safetensors")),
                head=_head(tensors),
                calibration=Calibration.from_dict(record["calibration"]),
                notes=tuple(record["notes"]),
                description=str(record.get("description", "")),
            )
        except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
            raise AnomalystError(
                f"{folder}: this product is damaged ({error!r}); teach it again."
            ) from error
        return product


def check_name(name: str) -> None:
    """A product's name is its folder's name; AnomalystError if it cannot be one."""
    if not re.fullmatch(r"[\w][\w .+-]*", name):
        raise AnomalystError(
            f"product name {name!r}: letters, digits, space, dot, plus, minus and underscore only."
        )


def find_product(name: str, folder: Path) -> Product:
    """The product `name` in `folder`; AnomalystError names the nearest when there is none."""
    if (folder / name / "product.json").exists():
        return Product.load(folder / name)
    known = sorted(p.parent.name for p in folder.glob("*/product.json"))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f"the nearest is {near[0]!r}" if near else "none is taught yet"
    raise AnomalystError(f"{folder}: there is no product {name!r}; {hint}. Use `anomalyst teach`.")


def _read_record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads((folder / "product.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnomalystError(f"{folder}: holds no product.json; it is not a product.") from None
    except (OSError, ValueError) as error:
        raise AnomalystError(f"{folder}: product.json cannot be read ({error}).") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise AnomalystError(f"{folder}: is of another format; this version reads {FORMAT}.")
    return record


def _replace(part: Path, folder: Path) -> None:
    """Put `part` in the place of `folder`; the old one is gone only when the new one is there."""
    old = folder.with_name(f".old-{folder.name}")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    part.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _tensors(features: list[Features], head: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors = {f"head.{name}": tensor.contiguous() for name, tensor in head.items()}
    for tile, one in enumerate(features):
        for index, level in enumerate(one.levels):
            tensors[f"tile{tile}.level{index}"] = level.half().contiguous()
        tensors[f"tile{tile}.embedding"] = one.embedding.contiguous()
    return tensors


def _features(tensors: dict[str, Tensor]) -> list[Features]:
    tiles = 1 + max(_tile_of(name) for name in tensors if name.startswith("tile"))
    found = []
    for tile in range(tiles):
        count = sum(name.startswith(f"tile{tile}.level") for name in tensors)
        levels = [tensors[f"tile{tile}.level{i}"].float() for i in range(count)]
        found.append(Features(levels, tensors[f"tile{tile}.embedding"]))
    return found


def _tile_of(name: str) -> int:
    return int(name.split(".")[0].removeprefix("tile"))


def _head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    own = {name: tensor for name, tensor in tensors.items() if name.startswith("head.")}
    return {name.removeprefix("head."): tensor for name, tensor in own.items()}
