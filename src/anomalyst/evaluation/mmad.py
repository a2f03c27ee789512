"""MMAD (ICLR 2025): multiple-choice questions about defects, options scored by likelihood.

An option that goes against the calibrated verdict or the map is not chosen while another is left.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspector import Inspector
from anomalyst.vlm.facts import facts_of
from anomalyst.vlm.grounding import conflict

_SUBTASK = {"Object Structure": "Object Analysis", "Object Details": "Object Analysis"}


@dataclass(frozen=True, slots=True)
class Question:
    """One multiple-choice question; options are re-lettered A, B, C ... in their order."""

    kind: str  # one of MMAD's seven subtasks
    text: str
    options: tuple[str, ...]
    right: int  # index into `options`


@dataclass(frozen=True, slots=True)
class Entry:
    """A query picture, its good picture and its questions."""

    image: Path
    template: Path | None
    dataset: str  # DS-MVTec, VisA, ...
    normal: bool
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen."""

    entry: Entry
    question: Question
    chosen: int

    @property
    def correct(self) -> bool:
        """Whether it is the right one."""
        return self.chosen == self.question.right

    def as_dict(self) -> dict[str, Any]:
        """As a line of answers.jsonl."""
        return {
            "image": str(self.entry.image),
            "type": self.question.kind,
            "question": self.question.text,
            "chosen": self.question.options[self.chosen],
            "right": self.question.options[self.question.right],
            "correct": self.correct,
        }


def read_mmad(path: Path, root: Path) -> list[Entry]:
    """The entries of `mmad.json`, pictures under `root`. Raises AnomalystError for other files."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(values, dict) and values
        return [_entry(key, value, root) for key, value in values.items()]
    except FileNotFoundError:
        raise AnomalystError(f"{path}: there is no such file.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise AnomalystError(
            f"{path}: is not MMAD's JSON ({type(error).__name__}: {error})."
        ) from error


def _entry(key: str, value: Mapping[str, Any], root: Path) -> Entry:
    templates = value.get("random_templates") or value.get("similar_templates") or []
    return Entry(
        image=root / key,
        template=root / templates[0] if templates else None,
        dataset=key.split("/")[0],
        normal="good" in Path(key).parts,
        questions=tuple(_question(one) for one in value["conversation"]),
    )


def _question(value: Mapping[str, Any]) -> Question:
    letters = list(value["Options"])
    return Question(
        kind=_SUBTASK.get(value["type"], value["type"]),
        text=value["Question"],
        options=tuple(str(value["Options"][letter]) for letter in letters),
        right=letters.index(value["Answer"]),
    )


def run_mmad(
    inspector: Inspector, entries: Sequence[Entry], *, on_entry: Callable[[], None] = lambda: None
) -> Iterator[Choice | PictureError]:
    """Every question of every picture, beside a good one; for a broken picture its error."""
    for entry in entries:
        good = [entry.template] if entry.template else []
        try:
            product = inspector.teach(entry.dataset, good) if good else inspector.untaught()
            found = inspector.inspect(entry.image, product)
        except PictureError as error:
            yield error
        else:
            for question in entry.questions:
                yield Choice(entry, question, chosen(inspector, question, found))
        on_entry()


def chosen(inspector: Inspector, question: Question, found: Any) -> int:
    """The likeliest option of those that do not go against the map, or of all."""
    facts = facts_of(found)
    likely = inspector.speaker.likelihoods(question.text, question.options, facts, found.shown)
    fitting = [i for i, o in enumerate(question.options) if conflict(o, facts) is None]
    return max(fitting or range(len(likely)), key=lambda i: likely[i])


def mmad_table(choices: Sequence[Choice]) -> dict[str, dict[str, float]]:
    """Accuracy per data set and subtask, with their mean; in [0, 1].

    As MMAD's summary: detection is the mean of the accuracies on normal and on abnormal pictures,
    a set's average is over its subtasks, and "average" is over the sets.
    """
    groups: dict[tuple[str, str, bool], list[bool]] = defaultdict(list)
    for choice in choices:
        split = choice.entry.normal and choice.question.kind == "Anomaly Detection"
        groups[choice.entry.dataset, choice.question.kind, split].append(choice.correct)
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for dataset, kind in sorted({(d, k) for d, k, _ in groups}):
        shares = [sum(g) / len(g) for s in (False, True) if (g := groups.get((dataset, kind, s)))]
        table[dataset][kind] = sum(shares) / len(shares)
    for line in table.values():
        line["average"] = sum(line.values()) / len(line)
    table["average"] = {"average": sum(t["average"] for t in table.values()) / len(table)}
    return dict(table)
