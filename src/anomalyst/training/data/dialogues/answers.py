"""The true answer to each kind of question, from the facts, worded in many ways."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anomalyst.training.data.dialogues.patterns import expand
from anomalyst.types import Region
from anomalyst.vlm.facts import MOST_NAMED, Facts, number
from anomalyst.vlm.grounding import lies_in
from anomalyst.vlm.wording import (
    ORDINALS,
    SHOWN,
    all_described,
    counted,
    described,
    is_or_are,
    listed,
    plainly,
    tag,
    there_are,
    with_article,
)

# Answers that need no facts.
_FIXED = {
    "declined": "The picture cannot tell that; ask me about defects, places, kinds and sizes.",
    "foreign": "I understand English only; please ask in English.",
    "hello": "Hello! Ask me whether there is a defect, and where.",
    "thanks": "You are welcome.",
    "help": "Ask me whether there is a defect, how many, where, what kind, how large, and how "
    "sure.",
}
# Answers where nothing was found.
_NOTHING_FOUND = {
    "count": "(None|Zero): there is no defect.",
    "where": "Nowhere: there is no defect.",
    "kind": "(Nothing is wrong|It has none): there is no defect.",
    "size": "There is nothing to measure: there is no defect.",
    "report": "I see no defect[: it looks like a good one].",
    **dict.fromkeys(("worst", "largest", "nth", "it"), "There is no defect."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What a question is about."""

    name: str
    focus: int | None = None  # the region that "it" or "the second one" means, from 0
    where: str = ""  # the place asked for: "upper left", "left"
    kind: str = ""  # the kind asked for


def answer_to(intent: Intent, facts: Facts, look: str, rng: np.random.Generator) -> str:
    """The raw answer, places as `<region 1>`. `look`: what the product looks like, if known."""
    if intent.name in _FIXED:
        return _FIXED[intent.name]
    if intent.name in _NOTHING_FOUND and not facts.regions:
        return expand(_NOTHING_FOUND[intent.name], rng)
    if intent.name == "look":
        return _look(facts, look)
    if facts.verdict == "normal" and intent.name == "presence":
        return expand("No, (there is no defect|I see no defect)[: it looks like a good one].", rng)
    if facts.verdict == "normal" and intent.name in ("sound", "order"):
        found = expand("It is sound: (there is no defect|I see no defect).", rng)
        return found if intent.name == "sound" else _in_spite_of_order(found)
    return _WRITERS[intent.name](intent, facts)


def _sound(intent: Intent, facts: Facts) -> str:
    found = f"{there_are(facts)}, {all_described(facts)}"
    if facts.verdict == "unsure":
        return f"It is probably not sound: {found}. Please look at it."
    return f"It is not sound: {found}."


def _in_spite_of_order(sound: str) -> str:
    return f"I answer from the picture: {sound[0].lower()}{sound[1:]}"


def _count(intent: Intent, facts: Facts) -> str:
    found = f"{there_are(facts)}: {_tags(facts)}."
    return found.capitalize() if facts.verdict == "anomalous" else f"Probably {found}"


def _each(intent: Intent, facts: Facts, way: Callable[[Region], str], at: str = "") -> str:
    """One thing about the region in focus, or about each of the worst."""
    if intent.focus is not None:
        return f"It is {at}{way(facts.regions[intent.focus])} {tag(intent.focus)}."
    ways = [f"{way(region)} {tag(i)}" for i, region in enumerate(facts.regions[:SHOWN])]
    start = "It is" if len(facts.regions) == 1 else "They are"
    start = start if facts.verdict == "anomalous" else f"Probably {start.lower()}"
    return f"{start} {at}{listed(ways, len(facts.regions))}."


def _report(intent: Intent, facts: Facts) -> str:
    start = "I see" if facts.verdict == "anomalous" else "I am not sure, but I see"
    return f"{start} {counted(facts)}: {all_described(facts)}."


def _sure(intent: Intent, facts: Facts) -> str:
    where = f"; what differs from a good one is {_tags(facts)}" if facts.regions else ""
    basis = "by its own good pictures" if facts.guaranteed else "but without a guarantee"
    chance = f"{facts.chance} good parts look this unusual"
    return f"I am {facts.surety} sure: {chance}, {basis}{where}."


def _look(facts: Facts, look: str) -> str:
    colours = f", {' on '.join(facts.colours)}" if facts.colours else ""
    name = " You call it <product>." if facts.product else ""
    return f"It looks like {look}{colours}.{name}"


def _colour(intent: Intent, facts: Facts) -> str:
    if not facts.colours:
        return "I do not know its colour."
    return f"It is {' on '.join(facts.colours)}."


def _good(intent: Intent, facts: Facts) -> str:
    if facts.num_good == 0:
        return "I have seen no good one: I judge this picture by itself."
    one = facts.num_good == 1
    pictures = "good picture" if one else f"{number(facts.num_good)} good pictures"
    but = f": without {_tags(facts)}" if facts.regions else ", and so does this one"
    told = " You said: <told>" if facts.told else ""
    return f"A good one looks like the {pictures} I know{but}.{told}"


def _nth(intent: Intent, facts: Facts) -> str:
    assert intent.focus is not None
    which = ORDINALS[intent.focus]
    if intent.focus >= len(facts.regions):
        return f"There is no {which} one: I see {counted(facts)}."
    return f"The {which} one is {described(facts, intent.focus)}."


def _at(intent: Intent, facts: Facts) -> str:
    named = facts.regions[:MOST_NAMED]
    there = [i for i, region in enumerate(named) if lies_in(region.place, intent.where)]
    if there:
        return f"There {_some_described(facts, there)}."
    where = {"upper": "top", "lower": "bottom"}.get(intent.where, intent.where)
    if not facts.regions:
        return f"Nothing stands out at the {where}: there is no defect."
    return f"Nothing stands out at the {where}; what I see is {all_described(facts)}."


def _of_kind(intent: Intent, facts: Facts) -> str:
    such = [i for i, region in enumerate(facts.regions[:MOST_NAMED]) if region.kind == intent.kind]
    if such:
        return f"Yes, there {_some_described(facts, such)}."
    if not facts.regions:
        return f"I see no {intent.kind} and no other defect."
    return f"I see no {intent.kind}; what I see is {all_described(facts)}."


def _some_described(facts: Facts, indices: Sequence[int]) -> str:
    some = [described(facts, i) for i in indices[:SHOWN]]
    return f"{is_or_are(len(some))} {listed(some, len(some))}"


def _tags(facts: Facts) -> str:
    shown = range(min(SHOWN, len(facts.regions)))
    return listed([tag(i) for i in shown], len(facts.regions))


_WRITERS: dict[str, Callable[[Intent, Facts], str]] = {
    "presence": lambda _, facts: plainly(facts),
    "sound": _sound,
    "order": lambda intent, facts: _in_spite_of_order(_sound(intent, facts)),
    "count": _count,
    "where": lambda intent, facts: _each(intent, facts, lambda r: f"the {r.place}", "at "),
    "kind": lambda intent, facts: _each(intent, facts, with_article),
    "size": lambda intent, facts: _each(intent, facts, facts.size),
    "report": _report,
    "sure": _sure,
    "colour": _colour,
    "good": _good,
    "worst": lambda _, facts: f"The clearest one is {described(facts, 0)}.",
    "largest": lambda _, facts: f"The largest one is {described(facts, facts.largest)}.",
    "nth": _nth,
    "it": lambda intent, facts: f"It is {described(facts, intent.focus or 0)}.",
    "at": _at,
    "of kind": _of_kind,
    "told": lambda _, facts: (
        "You said: <told>" if facts.told else "You have told me nothing about it."
    ),
}
