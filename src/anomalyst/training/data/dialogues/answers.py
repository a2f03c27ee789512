"""The true answer to each kind of question, from the facts, worded in many ways."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from anomalyst.training.data.dialogues.patterns import said
from anomalyst.types import Region
from anomalyst.vlm.facts import MOST_NAMED, Facts, number
from anomalyst.vlm.wording import (
    ORDINALS,
    SHOWN,
    all_described,
    counted,
    described,
    listed,
    plainly,
    tag,
    with_article,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a question is about."""

    intent: str
    focus: int | None = None  # the region that "it" or "the second one" means, from 0
    where: str = ""  # the place asked for: "upper left", "left"
    kind: str = ""  # the kind asked for


def answered(asked: Asked, facts: Facts, look: str, rng: np.random.Generator) -> str:
    """The raw answer, places as `<region 1>`. `look`: what the product looks like, if known."""
    if asked.intent == "look":
        return _look(facts, look, rng)
    return _WRITERS[asked.intent](asked, facts, rng)


def _presence(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if facts.verdict == "normal":
        return said("No, (there is no defect|I see no defect)[: it looks like a good one].", rng)
    return plainly(facts)


def _sound(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if facts.verdict == "normal":
        return said("It is sound: (there is no defect|I see no defect).", rng)
    verb = "is" if len(facts.regions) == 1 else "are"
    found = f"there {verb} {counted(facts)}, {all_described(facts)}"
    if facts.verdict == "unsure":
        return f"It is probably not sound: {found}. Please look at it."
    return f"It is not sound: {found}."


def _count(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if not facts.regions:
        return said("(None|Zero): there is no defect.", rng)
    verb = "is" if len(facts.regions) == 1 else "are"
    start = "There" if facts.verdict == "anomalous" else "Probably there"
    return f"{start} {verb} {counted(facts)}: {_tags(facts)}."


def _where(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if not facts.regions:
        return said("Nowhere: there is no defect.", rng)
    return _each(asked, facts, lambda region: f"the {region.place}", "at ")


def _kind(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if not facts.regions:
        return said("(Nothing is wrong|It has none): there is no defect.", rng)
    return _each(asked, facts, with_article)


def _size(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if not facts.regions:
        return said("There is nothing to measure: there is no defect.", rng)
    return _each(asked, facts, facts.size)


def _each(asked: Asked, facts: Facts, way: Callable[[Region], str], at: str = "") -> str:
    """One thing about the region in focus, or about each of the worst."""
    if asked.focus is not None:
        return f"It is {at}{way(facts.regions[asked.focus])} {tag(asked.focus)}."
    ways = [f"{way(region)} {tag(i)}" for i, region in enumerate(facts.regions[:SHOWN])]
    return f"{_it_is(facts)} {at}{listed(ways, len(facts.regions))}."


def _report(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if not facts.regions:
        return said("I see no defect[: it looks like a good one].", rng)
    start = "I see" if facts.verdict == "anomalous" else "I am not sure, but I see"
    return f"{start} {counted(facts)}: {all_described(facts)}."


def _sure(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    sure = {"very": "I am very sure", "fairly": "I am fairly sure", "not": "I am not sure"}
    chance = f"{facts.chance} good parts look this unusual"
    where = f"; what differs from a good one is {_tags(facts)}" if facts.regions else ""
    if facts.guaranteed:
        return f"{sure[facts.surety]}: {chance}, by its own good pictures{where}."
    return f"{sure[facts.surety]}: {chance}, but without a guarantee{where}."


def _look(facts: Facts, look: str, rng: np.random.Generator) -> str:
    colours = f", {' on '.join(facts.colours)}" if facts.colours else ""
    name = " You call it <product>." if facts.product else ""
    return f"It looks like {look}{colours}.{name}"


def _colour(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if not facts.colours:
        return "I do not know its colour."
    return f"It is {' on '.join(facts.colours)}."


def _good(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if facts.num_good == 0:
        return "I have seen no good one: I judge this picture by itself."
    one = facts.num_good == 1
    pictures = "good picture" if one else f"{number(facts.num_good)} good pictures"
    start = f"A good one looks like the {pictures} I know"
    but = f": without {_tags(facts)}" if facts.regions else ", and so does this one"
    told = " You said: <told>" if facts.told else ""
    return f"{start}{but}.{told}"


def _worst(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if not facts.regions:
        return "There is no defect."
    return f"The clearest one is {described(facts, 0)}."


def _largest(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if not facts.regions:
        return "There is no defect."
    return f"The largest one is {described(facts, facts.largest)}."


def _nth(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    assert asked.focus is not None
    if not facts.regions:
        return "There is no defect."
    if asked.focus >= len(facts.regions):
        return f"There is no {ORDINALS[asked.focus]} one: I see {counted(facts)}."
    return f"The {ORDINALS[asked.focus]} one is {described(facts, asked.focus)}."


def _it(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    if not facts.regions:
        return "There is no defect."
    return f"It is {described(facts, asked.focus or 0)}."


def matches(place: str, where: str) -> bool:
    """Whether a cell of the grid lies in a place asked for: a cell, a row or a column."""
    if where in ("upper", "lower"):
        return place.startswith(where)
    if where in ("left", "right"):
        return place.endswith(where)
    return place == where


def _at(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    there = [i for i, r in enumerate(facts.regions[:MOST_NAMED]) if matches(r.place, asked.where)][
        :SHOWN
    ]
    if there:
        verb = "is" if len(there) == 1 else "are"
        return f"There {verb} {listed([described(facts, i) for i in there], len(there))}."
    where = {"upper": "top", "lower": "bottom"}.get(asked.where, asked.where)
    if not facts.regions:
        return f"Nothing stands out at the {where}: there is no defect."
    return f"Nothing stands out at the {where}; what I see is {all_described(facts)}."


def _of_kind(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    such = [i for i, r in enumerate(facts.regions[:MOST_NAMED]) if r.kind == asked.kind][:SHOWN]
    if such:
        verb = "is" if len(such) == 1 else "are"
        return f"Yes, there {verb} {listed([described(facts, i) for i in such], len(such))}."
    if not facts.regions:
        return f"I see no {asked.kind} and no other defect."
    return f"I see no {asked.kind}; what I see is {all_described(facts)}."


def _order(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    text = _sound(asked, facts, rng)
    return f"I answer from the picture: {text[0].lower()}{text[1:]}"


def _told(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    return "You said: <told>" if facts.told else "You have told me nothing about it."


def _declined(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    return "The picture cannot tell that; ask me about defects, places, kinds and sizes."


def _foreign(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    return "I understand English only; please ask in English."


def _hello(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    return "Hello! Ask me whether there is a defect, and where."


def _thanks(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    return "You are welcome."


def _help(asked: Asked, facts: Facts, rng: np.random.Generator) -> str:
    return "Ask me whether there is a defect, how many, where, what kind, how large, and how sure."


def _tags(facts: Facts) -> str:
    shown = range(min(SHOWN, len(facts.regions)))
    return listed([tag(i) for i in shown], len(facts.regions))


def _it_is(facts: Facts) -> str:
    start = "It is" if len(facts.regions) == 1 else "They are"
    return start if facts.verdict == "anomalous" else f"Probably {start.lower()}"


_WRITERS = {
    "presence": _presence,
    "sound": _sound,
    "count": _count,
    "where": _where,
    "kind": _kind,
    "size": _size,
    "report": _report,
    "sure": _sure,
    "colour": _colour,
    "good": _good,
    "worst": _worst,
    "largest": _largest,
    "nth": _nth,
    "it": _it,
    "at": _at,
    "of kind": _of_kind,
    "order": _order,
    "told": _told,
    "declined": _declined,
    "foreign": _foreign,
    "hello": _hello,
    "thanks": _thanks,
    "help": _help,
}
