"""A taught product on disk: a folder that a person can read, copy and carry (product_index.py)."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from anomalyst.calibration.conditions import GoodConditions
from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.fusion import JointCalibration
from anomalyst.calibration.operating_rule import Rule
from anomalyst.calibration.tolerance import Tolerance
from anomalyst.config import from_mapping, to_mapping
from anomalyst.detection.classifiers.own_kinds import OwnKinds
from anomalyst.detection.counted import Counting
from anomalyst.detection.pose import Circle
from anomalyst.detection.signals.judges import Judge, read_judge
from anomalyst.errors import AnomalystError
from anomalyst.io.areas import Areas
from anomalyst.io.deep_pictures import AS_FILES_SAY, PictureReading, reading_in
from anomalyst.io.files import replace_folder, write_text, written_whole
from anomalyst.io.geometry import Frame, Views
from anomalyst.measuring.settings import KEY, Measuring
from anomalyst.product_index import (
    BEFORE,
    COMPANIONS,
    DAMAGED,
    FORMAT,
    RECORD,
    companion_senses,
    product_folder,
    read_record,
)
from anomalyst.senses.fields import FieldView
from anomalyst.senses.sense import Sense, SignalSense, sense_as_dict, sense_of
from anomalyst.teaching.known_defects.defects import KnownDefects
from anomalyst.teaching.odd import OddPicture, odd_note
from anomalyst.types import Features

Pose = Literal["fixed", "free"]
UNNAMED = "the product"  # taught for one inspection and not kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A picture of which a person called places normal; what else looked odd on it was covered."""

    name: str  # the correction's, unique in its product
    image: Path
    boxes_xyxy: tuple[tuple[int, int, int, int], ...]  # the places, in its pixels

    def as_dict(self, file: str) -> dict[str, Any]:
        """The correction as plain JSON values, its picture called `file`."""
        return {"name": self.name, "file": file, "boxes_xyxy": [list(b) for b in self.boxes_xyxy]}


@dataclass(slots=True, kw_only=True)
class Product:
    """What one product is known by.

    `features[t]` holds tile t of the references compared with, (V, D, h, w) per level; of a product
    that lies any way round they are laid as the first one lies.
    """

    name: str
    encoder: str  # the specification the features were made with, as `embedded`
    fingerprint: str  # of that encoder's weights: features of others cannot be compared
    frame: Frame | None  # None: nothing is known, each picture has its own
    pose: Pose
    references: list[Path]  # the good pictures, in the order taught
    features: list[Features]
    calibration: Calibration
    sources: dict[Path, str] = field(default_factory=dict)  # what a reference was called, if known
    head: dict[str, Tensor] = field(default_factory=dict)  # the decoder's own, if adapted to it
    notes: tuple[str, ...] = ()
    odd: tuple[OddPicture, ...] = ()  # references that look odd beside the others
    side_reason: str = ""  # why its frame has the size it has, where that was decided
    quality: str = "default"  # how closely it is looked at (inspection/quality.py)
    description: str = ""  # what to know of it, in a person's words: "the print should read 500"
    chosen: list[int] = field(default_factory=list)  # the references that queries are compared with
    accepted: tuple[Accepted, ...] = ()  # corrections of false alarms, in the order given
    circle: Circle | None = None  # the first reference turned through the circle (pose.py)
    bad: KnownDefects | None = None  # defective pictures it was taught with
    rule: Rule | None = None  # what they set
    sense: Sense | None = None  # what its files are; None: photographs
    reading: PictureReading = AS_FILES_SAY  # how photographs of more than 8 bits are read
    signal: Judge | None = None  # what is remembered or learnt of good recordings
    calibrated_by: tuple[float, ...] = ()  # the calibration's scores in the order of the good parts
    companions: dict[str, "Product"] = field(default_factory=dict)  # the same part, other senses
    joint: JointCalibration | None = None  # of all senses together; None: not the same good parts
    kinds: OwnKinds | None = None  # what people call its defects, where they taught it
    areas: Areas | None = None  # what of a picture counts; None: all of it
    counting: Counting | None = field(default=None, repr=False)  # them on `first`, lazily
    measuring: Measuring = Measuring()  # its scale and acceptance rules
    conditions: GoodConditions | None = None  # how the good pictures were taken; None: of before
    tolerance: Tolerance | None = None  # how far good pictures may differ; None: not measured
    likeness: Any = field(default=None, repr=False)  # inspection/likeness.py, lazily
    memories: list[Any] = field(default_factory=list, repr=False)  # made by the detector, lazily
    first: Views | None = field(default=None, repr=False)  # the first good picture, lazily
    folder: Path | None = None  # where it is saved
    compiled: Any = field(default=None, repr=False)  # its networks on an engine, lazily

    @property
    def num_references(self) -> int:
        """How many good pictures it was taught from."""
        return len(self.references)

    @property
    def undecided(self) -> list[OddPicture]:
        """Its odd good pictures of which nobody has said that they are good."""
        return [one for one in self.odd if not one.kept]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Its notes, and which of its good pictures wait for somebody to decide on them."""
        waiting = [(self.called(one.image), one.place) for one in self.undecided]
        if not waiting:
            return self.notes
        told = odd_note(waiting, len(self.references), kept=self.name != UNNAMED)
        return (*self.notes, told)

    def called(self, reference: Path) -> str:
        """The name that a person knows a reference by."""
        return self.sources.get(reference, reference.name)

    @property
    def sense_kind(self) -> str:
        """What its files are: image, depth, thermal, audio or series."""
        return "image" if self.sense is None else self.sense.kind

    @property
    def field_view(self) -> FieldView | None:
        """How its depth or heat is read; None for any other sense."""
        return self.sense if isinstance(self.sense, FieldView) else None

    def save(self, folder: Path, before: Path | None = None) -> None:
        """Write the product as folder `folder`, whole: an existing one is replaced at the end.

        `before`: a product's folder that is kept within, for `put_back`.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = folder.with_name(f".part-{folder.name}")
        shutil.rmtree(part, ignore_errors=True)
        try:
            (part / "references").mkdir(parents=True)
            kept = []
            for index, source in enumerate(self.references, start=1):
                target = Path("references") / f"{index:04d}{source.suffix.lower()}"
                shutil.copyfile(source, part / target)
                kept.append({"file": str(target), "source": self.called(source)})
            accepted = []
            for one in self.accepted:
                file = Path("accepted") / f"{one.name}.png"
                (part / file).parent.mkdir(exist_ok=True)
                shutil.copyfile(one.image, part / file)
                accepted.append(one.as_dict(str(file)))
            defective, fine = _copied(self.bad, part)
            for sense, companion in self.companions.items():
                companion.save(part / COMPANIONS / sense)
            if before is not None:
                shutil.copytree(before, part / BEFORE)
            with written_whole(part / "bank.safetensors") as bank:
                save_file(_tensors(self), bank)
            file_of = dict(zip(self.references, (str(one["file"]) for one in kept), strict=True))
            record = self._record(kept) | {
                "areas": self.areas.save(part) if self.areas else None,
                "accepted": accepted,
                "defective": defective,
                "fine": fine,
                "odd": [one.as_dict(file_of[one.image]) for one in self.odd],
            }
            write_text(part / RECORD, json.dumps(record, indent=2) + "\n")
            replace_folder(part, folder)
        except OSError as error:
            raise AnomalystError(f"{folder}: the product cannot be saved ({error}).") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
        self.folder, self.compiled = folder, None
        self.references = [folder / str(k["file"]) for k in kept]
        self.sources = _sources(folder, kept)
        self.accepted = _accepted(folder, accepted)
        self.odd = _odd(folder, record["odd"])
        self.bad = _defective(folder, defective, fine, self.rule)
        self.companions = _companions(folder)

    def _record(self, references: list[dict[str, str]]) -> dict[str, Any]:
        frame = self.frame
        return {
            "format": FORMAT,
            "name": self.name,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            "pose": self.pose,
            "frame": frame
            and {
                "size_hw": frame.size_hw,
                "canvas_hw": frame.canvas_hw,
                "boxes_xyxy": frame.boxes_xyxy,
            },
            "references": references,
            "chosen": self.chosen,
            "calibration": self.calibration.as_dict(),
            "rule": to_mapping(self.rule) if self.rule else None,
            "notes": list(self.notes),
            "side": self.side_reason,
            "quality": self.quality,
            "description": self.description,
            "sense": sense_as_dict(self.sense) if self.sense else None,
            "reading": to_mapping(self.reading),
            "calibrated_by": list(self.calibrated_by),
            "joint": self.joint.as_dict() if self.joint else None,
            "kinds": self.kinds.as_dict() if self.kinds else None,
            KEY: self.measuring.as_dict(),
            "conditions": self.conditions.as_list() if self.conditions else None,
            "tolerance": self.tolerance.as_dict() if self.tolerance else None,
        }

    @classmethod
    def load(cls, folder: Path) -> "Product":
        """The product saved in `folder`; AnomalystError says what is missing or broken."""
        record = read_record(folder)
        try:
            ruled = record.get("rule")
            rule = from_mapping(Rule, ruled, where=f"{folder}: rule") if ruled else None
            frame, sensed = record["frame"], record.get("sense")
            tensors = load_file(folder / "bank.safetensors")
            product = cls(
                name=record["name"],
                encoder=record["encoder"],
                fingerprint=record["fingerprint"],
                pose=record["pose"],
                frame=frame
                and Frame(
                    tuple(frame["size_hw"]),
                    tuple(frame["canvas_hw"]),
                    tuple(tuple(box) for box in frame["boxes_xyxy"]),
                ),
                references=[folder / r["file"] for r in record["references"]],
                sources=_sources(folder, record["references"]),
                features=_features(tensors),
                head=_head(tensors),
                circle=Circle.of(tensors["circle"].float()) if "circle" in tensors else None,
                calibration=Calibration.from_dict(record["calibration"]),
                notes=tuple(record["notes"]),
                side_reason=str(record.get("side", "")),
                quality=str(record.get("quality", "default")),  # products of before have none
                description=str(record.get("description", "")),
                chosen=list(record.get("chosen", [])),
                accepted=_accepted(folder, record.get("accepted", [])),
                odd=_odd(folder, record.get("odd", [])),
                bad=_defective(folder, record.get("defective", []), record.get("fine", []), rule),
                rule=rule,
                sense=(sense := sense_of(sensed, f"{folder}: sense") if sensed else None),
                reading=reading_in(record),
                signal=_signal(sense, tensors),
                calibrated_by=tuple(record.get("calibrated_by", ())),
                companions=_companions(folder),
                areas=Areas.load(drawn, folder) if (drawn := record.get("areas")) else None,
                joint=JointCalibration.from_dict(joint) if (joint := record.get("joint")) else None,
                kinds=OwnKinds.of(own, _below(tensors, "kinds."))
                if (own := record.get("kinds"))
                else None,
                measuring=Measuring.from_dict(record.get(KEY)),
                conditions=_conditions(record.get("conditions"), tensors),
                tolerance=Tolerance.from_dict(told) if (told := record.get("tolerance")) else None,
                folder=folder,
            )
        except (*DAMAGED, OSError, SafetensorError) as error:
            raise AnomalystError(
                f"{folder}: this product is damaged ({error!r}); teach it again."
            ) from error
        return product


def find_product(name: str, folder: Path) -> Product:
    """The product `name` in `folder`; AnomalystError names the nearest when there is none."""
    return Product.load(product_folder(name, folder))


def _companions(folder: Path) -> dict[str, Product]:
    return {sense: Product.load(folder / COMPANIONS / sense) for sense in companion_senses(folder)}


def _sources(folder: Path, records: list[dict[str, str]]) -> dict[Path, str]:
    return {folder / one["file"]: one["source"] for one in records}


def _odd(folder: Path, records: list[dict[str, Any]]) -> tuple[OddPicture, ...]:
    return tuple(OddPicture.from_dict(one, folder / one["file"]) for one in records)


def _accepted(folder: Path, records: list[dict[str, Any]]) -> tuple[Accepted, ...]:
    return tuple(
        Accepted(
            name=str(one["name"]),
            image=folder / one["file"],
            boxes_xyxy=tuple((b[0], b[1], b[2], b[3]) for b in one["boxes_xyxy"]),
        )
        for one in records
    )


def _copied(
    bad: KnownDefects | None, part: Path
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Copy defective and fine pictures, and masks, into `part` -> what product.json says."""
    if bad is None:
        return [], []
    copied: dict[str, list[dict[str, str]]] = {"defective": [], "fine": []}
    for kind, pictures in (("defective", bad.pictures), ("fine", bad.fine)):
        for index, picture in enumerate(pictures, start=1):
            (part / kind).mkdir(exist_ok=True)
            one = {"file": f"{kind}/{index:04d}{picture.suffix.lower()}"}
            shutil.copyfile(picture, part / one["file"])
            one["source"] = bad.called(picture)
            if picture in bad.judged:
                one["judged"] = bad.judged[picture]
            if mask := bad.masks.get(picture):
                one["mask"] = f"{kind}/{index:04d}_mask{mask.suffix.lower()}"
                shutil.copyfile(mask, part / one["mask"])
            copied[kind].append(one)
    return copied["defective"], copied["fine"]


def _defective(
    folder: Path, bad: list[dict[str, str]], fine: list[dict[str, str]], rule: Rule | None
) -> KnownDefects | None:
    if not bad or rule is None:
        return None
    both = [*bad, *fine]
    return KnownDefects(
        pictures=tuple(folder / one["file"] for one in bad),
        masks={folder / one["file"]: folder / one["mask"] for one in bad if "mask" in one},
        costs=rule.costs,
        sources=_sources(folder, both),
        fine=tuple(folder / one["file"] for one in fine),
        judged={folder / one["file"]: one["judged"] for one in both if "judged" in one},
    )


def put_back(folder: Path) -> bool:
    """Make a product what it was before it learnt what people judged, byte for byte.

    False, and nothing is done, where that is not kept: something else was changed since.
    """
    if not (folder / BEFORE / RECORD).exists():
        return False
    part = folder.with_name(f".part-{folder.name}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        shutil.copytree(folder / BEFORE, part)
        replace_folder(part, folder)
    except OSError as error:
        raise AnomalystError(f"{folder}: the product cannot be put back ({error}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return True


def _tensors(product: Product) -> dict[str, Tensor]:
    tensors = {f"head.{name}": tensor.contiguous() for name, tensor in product.head.items()}
    if product.signal is not None:
        tensors |= {f"signal.{name}": one for name, one in product.signal.state().items()}
    if product.kinds is not None:
        tensors |= {f"kinds.{name}": one for name, one in product.kinds.state().items()}
    if product.conditions is not None:
        assert product.conditions.first is not None  # only exports do without
        tensors["first"] = torch.from_numpy(product.conditions.first).half()
    if product.circle is not None:
        tensors["circle"] = product.circle.features.half().contiguous()
    for tile, one in enumerate(product.features):
        for index, level in enumerate(one.levels):
            tensors[f"tile{tile}.level{index}"] = level.half().contiguous()
        for index, level in enumerate(one.frozen):
            tensors[f"tile{tile}.frozen{index}"] = level.half().contiguous()
        tensors[f"tile{tile}.embedding"] = one.embedding.contiguous()
    return tensors


def _features(tensors: dict[str, Tensor]) -> list[Features]:
    tiles = 1 + max((_tile_of(name) for name in tensors if name.startswith("tile")), default=-1)
    found = []
    for tile in range(tiles):
        levels, frozen = (
            [tensors[name].float() for name in _numbered(tensors, f"tile{tile}.{kind}")]
            for kind in ("level", "frozen")
        )
        found.append(Features(levels, tensors[f"tile{tile}.embedding"], frozen))
    return found


def _numbered(tensors: dict[str, Tensor], prefix: str) -> list[str]:
    """The names prefix0, prefix1, ... that there are."""
    count = sum(name.startswith(prefix) for name in tensors)
    return [f"{prefix}{i}" for i in range(count)]


def _tile_of(name: str) -> int:
    return int(name.split(".")[0].removeprefix("tile"))


def _conditions(
    each: list[dict[str, float]] | None, tensors: dict[str, Tensor]
) -> GoodConditions | None:
    if not each or "first" not in tensors:
        return None
    return GoodConditions.from_list(each, tensors["first"].float().numpy())


def _head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return _below(tensors, "head.")


def _signal(sense: Sense | None, tensors: dict[str, Tensor]) -> Judge | None:
    if not isinstance(sense, SignalSense):
        return None
    return read_judge(sense.method, _below(tensors, "signal."))


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    own = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    return {name.removeprefix(prefix): tensor for name, tensor in own.items()}
