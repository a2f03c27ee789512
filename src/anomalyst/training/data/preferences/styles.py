"""One true answer in four styles: as the grammar words it, short, precise or cautious.

Whatever the style, an answer says all that was asked and can be spoken under the rules of
`vlm/constrained_decoding.py`, which spell descriptions as the facts do. Where a style has nothing
of its own to say, the answer is the grammar's.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import yaml

from anomalyst.training.data.dialogues.answers import Intent, answer_to
from anomalyst.training.data.dialogues.patterns import expand, one_of
from anomalyst.vlm.facts import MOST_NAMED, Facts, number
from anomalyst.vlm.grounding import lies_in
from anomalyst.vlm.wording import (
    SHOWN,
    all_described,
    described,
    listed,
    tag,
    there_are,
    with_article,
)

Style = Literal["plain", "short", "precise", "cautious"]
STYLES: tuple[Style, ...] = get_args(Style)

# Questions whose answer is what was found.
_OF_DEFECTS = (
    "presence", "sound", "order", "count", "where", "kind", "size", "report", "worst", "largest",
    "nth", "it", "at", "of kind",
)  # fmt: skip
_SHORT_WITHOUT_DEFECT = {
    "presence": "No, none.",
    "sound": "It is sound: no defect.",
    "order": "It is sound: no defect.",
    "count": "None.",
    "where": "Nowhere.",
    **dict.fromkeys(("kind", "size", "report", "worst", "largest", "nth", "it"), "No defect."),
}
_SHORT_FIXED = {
    "declined": "The picture cannot tell that.",
    "foreign": "Please ask in English.",
    "hello": "Hello! Ask me about defects.",
    "help": "Ask me about defects, places, kinds and sizes.",
}


def write(style: Style, intent: Intent, facts: Facts, look: str, rng: np.random.Generator) -> str:
    """The raw answer to a question in a style; `look`: what the product looks like."""
    plain = answer_to(intent, facts, look, rng)
    if style == "plain" or bool(facts.regions) == (facts.verdict == "normal"):
        return plain
    if style == "short":
        return _short(intent, facts, look) or plain
    if style == "precise":
        return _precise(intent, facts, plain)
    return _cautious(intent, facts, plain, rng)


def _short(intent: Intent, facts: Facts, look: str) -> str | None:
    """The fewest words that still say what was asked."""
    name = intent.name
    if name in _SHORT_FIXED:
        return _SHORT_FIXED[name]
    if not facts.regions and name in _SHORT_WITHOUT_DEFECT:
        return _SHORT_WITHOUT_DEFECT[name]
    writer = _SHORT.get(name)
    return writer(intent, facts, look) if writer else None


def _begun(start: str, facts: Facts) -> str:
    """How an answer begins: with doubt, where the verdict has one."""
    if facts.verdict != "unsure":
        return start
    return f"Probably {start[:1].lower()}{start[1:]}"


def _ways(facts: Facts, way: Callable[[int], str], indices: Sequence[int] | None = None) -> str:
    """The worst regions in some words each, the others counted; or some of them."""
    if indices is not None:
        return listed([way(i) for i in indices], len(indices))
    shown = range(min(SHOWN, len(facts.regions)))
    return listed([way(i) for i in shown], len(facts.regions))


def _short_presence(_: Intent, facts: Facts, __: str) -> str:
    start = "Yes, probably" if facts.verdict == "unsure" else "Yes,"
    return f"{start} {_ways(facts, tag)}."


def _short_sound(_: Intent, facts: Facts, __: str) -> str:
    probably = "probably " if facts.verdict == "unsure" else ""
    return f"It is {probably}not sound: {_ways(facts, tag)}."


def _short_each(intent: Intent, facts: Facts, _: str) -> str | None:
    """One thing about each region, without a verb."""

    def way(index: int) -> str:
        region = facts.regions[index]
        if intent.name == "where":
            return f"the {region.place} {tag(index)}"
        said = facts.size(region) if intent.name == "size" else with_article(region)
        return f"{said} {tag(index)}"

    focus = None if intent.focus is None else [intent.focus]
    found = _ways(facts, way, focus)
    if intent.name == "kind" and any(r.kind is None for r in facts.regions):
        return None
    found = f"at {found}" if intent.name == "where" else found
    found = found if focus is not None else _begun(found, facts)
    return f"{found[:1].upper()}{found[1:]}."


def _short_of_one(intent: Intent, facts: Facts, _: str) -> str | None:
    if intent.focus is None or intent.focus >= len(facts.regions):
        which = answer_to(intent, facts, "", np.random.default_rng(0)).split(":")[0]
        return f"{which}." if intent.name == "nth" else None
    found = described(facts, intent.focus)
    return f"{found[:1].upper()}{found[1:]}."


def _short_such(intent: Intent, facts: Facts, _: str) -> str:
    """What is there, or of that kind; or only that there is nothing."""
    named = facts.regions[:MOST_NAMED]
    if intent.name == "at":
        such = [i for i, region in enumerate(named) if lies_in(region.place, intent.where)]
        where = {"upper": "top", "lower": "bottom"}.get(intent.where, intent.where)
        none = f"Nothing stands out at the {where}."
    else:
        such = [i for i, region in enumerate(named) if region.kind == intent.kind]
        none = f"I see no {intent.kind}."
    such = such[:SHOWN]
    if not such:
        return none
    together = such == list(range(such[0], such[0] + len(such)))
    # A bare tag may only follow the one before it.
    found = _ways(
        facts,
        lambda i: tag(i) if together else f"{with_article(facts.regions[i])} {tag(i)}",
        such,
    )
    start = "Yes," if intent.name == "of kind" else "There is" if len(such) == 1 else "There are"
    return f"{start} {found}."


def _short_count(_: Intent, facts: Facts, __: str) -> str:
    return f"{_begun(number(len(facts.regions)).capitalize(), facts)}: {_ways(facts, tag)}."


def _short_report(_: Intent, facts: Facts, __: str) -> str:
    return f"{_begun(number(len(facts.regions)).capitalize(), facts)}: {all_described(facts)}."


def _short_good(_: Intent, facts: Facts, __: str) -> str:
    if not facts.num_good:
        return "I have seen no good one."
    pictures = "picture" if facts.num_good == 1 else "pictures"
    count = "" if facts.num_good == 1 else f"{number(facts.num_good)} "
    without = f": without {_ways(facts, tag)}" if facts.regions else ""
    return f"The {count}good {pictures} I know{without}."


def _short_look(_: Intent, facts: Facts, look: str) -> str:
    colours = f", {' on '.join(facts.colours)}" if facts.colours else ""
    name = " Named <product>." if facts.product else ""
    return f"{look[:1].upper()}{look[1:]}{colours}.{name}"


def _short_colour(_: Intent, facts: Facts, __: str) -> str:
    return f"{' on '.join(facts.colours).capitalize() or 'Unknown'}."


def _short_sure(_: Intent, facts: Facts, __: str) -> str:
    return f"I am {facts.surety} sure: {facts.chance} good parts look this unusual."


_SHORT: Mapping[str, Callable[[Intent, Facts, str], str | None]] = {
    "presence": _short_presence,
    "sound": _short_sound,
    "order": _short_sound,
    "count": _short_count,
    **dict.fromkeys(("where", "kind", "size"), _short_each),
    **dict.fromkeys(("nth", "it"), _short_of_one),
    **dict.fromkeys(("at", "of kind"), _short_such),
    "report": _short_report,
    "sure": _short_sure,
    "good": _short_good,
    "look": _short_look,
    "colour": _short_colour,
    "told": lambda _, facts, __: None if facts.told else "You told me nothing.",
}


def _precise(intent: Intent, facts: Facts, plain: str) -> str:
    """What was asked with all that is known of each region named, and of the verdict."""
    name = intent.name
    if name == "good" and facts.regions and facts.num_good:
        return plain.replace(f"without {_ways(facts, tag)}", f"without {all_described(facts)}")
    if name not in _OF_DEFECTS:
        return plain
    if facts.regions and name in ("where", "kind", "size"):
        plain = _fully_each(intent, facts)
    if facts.regions and name == "count":
        found = f"{there_are(facts)}: {all_described(facts)}."
        plain = _begun(f"{found[:1].upper()}{found[1:]}", facts)
    basis = "by its own good pictures" if facts.guaranteed else "without a guarantee"
    chance = f"{facts.chance[:1].upper()}{facts.chance[1:]}"
    return f"{plain} {chance} good parts look this unusual, {basis}."


def _fully_each(intent: Intent, facts: Facts) -> str:
    if intent.focus is not None:
        return f"It is {described(facts, intent.focus)}."
    start = "It is" if len(facts.regions) == 1 else "They are"
    return f"{_begun(start, facts)} {all_described(facts)}."


def _cautious(intent: Intent, facts: Facts, plain: str, rng: np.random.Generator) -> str:
    """What was asked, how sure that is, what it is based on, and to look oneself."""
    again = "look again"
    if intent.name == "sure":
        return f"{plain} {expand(one_of(_sentences()[again], rng), rng)}"
    if intent.name not in _OF_DEFECTS:
        return plain
    sure = "said" if "not sure" in plain else facts.surety
    basis = f"{sure} {'calibrated' if facts.guaranteed else 'alone'}"
    said = [expand(one_of(_sentences()[heading], rng), rng) for heading in (basis, again)]
    return " ".join([plain, *(one for one in said if one not in plain)])


@cache
def _sentences() -> Mapping[str, Sequence[str]]:
    path = Path(__file__).parent / "sentences.yaml"
    held = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {heading: lines.splitlines() for heading, lines in held.items()}
