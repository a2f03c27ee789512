"""Yes or no to what is asked of regions: kinds, places, sizes, ranks, and counts of these."""

import re
from collections.abc import Sequence

from anomalyst.types import Region
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.grounding import lies_in
from anomalyst.vlm.questions.decision import Decision, compare
from anomalyst.vlm.questions.reading import Reading
from anomalyst.vlm.wording import (
    ORDINALS,
    SHOWN,
    all_described,
    counted,
    described,
    index_of,
    is_or_are,
    listed,
    there_are,
)


def regions_that(
    asked: Reading, facts: Facts, focus: int | None, *, negated: bool = False
) -> Decision | None:
    """Whether regions are of these kinds, there, and that large; `negated`: whether none is."""
    ranked = of_rank(asked.rank, facts)
    if asked.rank and not asked.every and ranked is None:
        return no_such_rank(asked.rank, facts)
    if asked.rank in ORDINALS and not (asked.kinds or asked.where or asked.sizes):
        return _the_ranked("Yes", asked.rank, ranked or 0, facts)
    among: Sequence[int] = range(len(facts.regions))
    one = ranked if ranked is not None else focus
    among = among if one is None else [one]
    true = [i for i in among if is_such(facts.regions[i], asked, facts)]
    if not true and any(_may_be(facts.regions[i], asked, facts) for i in among):
        return Decision(
            f"I do not know what kind of defect it is; what I see is {all_described(facts)}."
        )
    if asked.every:
        return _of_all(asked, true, facts)
    if len(asked.kinds) > 1 and re.search(r"\b(?:and|but) (?:no|not)\b", asked.text):
        return None
    only = r"\bthe only\b" if asked.count else r"\b(?:only|just)\b"
    if true and len(true) < len(among) and re.search(only, asked.text):
        return Decision(f"No, what I see is {all_described(facts)}.")
    if len(asked.kinds) > 1 and " and " in asked.text:
        return _each_kind(asked, facts, true)
    if ranked is not None:
        return _the_ranked("Yes" if true else "No", asked.rank, ranked, facts)
    if asked.count:
        return _count_of(asked, facts, true)
    if negated:
        return _negated(asked, facts, true)
    if true:
        return _there_is(asked, facts, true)
    return _there_is_none(asked, facts, among, focus)


def _the_ranked(start: str, rank: str, index: int, facts: Facts) -> Decision:
    begins = f"{start}, the {rank} one is"
    known = rank != "smallest"  # the model was never taught it
    return Decision(f"{begins} {described(facts, index)}.", begins if known else "", (index,))


def of_rank(rank: str, facts: Facts) -> int | None:
    """The region that is "the largest one", "the second one"; None if there is none."""
    if not rank or not facts.regions:
        return None
    named = facts.regions[:MOST_NAMED]
    if rank == "smallest":
        return min(range(len(named)), key=lambda i: named[i].area_px)
    index = index_of(rank, facts)
    return index if index < len(named) else None


def no_such_rank(rank: str, facts: Facts) -> Decision:
    """The answer about a region that is not there."""
    if not facts.regions:
        return Decision("No, there is no defect.")
    return Decision(f"No, there is no {rank} one: I see {counted(facts)}.")


def is_such(region: Region, asked: Reading, facts: Facts) -> bool:
    """Whether a region is of the kinds, at the places and of the sizes asked for."""
    return (
        (not asked.kinds or region.kind in asked.kinds)
        and all(_lies(region, where, facts) for where in asked.where)
        and (not asked.sizes or facts.size(region) in asked.sizes)
    )


def _may_be(region: Region, asked: Reading, facts: Facts) -> bool:
    """Whether only an unknown kind keeps it from being what is asked for."""
    return (
        bool(asked.kinds)
        and region.kind is None
        and all(_lies(region, where, facts) for where in asked.where)
    )


def _lies(region: Region, where: str, facts: Facts) -> bool:
    if where == "corner":
        return all(word in ("upper", "lower", "left", "right") for word in region.place.split())
    if not where.endswith(" half"):
        return lies_in(region.place, where)
    x, y = (c / side for c, side in zip(region.centre_xy, reversed(facts.size_hw), strict=True))
    return {"upper": y < 0.5, "lower": y > 0.5, "left": x < 0.5, "right": x > 0.5}[where.split()[0]]


def _of_all(asked: Reading, true: Sequence[int], facts: Facts) -> Decision:
    if not facts.regions:
        return Decision("No, there is no defect.")
    if "both" in asked.text.split() and len(facts.regions) != 2:
        return Decision(f"No, {there_are(facts)}: {all_described(facts)}.")
    start = "Yes" if len(true) == len(facts.regions) else "No"
    return Decision(f"{start}, what I see is {all_described(facts)}.")


def _each_kind(asked: Reading, facts: Facts, true: Sequence[int]) -> Decision:
    """ "A scratch and a stain?": both have to be there."""
    if not true:
        return Decision(f"No, {none_there(asked, facts)}")
    found = {facts.regions[i].kind for i in true}
    start = "Yes" if found >= set(asked.kinds) else "No"
    return Decision(f"{start}, there {_some(facts, true)}.")


def _count_of(asked: Reading, facts: Facts, true: Sequence[int]) -> Decision:
    assert asked.count
    start = "Yes" if compare(len(true), asked.count) else "No"
    found = f"there {_some(facts, true)}." if true else none_there(asked, facts)
    return Decision(f"{start}, {found}")


def _some(facts: Facts, indices: Sequence[int]) -> str:
    some = [described(facts, i) for i in indices[:SHOWN]]
    return f"{is_or_are(len(indices))} {listed(some, len(indices))}"


def _there_is(asked: Reading, facts: Facts, true: Sequence[int]) -> Decision:
    doubt = f"; whether it is {asked.narrower} I cannot tell" if asked.narrower else ""
    start = "Yes, possibly" if doubt else "Yes, probably" if facts.verdict == "unsure" else "Yes,"
    return Decision(f"{start} there {_some(facts, true)}{doubt}.")


def _there_is_none(
    asked: Reading, facts: Facts, among: Sequence[int], focus: int | None
) -> Decision:
    if focus is not None:
        return Decision(f"No, it is {described(facts, focus)}.")
    such = [i for i in among if facts.regions[i].kind in asked.kinds]
    if such and (asked.where or asked.sizes):
        ways = [described(facts, i) for i in such[:SHOWN]]
        return Decision(f"No, what I see is {listed(ways, len(such))}.")
    return Decision(f"No, {none_there(asked, facts)}")


def _negated(asked: Reading, facts: Facts, true: Sequence[int]) -> Decision:
    if not true:
        return Decision(f"Yes, {none_there(asked, facts)}")
    probably = "probably " if facts.verdict == "unsure" else ""
    return Decision(f"No, {probably}there {_some(facts, true)}.")


def none_there(asked: Reading, facts: Facts) -> str:
    """That none is as asked, and what there is instead."""
    begun = _none_begun(asked)
    if facts.regions:
        return f"{begun}{'; ' if begun else ''}what I see is {all_described(facts)}."
    if begun.startswith("I see"):
        return f"{begun} and no other defect."
    return f"{begun}{': ' if begun else ''}there is no defect."


def _none_begun(asked: Reading) -> str:
    """What is not there, if that is one kind or one place."""
    if asked.sizes or len(asked.kinds) + len(asked.where) != 1 or asked.where == ("corner",):
        return ""
    if asked.kinds:
        return f"I see no {asked.kinds[0]}"
    row, *rest = asked.where[0].split()
    cell = rest and rest != ["half"]
    row = row if cell else {"upper": "top", "lower": "bottom"}.get(row, row)
    return f"nothing stands out at the {' '.join((row, *rest))}"
