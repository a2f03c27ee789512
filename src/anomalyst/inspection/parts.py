"""A part that several senses look at: which files belong together, and one verdict of all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.fusion import JointCalibration, bonferroni
from anomalyst.calibration.severity import severest, severity_of
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.mosaic import WORDS, mosaic
from anomalyst.io.pictures import PICTURE_SUFFIXES, exif_note, open_picture
from anomalyst.product_index import SENSES
from anomalyst.senses.sense import SUFFIXES, Sense
from anomalyst.types import Inspection, SenseFinding, Severity, Verdict

if TYPE_CHECKING:  # asked for files alone, a server starts without torch
    from anomalyst.product import Product

MOST_APART_SECONDS = 600.0  # between the times at which senses took what is called one part
EXIF_GROUP, EXIF_TAKEN = 0x8769, 36867


def paired(files: Mapping[str, Sequence[Path]]) -> list[dict[str, Path]]:
    """Files of several senses -> one mapping (sense -> file) a part, by the files' names.

    `p07.png`, `p07_depth.png` and `p07.wav` are one part; of one sense alone each file is one.
    Raises AnomalystError where a part lacks a sense, or two files of a sense have one name.
    """
    if len(files) == 1:
        [(sense, paths)] = files.items()
        return [{sense: path} for path in dict.fromkeys(paths)]
    found: dict[str, dict[str, Path]] = {}
    for sense, paths in files.items():
        for path in paths:
            name = part_name(path, sense)
            other = found.setdefault(name, {}).get(sense)
            if other is not None and other != path:
                raise AnomalystError(
                    f"{other} and {path}: both are {sense} of part {name!r}; give each part a name."
                )
            found[name][sense] = path
    for name, part in found.items():
        missing = [sense for sense in files if sense not in part]
        if missing:
            have = next(iter(part.values()))
            raise AnomalystError(
                f"{have}: part {name!r} has no {missing[0]} file; files of one part have one name, "
                f"as {name}.png, {name}_depth.png and {name}.wav."
            )
    return list(found.values())


def sense_of_file(path: Path, senses: Sequence[str]) -> str:
    """Which of a product's senses a file is of, by its ending and the end of its name.

    Raises AnomalystError where that is none, or may be several.
    """
    named = [sense for sense in senses if part_name(path, sense) != path.stem]
    suffix = path.suffix.lower()
    fits = [s for s in named or senses if suffix in SUFFIXES.get(s, PICTURE_SUFFIXES)]
    if "image" in fits or len(fits) == 1:
        return "image" if "image" in fits else fits[0]
    what = f"may be {' or '.join(fits)}" if fits else f"is of none of {', '.join(senses)}"
    raise AnomalystError(f"{path.name}: {what}; call it as in p07_{(fits or senses)[0]}{suffix}.")


def sorted_by_sense(paths: Sequence[Path], senses: Sequence[str]) -> list[dict[str, Path]]:
    """Files of several parts and senses together -> one mapping (sense -> file) a part."""
    return paired(_by_sense(paths, senses))


def sorted_by_name(paths: Sequence[Path]) -> list[dict[str, Path]]:
    """The same of a product that is not taught yet: the senses are those of which there are files.

    A picture is a photograph unless its name says otherwise, as `p07_depth.png` does.
    """
    files = {sense: own for sense, own in _by_sense(paths, SENSES).items() if own}
    return paired(files) if files else []


def _by_sense(paths: Sequence[Path], senses: Sequence[str]) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {sense: [] for sense in senses}
    for path in paths:
        files[sense_of_file(path, senses)].append(path)
    return files


def senses_of(product: "Product") -> "dict[str, Product]":
    """What a product was taught with: sense -> what it knows, the leading sense first."""
    return {product.sense_kind: product} | product.companions


def ways_taught(product: "Product | None") -> dict[str, Sense]:
    """How the files of a product's senses are read; photographs need nothing."""
    known = senses_of(product) if product is not None else {}
    return {kind: one.sense for kind, one in known.items() if one.sense is not None}


def whole_parts(
    parts: Sequence[Mapping[str, Path]], senses: Mapping[str, Sense]
) -> tuple[list[Mapping[str, Path]], list[str]]:
    """The parts of which every file can be read, and what is wrong with each that is left out.

    What one sense misses all miss: else their rows would no longer be of the same parts, and no
    joint calibration could be made of them. Raises PictureError where no part is left.
    """
    whole: list[Mapping[str, Path]] = []
    errors: list[PictureError] = []
    for part in parts:
        try:
            for kind, path in part.items():
                (senses[kind].read if kind in senses else open_picture)(path)
            whole.append(part)
        except PictureError as error:
            errors.append(error)
    if errors and not whole:
        raise errors[0]
    return whole, [f"left out when taught, with the part's other files: {one}" for one in errors]


def part_name(path: Path, sense: str) -> str:
    """The name of the part that a file belongs to: its stem, without the word for its sense."""
    for mark in ("_", "-", "."):
        if path.stem.lower().endswith(f"{mark}{sense}"):
            return path.stem[: -len(sense) - 1]
    return path.stem


def joint_calibration(senses: "Mapping[str, Product]") -> JointCalibration | None:
    """The joint calibration of a part's senses, taught from the same good parts.

    None where a sense has no calibration of its own, or another number of good parts calibrated it
    (one file could not be read).
    """
    rows = {sense: product.calibrated_by for sense, product in senses.items()}
    if len(rows) < 2 or len({len(one) for one in rows.values()}) != 1 or not any(rows.values()):
        return None
    return JointCalibration(senses=tuple(rows), scores=tuple(zip(*rows.values(), strict=True)))


def refuse_other_part(files: Mapping[str, Path], found: Mapping[str, datetime | None]) -> None:
    """Raise PictureError where senses tell times that are too far apart for one part."""
    taken = {sense: when for sense, when in found.items() if when is not None}
    if len(taken) < 2:
        return
    first, last = min(taken, key=taken.__getitem__), max(taken, key=taken.__getitem__)
    apart = (taken[last] - taken[first]).total_seconds()
    if apart > MOST_APART_SECONDS:
        raise PictureError(
            files[last], f"was recorded {apart / 60:.0f} minutes after {files[first].name}; files "
            "of one part are at most 10 minutes apart. Give those that belong together one name."
        )  # fmt: skip


def taken_at(path: Path) -> datetime | None:
    """When a photograph was taken, if it tells (EXIF).

    A wall clock's time, read as UTC as those of a table without a zone are: one place has one.
    """
    try:
        told = exif_note(path, EXIF_GROUP, EXIF_TAKEN)
    except PictureError:
        return None
    try:
        return (
            datetime.strptime(str(told), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC) if told else None
        )
    except ValueError:
        return None


def fused(
    found: Mapping[str, Inspection], joint: JointCalibration | None, rate: float
) -> Inspection:
    """What all senses say together of one part: one p-value, one verdict, one drawing.

    With a joint calibration that is large enough for the rate its false-alarm rate is guaranteed;
    else K times the smallest p-value counts (Bonferroni), guaranteed if each sense is.
    """
    lead = next(iter(found.values()))
    scores = {sense: one.score for sense, one in found.items()}
    each = [one.p_value for one in found.values()]
    notes = list(dict.fromkeys(note for one in found.values() for note in one.notes))
    ranks = Calibration(scores=(), method="split")
    enough = joint is not None and 1 / (len(joint.scores) + 1) <= rate
    if joint is not None and enough:
        p_value, guaranteed = joint.p_value(scores), True
        verdict = ranks.verdict(p_value, rate)
        score = joint.score(scores)
    else:
        p_value, guaranteed = bonferroni(each), all(one.guaranteed for one in found.values())
        verdict = _most_careful(found, p_value, rate)
        score = max(scores.values())
        notes.append(f"{len(found)} senses together: p is {len(found)} times the smallest.")
    unfit = next((one.unfit for one in found.values() if one.unfit), None)
    alarmed = any(one.verdict == "anomalous" for one in found.values())
    if unfit is not None and not (verdict == "anomalous" and alarmed):
        # What one sense could not see is no pass, and no defect by that sense's score alone.
        verdict, guaranteed = "unsure", False
    picture, whole, regions = mosaic(found)
    shown = regions if verdict != "normal" else ()
    size_hw = whole.shape[0], whole.shape[1]
    severity: Severity | None
    if joint is not None and enough:
        together = Calibration(scores=tuple(joint.good_scores()), method="split")
        severity = severity_of(score, together, shown, size_hw)
    else:
        severity = severest([one.severity for one in found.values()], shown, size_hw)
    chance = 1 - p_value if verdict != "normal" else (1 - p_value) / 2
    return replace(
        lead,
        map=whole,
        view=picture,
        size_hw=size_hw,
        score=score,
        severity=severity,
        p_value=p_value,
        verdict=verdict,
        confidence=1 - chance if verdict == "normal" else chance,
        guaranteed=guaranteed,
        regions=shown,
        answer=_sentence(verdict, found, p_value, rate) + (f" {unfit.said}" if unfit else ""),
        unfit=unfit if verdict == "unsure" else None,
        notes=tuple(notes),
        seconds={f"{sense} {k}": v for sense, o in found.items() for k, v in o.seconds.items()},
        sense="+".join(found),
        senses=tuple(
            SenseFinding(
                sense=sense, file=one.image, score=one.score, p_value=one.p_value,
                verdict=one.verdict,
            )
            for sense, one in found.items()
        ),
    )  # fmt: skip


def _most_careful(found: Mapping[str, Inspection], p_value: float, rate: float) -> Verdict:
    """Without a joint calibration: an alarm by the common p-value; unsure where any sense is."""
    if p_value <= rate:
        return "anomalous"
    return "normal" if all(one.verdict == "normal" for one in found.values()) else "unsure"


def _sentence(
    verdict: Verdict, found: Mapping[str, Inspection], p_value: float, rate: float
) -> str:
    if verdict == "normal":
        return f"No anomaly found by {len(found)} senses (p = {p_value:.3g})."
    low = [sense for sense, one in found.items() if one.p_value <= 2 * rate]
    low = low or [min(found, key=lambda sense: found[sense].p_value)]
    told = [WORDS[sense] + _places(found[sense]) for sense in low]
    start, end = ("Anomalous", "") if verdict == "anomalous" else ("Unsure", "; please look")
    return f"{start} by {listed(told)}{end} (p = {p_value:.3g} of all {len(found)} senses)."


def _places(found: Inspection) -> str:
    """Where one sense found something, in brackets; nothing where it did not."""
    places = [region.where or region.place for region in found.regions[:2]]
    return f" ({'; '.join(places)})" if places else ""


def listed(words: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
