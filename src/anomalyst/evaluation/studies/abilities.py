"""What a method can do, found out by trying: five checks on drawn parts, none of them by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from anomalyst.datasets.reading import read_dataset
from anomalyst.errors import PictureError
from anomalyst.evaluation.metrics import auroc
from anomalyst.evaluation.protocols.protocol import Evaluable
from anomalyst.io.pictures import open_mask
from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset
from anomalyst.types import PLACES, SIZES, Answer, Dialogue, Inspection, Sample, place_of

NEAR_SHARE = 0.02  # of the picture's side: so far from a defect a map may peak and be right


@dataclass(frozen=True, slots=True, kw_only=True)
class AbilityConfig:
    """What is drawn, and how much is asked."""

    products: tuple[str, ...] = ("pill", "textile")
    """Families of drawn products, one of each: a part with a shape, and a surface."""
    good: int = 20
    """Good pictures of each, all taught where not one alone is."""
    test_good: int = 8
    """Sound pictures of each to judge."""
    test_bad: int = 8
    """Defective ones."""
    auroc_least: float = 0.8
    """Image AUROC, the mean over products, at which scores count as in order."""
    share_least: float = 0.75
    """Of the defective pictures, and of the sound ones, that must be right for a yes."""


@runtime_checkable
class Talks(Protocol):
    """What takes questions about a picture."""

    def ask(self, question: str, dialogue: Dialogue) -> Answer:
        """A question about an inspection, answered; both join the dialogue's turns."""


@dataclass(frozen=True, slots=True)
class Found:
    """Whether a method has an ability, and what showed it."""

    able: bool
    shown: str


@dataclass(frozen=True, slots=True)
class Trial:
    """One product as a method saw it."""

    samples: list[Sample]  # sound ones and defective ones, to judge
    few: list[Inspection]  # of each, taught one good picture
    taught: list[Inspection]  # of each, taught all


def draw_products(folder: Path, config: AbilityConfig) -> list[list[Sample]]:
    """The pictures of each product, drawn into a folder of its own."""
    found = []
    for number, family in enumerate(config.products):
        place = folder / f"{number}-{family}"
        drawn = SetConfig(
            family=family, train=config.good, test_good=config.test_good, test_bad=config.test_bad
        )
        write_dataset(place, drawn)
        found.append(read_dataset(place))
    return found


def try_method(
    method: Evaluable, products: Sequence[list[Sample]], config: AbilityConfig
) -> dict[str, Found]:
    """Every ability of a method, by what it does with drawn products."""
    trials = []
    for samples in products:
        good = [sample.image for sample in samples if sample.split == "train"]
        test = [sample for sample in samples if sample.split == "test"]
        trials.append(Trial(test, *(_seen(method, good[:n], test) for n in (1, len(good)))))
    return {name: check(method, trials, config) for name, check in CHECKS.items()}


def _seen(method: Evaluable, good: Sequence[Path], test: Sequence[Sample]) -> list[Inspection]:
    product = method.teach("part", good)
    answers = method.inspect_many([one.image for one in test], product, false_alarm_rate=0.05)
    found = []
    for answer in answers:
        assert not isinstance(answer, PictureError), answer  # they were drawn a moment ago
        found.append(answer)
    return found


def check_few_shot(method: Evaluable, trials: Sequence[Trial], config: AbilityConfig) -> Found:
    """Taught one good picture, its scores put defective pictures above sound ones."""
    del method
    return _in_order([(one.samples, one.few) for one in trials], config)


def check_score(method: Evaluable, trials: Sequence[Trial], config: AbilityConfig) -> Found:
    """Taught every good picture, its scores put defective pictures above sound ones."""
    del method
    return _in_order([(one.samples, one.taught) for one in trials], config)


def check_localisation(method: Evaluable, trials: Sequence[Trial], config: AbilityConfig) -> Found:
    """Its maps peak in the defect."""
    del method
    inside = [
        _peaks_inside(sample, seen)
        for trial in trials
        for sample, seen in zip(trial.samples, trial.taught, strict=True)
        if sample.label == "anomalous"
    ]
    able = sum(inside) >= config.share_least * len(inside)
    return Found(able, f"{sum(inside)} of {len(inside)} peaks in the defect")


def check_judgement(method: Evaluable, trials: Sequence[Trial], config: AbilityConfig) -> Found:
    """It says "normal" or "anomalous" without a threshold from its user, and is right."""
    del method
    pairs = [
        (sample.label, seen.verdict)
        for trial in trials
        for sample, seen in zip(trial.samples, trial.taught, strict=True)
    ]
    if all(verdict == "unsure" for _, verdict in pairs):
        return Found(False, "gives no verdict, only a score")
    able, parts = True, []
    for label, word in (("normal", "sound"), ("anomalous", "defective")):
        right = [verdict == label for known, verdict in pairs if known == label]
        able = able and sum(right) >= config.share_least * len(right)
        parts.append(f"{sum(right)} of {len(right)} {word}")
    return Found(able, f"{' and '.join(parts)} right")


QUESTIONS = ("Is there a defect?", "Where is it?", "How large is it?")


def check_dialogue(method: Evaluable, trials: Sequence[Trial], config: AbilityConfig) -> Found:
    """Three turns about a defect: yes, its true place, and the size of what "it" is."""
    del config
    if not isinstance(method, Talks):
        return Found(False, "takes no question")
    right = 0
    for trial in trials:
        sample, seen = next(
            pair
            for pair in zip(trial.samples, trial.taught, strict=True)
            if pair[0].label == "anomalous" and pair[0].defect != "combined"  # one place to name
        )
        right += _talk_is_right(method, sample, seen)
    return Found(right == len(trials), f"{right} of {len(trials)} dialogues of 3 turns right")


CHECKS: dict[str, Callable[[Evaluable, Sequence[Trial], AbilityConfig], Found]] = {
    "few-shot": check_few_shot,
    "score": check_score,
    "localisation": check_localisation,
    "judgement": check_judgement,
    "dialogue": check_dialogue,
}


def _in_order(
    pairs: Sequence[tuple[list[Sample], list[Inspection]]], config: AbilityConfig
) -> Found:
    areas = [
        auroc([int(s.label == "anomalous") for s in samples], [one.score for one in seen])
        for samples, seen in pairs
    ]
    mean = float(np.mean(areas))
    return Found(mean >= config.auroc_least, f"AUROC {mean:.2f}")


def _peaks_inside(sample: Sample, seen: Inspection) -> bool:
    """Whether the map's highest place is in the defect, or at its edge."""
    assert sample.mask is not None
    near = round(NEAR_SHARE * max(seen.size_hw))
    mask = open_mask(sample.mask, seen.size_hw).astype(np.uint8)
    grown = cv2.dilate(mask, np.ones((2 * near + 1, 2 * near + 1), np.uint8))
    map_ = np.asarray(seen.map)
    y, x = np.unravel_index(map_.argmax(), map_.shape)
    return bool(grown[y, x])


def _talk_is_right(method: Talks, sample: Sample, seen: Inspection) -> bool:
    assert sample.mask is not None
    rows, columns = np.nonzero(open_mask(sample.mask, seen.size_hw))
    place = place_of((float(columns.mean()), float(rows.mean())), seen.size_hw)
    dialogue = Dialogue(seen)
    said = [method.ask(question, dialogue).text.lower() for question in QUESTIONS]
    named = {one for one in PLACES if one in said[1]}
    return (
        said[0].startswith("yes")
        and max(named, key=len, default="") == place  # "upper centre" holds "centre"
        and any(size in said[2] for size in SIZES)
        and dialogue.turns[2].answer.regions == dialogue.turns[1].answer.regions
    )
