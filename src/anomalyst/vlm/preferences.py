"""What people prefer among answers: the record that the workbench writes and training reads."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.vlm.facts import Facts

FORM = 1  # of the lines; another one is refused
Kind = Literal["ranking", "answer", "thumb"]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two raw answers to one question, the better one first."""

    chosen: str
    rejected: str
    margin: float  # ranks between them


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Answers to one question about one picture, as somebody ranked them.

    A better wording ("answer") is the ranking of two; a thumb is one answer, of rank 1 (up) or 2.
    """

    id: str  # of the correction it comes from
    kind: Kind
    inspection: str
    product: str
    by: str
    time: str  # ISO 8601, UTC
    model: str  # version of the language model that answered
    question: str
    turns: tuple[tuple[str, str], ...] = ()  # earlier questions and raw answers
    facts: Facts
    shown: str = ""  # what the model was shown: safetensors, beside the record; empty: not kept
    answers: tuple[str, ...]  # raw: regions as `<region 1>`
    ranks: tuple[int, ...]  # 1: the best; equal ranks: ties
    contradictions: tuple[str, ...] = ()  # of each answer, what goes against the facts; empty: none
    texts: tuple[str, ...] = ()  # of each answer, as people read it

    def pairs(self) -> Iterator[Pair]:
        """Every two of unequal rank; answers that go against the facts are never the better one."""
        wrong = self.contradictions or ("",) * len(self.answers)
        for i, j in combinations(range(len(self.answers)), 2):
            better, worse = (i, j) if self.ranks[i] < self.ranks[j] else (j, i)
            if (
                self.ranks[i] == self.ranks[j]
                or self.answers[i] == self.answers[j]
                or wrong[better]
            ):
                continue
            margin = float(self.ranks[worse] - self.ranks[better])
            yield Pair(self.answers[better], self.answers[worse], margin)

    def best(self) -> str | None:
        """The raw answer to learn from; None where none is liked better, or goes against nothing.

        Of several that are liked alike, the first one.
        """
        if self.kind == "thumb" and self.ranks[0] != 1:
            return None
        if self.kind != "thumb" and len(set(self.ranks)) == 1:
            return None
        wrong = self.contradictions or ("",) * len(self.answers)
        liked = zip(self.answers, self.ranks, wrong, strict=True)
        first = min(self.ranks)
        return next((a for a, rank, against in liked if rank == first and not against), None)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"form": FORM, "facts": self.facts.as_dict()}


def write_rankings(path: Path, rankings: Iterable[Ranking]) -> int:
    """JSON lines; returns how many."""
    lines = [json.dumps(one.as_dict()) + "\n" for one in rankings]
    write_text(path, "".join(lines))
    return len(lines)


def read_rankings(path: Path) -> list[Ranking]:
    """The rankings of a file. Raises AnomalystError with the line that cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise AnomalystError(f"{path}: cannot be read ({error}).") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
            if values.get("form") != FORM:
                raise AnomalystError(
                    f"{path}, line {number}: was written in form {values.get('form')!r}, this "
                    f"version reads {FORM}; export it again with `anomalyst store preferences`."
                )
            found.append(_ranking(values))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AnomalystError(
                f"{path}, line {number}: is no ranking ({type(error).__name__}: {error}); write "
                "the file with `anomalyst store preferences`."
            ) from error
    return found


def _ranking(values: dict[str, Any]) -> Ranking:
    held = {key: value for key, value in values.items() if key != "form"}
    for name in ("answers", "ranks", "contradictions", "texts"):
        held[name] = tuple(held.get(name, ()))
    if len(held["answers"]) != len(held["ranks"]) or not held["answers"]:
        raise ValueError(f"{len(held['answers'])} answers and {len(held['ranks'])} ranks")
    turns = tuple((question, answer) for question, answer in held["turns"])
    return Ranking(**held | {"turns": turns, "facts": Facts.from_dict(held["facts"])})
