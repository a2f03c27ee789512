"""Inspection texts about records that never were: a note, an answer, a shift's summary.

Names, kinds, places, sizes and colours are the drawn world's; no picture is drawn for them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.io.colours import NAMES
from anomalyst.report.shift.drawn import drawn_shift
from anomalyst.report.shift.facts import ShiftFacts, facts_of
from anomalyst.report.shift.sentences import as_rows, summary_by_topic
from anomalyst.training.data.dialogues.scenes import LOOKS, imagined_regions
from anomalyst.training.data.dialogues.writer import write_dialogue
from anomalyst.types import Region, size_of
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.texts.records import (
    ANSWER,
    BETWEEN,
    NOTE,
    QUESTION,
    RECORD,
    ROWS,
    SUMMARY,
    record_text,
)
from anomalyst.vlm.wording import TAG

About = Literal["note", "answer", "shift"]
SHARES: dict[About, float] = {"note": 0.55, "answer": 0.25, "shift": 0.2}
SIDE_PX = 256
NORMAL_SHARE = 0.15
HURRIED_SHARE = 0.3  # of the notes
ASKED = ("presence", "sound", "where", "count", "kind", "size", "report")
TEXTS_SEED = 1 << 44  # nothing else is drawn from these


@dataclass(frozen=True, slots=True)
class DrawnText:
    """A text in two halves, of which the second can be told from the first."""

    about: About
    source: str
    target: str

    @property
    def whole(self) -> str:
        """Both."""
        return f"{self.source}{BETWEEN}{self.target}"


def draw_text(rng: np.random.Generator) -> DrawnText:
    """A text of any kind, by `SHARES`."""
    about = str(rng.choice(list(SHARES), p=list(SHARES.values())))
    return _DRAWN[about](rng)  # type: ignore[index]


def draw_facts(rng: np.random.Generator) -> Facts:
    """What might be known of a part: verdict, regions with kinds, colours, its name."""
    size_hw = (SIDE_PX, SIDE_PX)
    _, found = imagined_regions(rng, size_hw)
    normal = rng.random() < NORMAL_SHARE
    regions = () if normal else tuple(replace(r, kind=str(rng.choice(KINDS))) for r in found[:4])
    verdict = "normal" if normal else str(rng.choice(["anomalous", "unsure"], p=[0.85, 0.15]))
    return Facts(
        verdict=verdict,  # type: ignore[arg-type]
        p_value=0.5 if normal else 0.01,
        confidence=0.9,
        regions=regions,
        size_hw=size_hw,
        num_good=4,
        guaranteed=True,
        colours=tuple(map(str, rng.choice(list(NAMES), size=2, replace=False))),
        product=str(rng.choice(list(LOOKS))),
    )


def told(facts: Facts) -> str:
    """The facts as the record's line."""
    height, width = facts.size_hw
    values: dict[str, Any] = facts.as_dict() | {"height_px": height, "width_px": width}
    return record_text(values)


def note_of(facts: Facts, rng: np.random.Generator) -> str:
    """What a person might write of a part: about its worst region, in words of their own."""
    words = _words()
    if not facts.regions:
        note = _one(words["fine"], rng).format(name=facts.product)
    else:
        region = facts.regions[0]
        note = _one(words["notes"], rng).format(
            what=_what(region, facts.size_hw, rng),
            where=_one(words["places"][region.place], rng),
            name=facts.product,
        )
    if rng.random() < HURRIED_SHARE:
        hurried = words["hurried"]
        note = " ".join(hurried.get(word, word) for word in note.split())
    return note


def kind_of(facts: Facts) -> str:
    """The kind that a note about these facts is of; "fine" where there is nothing."""
    return str(facts.regions[0].kind) if facts.regions else "fine"


def draw_note(rng: np.random.Generator) -> DrawnText:
    """A note and the record that it is about, in either order."""
    facts = draw_facts(rng)
    halves = NOTE + note_of(facts, rng), RECORD + told(facts)
    return DrawnText("note", *(halves if rng.random() < 0.5 else halves[::-1]))


def draw_answer(rng: np.random.Generator) -> DrawnText:
    """A record with a question, and the true answer."""
    return answer_text(draw_facts(rng), rng)


def answer_text(facts: Facts, rng: np.random.Generator) -> DrawnText:
    """One question about known facts, and its answer without boxes."""
    [said] = write_dialogue(facts, LOOKS[facts.product], rng, turns=1, intents=ASKED)
    answer = " ".join(TAG.sub("", said.answer.replace("<product>", facts.product)).split())
    question = said.question.replace("<product>", facts.product)
    source = f"{RECORD}{told(facts)}{BETWEEN}{QUESTION}{question}"
    return DrawnText("answer", source, ANSWER + answer.replace(" .", ".").replace(" ,", ","))


def draw_shift_facts(rng: np.random.Generator) -> ShiftFacts:
    """What a drawn shift adds up to."""
    period, seen, said = drawn_shift(rng)
    return facts_of(period, seen, said)


def draw_shift(rng: np.random.Generator) -> DrawnText:
    """A shift's rows and their summary, in one of two wordings."""
    return shift_text(draw_shift_facts(rng), wording=int(rng.integers(2)))


def shift_text(facts: ShiftFacts, wording: int = 0) -> DrawnText:
    """The rows and the summary of known facts."""
    summary = " ".join(summary_by_topic(facts, wording).values())
    return DrawnText("shift", ROWS + as_rows(facts), SUMMARY + summary)


_DRAWN: dict[About, Callable[[np.random.Generator], DrawnText]] = {
    "note": draw_note, "answer": draw_answer, "shift": draw_shift,
}  # fmt: skip


def _what(region: Region, size_hw: tuple[int, int], rng: np.random.Generator) -> str:
    words = _words()
    size = _one(words["sizes"][size_of(region.area_px, size_hw)], rng)
    return f"{size} {_one(words['kinds'][region.kind], rng)}".strip()


def _one(choices: list[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


@cache
def _words() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(
        (Path(__file__).parent / "words.yaml").read_text(encoding="utf-8")
    )
    return found
