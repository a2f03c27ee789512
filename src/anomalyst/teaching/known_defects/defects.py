"""A product taught with a few defective pictures: what is refused, how its rule is learnt."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.operating_rule import Costs, Rule
from anomalyst.detection.detector import Detector
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.deep_pictures import PictureReading
from anomalyst.io.geometry import Frame
from anomalyst.io.pictures import list_pictures, open_mask, open_picture
from anomalyst.teaching.duplicates import all_the_same, refuse_the_same
from anomalyst.teaching.known_defects.choice import learn_rule
from anomalyst.teaching.known_defects.crossed import held_out
from anomalyst.teaching.known_defects.left_out import gather
from anomalyst.teaching.known_defects.limits import BAD_LEAST, BAD_MOST, FINE_MOST, GOOD_LEAST
from anomalyst.teaching.references import Studied, calibrate


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownDefects:
    """Defective pictures that a product is taught with, and what mistakes cost.

    `fine`: further good parts, of inspections that people judged. They have a say in the rule as
    good ones, each of them new to the product; but nothing is compared with them and they never
    calibrate: people look at what the product doubts, so they are not like any new good picture.
    Raises AnomalystError for fewer than 3 defective pictures or more than 50, more than 100 fine
    ones, and a mask of none of them.
    """

    pictures: tuple[Path, ...]
    masks: Mapping[Path, Path] = field(default_factory=dict)  # picture -> where it is defective
    costs: Costs = field(default_factory=Costs)
    sources: Mapping[Path, str] = field(default_factory=dict)  # what a picture was called, if known
    fine: tuple[Path, ...] = ()
    judged: Mapping[Path, str] = field(
        default_factory=dict
    )  # those judged: their inspections' names

    def __post_init__(self) -> None:
        _check_count(len(self.pictures), "given")
        if len(self.fine) > FINE_MOST:
            raise AnomalystError(
                f"{len(self.fine)} fine pictures; at most {FINE_MOST} can be used."
            )
        if orphans := [mask for path, mask in self.masks.items() if path not in self.pictures]:
            raise AnomalystError(f"{orphans[0]}: is the mask of no defective picture given.")

    def only(self, pictures: Iterable[Path]) -> "KnownDefects":
        """Some of the pictures, defective and fine, with their masks."""
        kept = set(pictures)
        return replace(
            self,
            pictures=tuple(path for path in self.pictures if path in kept),
            fine=tuple(path for path in self.fine if path in kept),
            masks={path: mask for path, mask in self.masks.items() if path in kept},
            judged={path: name for path, name in self.judged.items() if path in kept},
        )

    def unjudged(self) -> "KnownDefects | None":
        """Without what people judged; None where nothing else is there."""
        taught = [path for path in self.pictures if path not in self.judged]
        return self.only(taught) if taught else None

    def without_fine(self, judged: str) -> "KnownDefects":
        """Without a fine picture that was judged, by its name: it is compared with from now on."""
        gone = {path for path in self.fine if self.judged.get(path) == judged}
        return self.only({*self.pictures, *self.fine} - gone) if gone else self

    def called(self, path: Path) -> str:
        """The name that a person knows a picture by."""
        return self.sources.get(path, path.name)


def masks_of(pictures: Sequence[Path], folder: Path) -> dict[Path, Path]:
    """The masks in a folder, `NAME.*` or `NAME_mask.*`, of pictures `NAME.*`; some may have none.

    Raises AnomalystError for a mask without a picture, and where two pictures share a name.
    """
    by_stem = {path.stem: path for path in pictures}
    if len(by_stem) < len(pictures):
        raise AnomalystError(
            f"{folder}: masks are found by the pictures' names, and some pictures share one; "
            "rename them."
        )
    masks = {}
    for mask in list_pictures(folder):
        picture = by_stem.get(mask.stem) or by_stem.get(mask.stem.removesuffix("_mask"))
        if picture is None:
            raise AnomalystError(f"{mask}: is the mask of no defective picture given.")
        masks[picture] = mask
    return masks


@dataclass(frozen=True, slots=True)
class Opened:
    """Defective pictures that could be used, uint8 (H, W, 3), with their masks bool (H, W)."""

    fine: dict[Path, np.ndarray]  # good parts that people judged
    pictures: dict[Path, np.ndarray]
    masks: dict[Path, np.ndarray]
    notes: list[str]  # on those that could not


def open_defects(
    known: KnownDefects,
    good: Mapping[Path, np.ndarray],
    reading: PictureReading,
    on_picture: Callable[[Path], None],
) -> Opened:
    """The defective pictures beside the good ones, before anything is computed.

    A picture or mask that cannot be read is left out and named. Raises AnomalystError for fewer
    than 3 that can, fewer than 4 good ones, the same picture as good and as defective, and good
    pictures that are all the same.
    """
    if len(good) < GOOD_LEAST:
        raise AnomalystError(
            f"defective pictures need at least {GOOD_LEAST} good ones beside them, each of which "
            f"is judged by the others; here {'is' if len(good) == 1 else 'are'} {len(good)}. "
            "Teach more good pictures."
        )
    if all_the_same(list(good.values())):
        raise AnomalystError(
            f"all {len(good)} good pictures are the same picture, so they do not show how good "
            "parts differ; teach pictures of different good parts."
        )
    opened = Opened({}, {}, {}, [])
    for path in (*known.fine, *known.pictures):
        try:
            picture = open_picture(path, reading)
            if path in known.masks:
                opened.masks[path] = open_mask(known.masks[path], picture.shape[:2])
            (opened.fine if path in known.fine else opened.pictures)[path] = picture
        except PictureError as error:
            opened.notes.append(f"left out when taught: {error}")
        on_picture(path)
    _check_count(len(opened.pictures), "can be read")
    refuse_the_same({**good, **opened.fine}, opened.pictures)
    return opened


def teach_defects(
    detector: Detector,
    frame: Frame,
    studied: Studied,
    good: Sequence[tuple[str, np.ndarray]],
    opened: Opened,
    known: KnownDefects,
    on_picture: Callable[[], None] = lambda: None,
) -> tuple[Rule, Studied, Calibration]:
    """The rule, with the good pictures remembered and calibrated as it asks for.

    `good`: names and pictures, as they were studied. Raises AnomalystError where the detector was
    fitted to every good picture: none would be judged as a new one is.
    """
    usable = range(len(good))
    if studied.decoder is not None:
        usable = studied.apart  # type: ignore[assignment]
    if not usable:
        raise AnomalystError(
            "--adapt fits the detector to all these good pictures, so none is left to judge "
            "defective ones beside; leave --adapt out, or teach 27 good pictures or more."
        )
    bad = [(picture, opened.masks.get(path)) for path, picture in opened.pictures.items()]
    judged = gather(
        detector,
        frame,
        studied,
        [picture for _, picture in good],
        bad,
        usable=usable,
        fine=list(opened.fine.values()),
        on_picture=on_picture,
    )
    names = [good[i][0] for i in usable]
    names += [known.called(path) for path in (*opened.fine, *opened.pictures)]
    rule, left_out = learn_rule(judged, names, known.costs)
    if known.judged:
        findings = replace(rule.findings, held_out=held_out(judged, known.costs))
        rule = replace(rule, findings=findings)
    if rule.shares:
        memories = [replace(memory, shares=rule.shares) for memory in studied.memories]
        studied = replace(studied, memories=memories)
    if rule.head is None:
        return rule, studied, calibrate(detector, studied)
    # The head saw every good picture; without each in turn is the best that can be said.
    scores = tuple(float(score) for score in left_out[: len(usable)])
    return rule, studied, Calibration(scores=scores, method="leave-one-out")


def _check_count(count: int, how: str) -> None:
    if not BAD_LEAST <= count <= BAD_MOST:
        are = "is" if count == 1 else "are"
        raise AnomalystError(
            f"{BAD_LEAST} to {BAD_MOST} defective pictures are needed; {count} {are} {how}."
            if how == "given"
            else f"{BAD_LEAST} to {BAD_MOST} defective pictures are needed; only {count} {how}."
        )
