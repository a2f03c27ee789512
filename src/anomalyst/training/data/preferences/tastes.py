"""Inspectors with a known taste: what simulated people like in answers, as a formula.

    liking = rightness + term        with the taste's term in [0, 1)

Rightness is 0 where an answer goes against the facts, 1 + right where it leaves out something that
was asked (right < 1), and 3 where it says it all: no taste prefers a wrong answer to a right one.
The term of `n` words is 10 / (10 + n) for "short"; of `n` true details named (sizes, kinds, places
and tags of regions, their count, the chance, the calibration, colours) n / (n + 5) for "precise";
of `n` kinds of hedges (a doubt, how sure, to look again, what it rests on) n / (n + 2) for
"cautious".
"""

import re
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import combinations

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.training.alignment.descriptions import descriptions, of_region
from anomalyst.training.alignment.verifiable import Verified, verify
from anomalyst.training.data.dialogues.answers import Intent
from anomalyst.training.data.preferences.styles import write
from anomalyst.vlm.facts import Facts, number

TASTES = ("short", "precise", "cautious")

_HEDGES = (
    re.compile(r"\b(?:probably|possibly|perhaps|not sure)\b"),
    re.compile(r"\b(?:very|fairly|not) sure\b"),
    re.compile(r"\bplease look\b"),
    re.compile(r"\b(?:guarantee|own good pictures|good pictures? i know|by itself)\b"),
)
_BASIS = re.compile(r"\b(?:guarantee|own good pictures)\b")


def liking(taste: str, raw: str, intent: Intent, facts: Facts) -> float:
    """How much an inspector likes an answer, in [0, 4); the formula is the module's.

    Raises AnomalystError for an unknown taste.
    """
    check_taste(taste)
    verified = verify(raw, intent, facts)
    right = 3.0 if verified.right == 1.0 else 1.0 + verified.right
    return (0.0 if verified.contradictions else right) + _TERMS[taste](raw, facts, verified)


def check_taste(taste: str) -> None:
    """Raises AnomalystError for an unknown taste, with the nearest one."""
    if taste not in TASTES:
        near = get_close_matches(taste, TASTES, n=1, cutoff=0.0)[0]
        raise AnomalystError(
            f"taste {taste!r} is not known; the nearest is {near!r}, of {', '.join(TASTES)}."
        )


def ranks(
    taste: str,
    answers: Sequence[str],
    intent: Intent,
    facts: Facts,
    rng: np.random.Generator,
    *,
    noise: float = 0.1,
) -> tuple[int, ...]:
    """The rank of each answer, 1 the best; answers liked equally are tied.

    Every two answers of unequal liking are compared, and with probability `noise` the comparison
    comes out the wrong way. They are then ranked by how many comparisons they won; ranks are dense.
    Of two answers `noise` is the share ranked wrongly; of more it is less: a cycle ends in ties.
    """
    liked = [liking(taste, answer, intent, facts) for answer in answers]
    won = [0] * len(answers)
    for i, j in combinations(range(len(answers)), 2):
        if liked[i] == liked[j]:
            continue  # a tie is won by neither
        better, worse = (i, j) if liked[i] > liked[j] else (j, i)
        won[worse if rng.random() < noise else better] += 1
    order = sorted(set(won), reverse=True)
    return tuple(order.index(count) + 1 for count in won)


def reworded(taste: str, intent: Intent, facts: Facts, look: str, rng: np.random.Generator) -> str:
    """What the inspector would have said. Raises AnomalystError for an unknown taste."""
    check_taste(taste)
    return write(taste, intent, facts, look, rng)  # type: ignore[arg-type]


def details(raw: str, facts: Facts) -> int:
    """How many true details an answer names, each once."""
    text, count = raw.lower(), 0
    for index, said in descriptions(raw).items():
        if index < len(facts.regions):
            true = of_region(facts, index).items()
            count += 1 + sum(value in getattr(said, name) for name, value in true)
    total = number(len(facts.regions))
    count += re.search(rf"\b{total}(?: defects?\b|:)", text) is not None
    count += re.search(rf"\b{facts.chance}\b", text) is not None
    count += _BASIS.search(text) is not None
    return count + sum(colour in text for colour in facts.colours)


def hedges(raw: str) -> int:
    """How many kinds of hedges an answer has."""
    return sum(hedge.search(raw.lower()) is not None for hedge in _HEDGES)


def _precise(raw: str, facts: Facts, _: Verified) -> float:
    named = details(raw, facts)
    return named / (named + 5)


def _cautious(raw: str, _: Facts, __: Verified) -> float:
    said = hedges(raw)
    return said / (said + 2)


_TERMS: dict[str, Callable[[str, Facts, Verified], float]] = {
    "short": lambda _, __, verified: 10 / (10 + verified.words),
    "precise": _precise,
    "cautious": _cautious,
}
