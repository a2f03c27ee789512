"""Answers that people judge, as a correction keeps them: raw, facts, ranks and what is wrong."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from anomalyst.server.storage.tables import InspectionRow, TurnRow
from anomalyst.types import Answer, Inspection, Turn
from anomalyst.vlm.contradictions import contradiction, contradiction_of, judged_raw, raw_words
from anomalyst.vlm.facts import Facts, facts_of

Detail = dict[str, Any]
LETTERS = "ABCD"  # what answers to be ranked are called, in the order shown
WARNING = (
    "Kept, but {} goes against what was found: {}. It is never learnt as the better one, whatever "
    "is said of the verdict. If the verdict is wrong, mark it Wrong: that is learnt by itself."
)


def facts_of_row(row: InspectionRow) -> Facts:
    """What the language model was told of an inspection."""
    return facts_of(Inspection.from_dict(row.record or {}, np.zeros((1, 1), np.float32), {}))


def earlier(turns: Sequence[TurnRow]) -> list[list[str]]:
    """Questions and raw answers, as a model reads them again."""
    return [[turn.question, turn.answer["raw"]] for turn in turns]


class JudgedAnswers:
    """Answers to one question, given after some turns, as somebody judges them."""

    def __init__(self, seen: InspectionRow, question: str, turns: Sequence[Sequence[str]]):
        self.question, self.turns = question, [list(turn) for turn in turns]
        self.facts = facts_of_row(seen)
        self.answers: list[Detail] = []
        self.contradictions: list[str] = []
        self._read = [
            Turn(asked, Answer(text=raw, raw=raw, regions=(), verdict="unsure", confidence=0.0))
            for asked, raw in turns
        ]

    def add(self, said: dict[str, Any]) -> None:
        """An answer of ours, as a turn or a set of candidates keeps it."""
        answer = Answer.from_dict({k: v for k, v in said.items() if k != "temperature"})
        kept = {"text": answer.text, "raw": judged_raw(answer, self.facts), "model": answer.model}
        self.answers.append(kept | {"temperature": said.get("temperature", 0.0)})
        wrong = contradiction_of(answer, self.question, self.facts, self._read)
        self.contradictions.append(wrong)

    def add_words(self, words: str) -> None:
        """An answer of a person."""
        raw = raw_words(words, self.facts)
        self.answers.append({"text": words, "raw": raw, "model": "", "temperature": None})
        self.contradictions.append(contradiction(raw, self.question, self.facts, self._read))

    def detail(self, ranks: Sequence[int], **more: Any) -> Detail:
        """What a correction keeps; `warning` says what is preferred against the facts."""
        judged = zip(LETTERS, ranks, self.contradictions, strict=False)
        called = "answer {}" if "order" in more else "it"  # of one answer it is clear which
        wrong = [(called.format(one), why) for one, rank, why in judged if rank == 1 and why]
        return {
            "question": self.question,
            "turns": self.turns,
            "answers": self.answers,
            "ranks": list(ranks),
            "facts": self.facts.as_dict(),
            "model": next((one["model"] for one in self.answers if one["model"]), ""),
            "contradictions": self.contradictions,
            "warning": WARNING.format(*wrong[0]) if wrong else "",
            **more,
        }
