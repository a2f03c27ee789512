"""Questions with the right first word of their answers, and a score of what answers them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from anomalyst.types import Region
from anomalyst.vlm.facts import Facts
from test_grounding import region

QUESTIONS = yaml.safe_load(
    (Path(__file__).parent / "data" / "yes_no_questions.yaml").read_text("utf-8")
)
LISTS = ("first", "second", "third")


def _region(values: Mapping[str, Any]) -> Region:
    one = region(values["place"], values["kind"], values["area_px"])
    return replace(one, part=values.get("part"))


def _facts(values: Mapping[str, Any]) -> Facts:
    return Facts(
        **{key: value for key, value in values.items() if key != "regions"},
        confidence=0.9,
        regions=tuple(_region(one) for one in values["regions"]),
        size_hw=(256, 256),
        colours=("brown", "white"),
    )


INSPECTIONS = {name: _facts(values) for name, values in QUESTIONS["inspections"].items()}


@dataclass(slots=True)
class Score:
    """Answers that begin with yes or no, and right ones of those where one word is right."""

    form: int = 0
    answers: int = 0
    right: int = 0
    told: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, question: str, about: str, expected: str, answer: str) -> None:
        """Count one answer; `expected` is y, n or . for either."""
        word = answer.split()[0].strip(",.:;").lower()
        self.answers += 1
        self.form += word in ("yes", "no")
        if expected != ".":
            self.told += 1
            self.right += word == {"y": "yes", "n": "no"}[expected]
        if word not in ("yes", "no") or (expected != "." and word[0] != expected):
            self.wrong.append(f"{question} [{about}: {expected}] {answer}")

    def __str__(self) -> str:
        return (
            f"form {self.form}/{self.answers} = {self.form / self.answers:.1%}, "
            f"right {self.right}/{self.told} = {self.right / self.told:.1%}"
        )


def scored(name: str, answer: Callable[[str, Facts], str], every: int = 1) -> Score:
    """The score of what answers, over every so manieth question about each inspection."""
    score = Score()
    for question, expected in list(QUESTIONS[name].items())[::every]:
        for (about, facts), letter in zip(INSPECTIONS.items(), expected, strict=True):
            score.add(question, about, letter, answer(question, facts))
    return score
