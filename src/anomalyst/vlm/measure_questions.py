"""How long, how large? And is it within tolerance? Answered from measures, not by the model.

The model was never taught figures, and what acceptance rules tolerate is no defect in its facts.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from anomalyst.measuring.rules import SQUARES, UNITS
from anomalyst.types import Answer, Region, Turn
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.grounding import answer_of, claims_soundness
from anomalyst.vlm.referring import question_scope, spoken_of
from anomalyst.vlm.wording import SHOWN, with_article

_HOW = re.compile(
    r"\bhow (?:long|large|big|wide|thick|broad|small|far)\b"
    r"|\bwhat(?:'s| is| are)? (?:its |the |their )?(?:exact )?(?:size|length|width|area|perimeter"
    r"|dimension|extent)s?\b|\b(?:measure|measurements?|millimet|dimensions?)\w*\b|\bin mm\b"
)
_MANY = re.compile(r"\bhow many\b|\bhow (?:sure|likely|certain)\b")
_THAN = re.compile(
    r"\b(longer|larger|bigger|wider|broader|thicker|shorter|smaller|narrower|thinner|more|less"
    r"|under|over|above|below) (?:than )?(\d+(?:\.\d+)?) ?([a-zµ]+(?:2|²)?)\b"
)
_LESS = ("shorter", "smaller", "narrower", "thinner", "less", "under", "below")
_ACROSS = ("wider", "broader", "thicker", "narrower", "thinner")
_RULES = re.compile(r"\b(?:tolera|accept(?:ance|able) (?:rule|limit)|rules?\b|the limits?\b)")


def about_measures(
    question: str, facts: Facts, turns: Sequence[Turn] = (), seconds: float = 0.0
) -> Answer | None:
    """The answer to a question about sizes or tolerance; None for others, or of nothing known."""
    text = question.lower()
    regions = facts.regions or facts.tolerated
    if facts.ruled and _RULES.search(text):
        return _told(f"{_state(facts)} {_listed(facts)}", (), facts, seconds)
    if _MANY.search(text) or not any(region.measures for region in regions):
        return None
    than = _THAN.search(text)
    if not than and not _HOW.search(text):
        return None
    picked = _meant(question, facts, turns)
    some = [regions[i] for i in picked if regions[i].measures]
    if not some:
        return None
    if than and (than.group(3) in UNITS or than.group(3) in SQUARES):
        return _told(_compared(than, some[0]), some[:1], facts, seconds)
    said = ". ".join(_measured(region) for region in some[:SHOWN])
    more = f" And {len(some) - SHOWN} more." if len(some) > SHOWN else ""
    return _told(f"{said}.{more}", some[:SHOWN], facts, seconds)


def with_tolerance(answer: Answer, facts: Facts) -> tuple[Answer, str]:
    """The answer and what it lacks: what is seen of a part that rules call sound; "" if nothing."""
    if not facts.tolerated or not claims_soundness(answer.text.lower()):
        return answer, ""
    more = f"What I see is tolerated: {_listed(facts)}"
    return replace(answer, text=f"{answer.text} {more}"), more


def _meant(question: str, facts: Facts, turns: Sequence[Turn]) -> Sequence[int]:
    """The regions that a question is about: those it singles out, or all that are named."""
    if facts.tolerated:
        return range(min(len(facts.tolerated), MOST_NAMED))
    picked = question_scope(question, facts, turns).regions
    if picked is None and (one := spoken_of(question.lower(), facts, turns)) is not None:
        picked = (one,)
    return picked or range(min(len(facts.regions), MOST_NAMED))


def _measured(region: Region) -> str:
    """ "A scratch at the upper left (box ...) is 1.42 mm long, give or take 0.05 mm, ..."."""
    assert region.measures is not None
    sizes, unit = region.measures.mm or region.measures.px, "mm" if region.measures.mm else "px"
    box = ", ".join(map(str, region.box_xyxy))
    name = with_article(region)
    extent = "long" if region.measures.thin else "across"
    parts = [
        f"{sizes.length.value:.3g} {unit} {extent}, give or take {sizes.length.plus_minus:.2g}",
        f"{sizes.width.value:.3g} {unit} wide",
    ]
    area = f"{sizes.area.value:.3g} {unit}2 (give or take {sizes.area.plus_minus:.2g})"
    note = f" ({region.measures.note})" if region.measures.note else ""
    start = f"{name[0].upper()}{name[1:]} at the {region.place} (box {box})"
    return f"{start} is {parts[0]}, and {parts[1]}; its area is {area}{note}"


def _compared(than: re.Match[str], region: Region) -> str:
    """Yes, no, or that it is too near, with what was measured."""
    assert region.measures is not None
    word, number, asked = than.groups()
    unit, factor = UNITS.get(asked) or SQUARES[asked]
    sizes = region.measures.mm if unit == "mm" else region.measures.px
    if sizes is None:
        return f"That cannot be told: the product has no scale. {_measured(region)}."
    figure = "area" if asked in SQUARES else "width" if word in _ACROSS else "length"
    found, limit = getattr(sizes, figure), float(number) * factor
    if abs(found.value - limit) <= found.plus_minus:
        return f"That is too near to tell: {_measured(region)}."
    right = (found.value < limit) == (word in _LESS)
    return f"{'Yes' if right else 'No'}: {_measured(region)}."


def _state(facts: Facts) -> str:
    if facts.tolerated:
        return "Yes, by the acceptance rules."
    return "No." if any("out of tolerance" in one for one in facts.ruled) else "Not as a whole."


def _listed(facts: Facts) -> str:
    said = "; ".join(facts.ruled)
    return f"{said[0].upper()}{said[1:]}." if said else ""


def _told(text: str, regions: Sequence[Region], facts: Facts, seconds: float) -> Answer:
    """Boxes stand in the words already; what the model reads again names no region."""
    told = answer_of(text, re.sub(r" \(box [\d, ]+\)", "", text), facts, seconds)
    return replace(told, regions=tuple(regions))
