"""Yes or no, decided from the facts.

Whether there is a defect, whether the part is sound, and which region is the largest the model says
in its own words after a beginning that it is held to (generation.py). Elsewhere its words after
such a beginning were garbled too often (11 % of 142), and the whole answer is by rule.
"""

import re
from collections.abc import Sequence

from anomalyst.types import Turn
from anomalyst.vlm.facts import MOST_NAMED, Facts, number
from anomalyst.vlm.questions.decision import Decision, compare
from anomalyst.vlm.questions.of_regions import (
    is_such,
    no_such_rank,
    none_there,
    of_rank,
    regions_that,
)
from anomalyst.vlm.questions.plain import has_verb
from anomalyst.vlm.questions.reading import Reading, read_question
from anomalyst.vlm.questions.vocabulary import kinds_named
from anomalyst.vlm.referring import spoken_of
from anomalyst.vlm.wording import (
    SHOWN,
    all_described,
    described,
    listed,
    plainly,
    tag,
    there_are,
)

UNDECIDED = "I cannot answer that with yes or no"
_NOT = re.compile(r"\b(?:no|not|none|never|nothing|without)\b")
_ANYTHING = ("any", "anything", "something", "some", "found", "nothing", "everything")


def decide(question: str, facts: Facts, turns: Sequence[Turn] = ()) -> Decision | None:
    """The answer to a yes/no question as far as it begins; None if it is no such question.

    One that is not understood is answered with what is known, and neither with yes nor with no.
    """
    reading = read_question(question)
    if reading is None:
        return None
    focus = spoken_of(reading.text, facts, turns)
    if reading.kinds and not re.search(r"\b(?:an?|some|just|the)\b", reading.text):
        focus = None  # "Is it scratched?" asks of the part
    decided = _decided(reading, facts, focus)
    return decided or (undecided(facts) if has_verb(reading.text) else None)


def undecided(facts: Facts) -> Decision:
    """What is known, said instead of a yes or no that no fact gives."""
    if not facts.regions:
        return Decision(f"{UNDECIDED}; I see no defect.")
    probably = "probably " if facts.verdict == "unsure" else ""
    return Decision(f"{UNDECIDED}; {probably}{there_are(facts)}: {all_described(facts)}.")


def _decided(asked: Reading, facts: Facts, focus: int | None) -> Decision | None:
    if asked.rest:
        return None
    if asked.about == "good pictures":
        return _good_pictures(asked, facts)
    if asked.about:
        return _sure(asked, facts, focus)
    if asked.than or asked.same_size or asked.share:
        return _compared(asked, facts)
    if asked.colours:
        return _colour(asked, facts)
    return _of_defects(asked, facts, focus)


def _of_defects(asked: Reading, facts: Facts, focus: int | None) -> Decision | None:
    judged = asked.found & {"good", "accept", "alike", "bad", "reject"}
    if asked.places_asked or asked.every:
        if asked.without:
            return regions_that(asked, facts, None, negated=True)
        if judged - {"bad"} or (judged and (asked.kinds or asked.rank or asked.sizes)):
            # Whether a place is fine can be told, not whether a scratch is.
            if asked.kinds or asked.rank or asked.sizes or asked.every or "reject" in judged:
                return None
            return regions_that(asked, facts, None, negated=True)
        return regions_that(asked, facts, focus)
    if asked.count:
        return None if judged - {"bad"} else _count(asked, facts, len(facts.regions))
    if asked.without or judged & {"good", "accept", "alike"}:
        both = judged & {"good", "accept", "alike"} and judged & {"bad", "reject"}
        return None if both else _sound(facts)
    if judged or "defect" in asked.found or _asks_for_anything(asked.text):
        return _presence(facts)
    return None


def _asks_for_anything(text: str) -> bool:
    return any(word in text.split() for word in _ANYTHING)


def _presence(facts: Facts) -> Decision:
    if facts.verdict == "normal":
        return Decision(plainly(facts), "No,")
    return Decision(plainly(facts), "Yes, probably" if facts.verdict == "unsure" else "Yes,")


def _sound(facts: Facts) -> Decision:
    found = f"{there_are(facts)}, {all_described(facts)}" if facts.regions else ""
    if facts.verdict == "normal":
        return Decision("Yes, it is sound: there is no defect.", "Yes, it is sound:")
    if facts.verdict == "unsure":
        whole = f"No, it is probably not sound: {found}. Please look at it."
        return Decision(whole, "No, it is probably not sound:")
    return Decision(f"No, it is not sound: {found}.", "No, it is not sound:")


def _count(asked: Reading, facts: Facts, found: int) -> Decision | None:
    assert asked.count
    named = kinds_named(asked.text)  # "besides the scratch"
    if facts.regions and named and not any(r.kind in named for r in facts.regions):
        return None
    start = "Yes" if compare(found, asked.count) else "No"
    if not facts.regions:
        return Decision(f"{start}, there is no defect.")
    probably = "probably " if facts.verdict == "unsure" else ""
    return Decision(f"{start}, {probably}{there_are(facts)}: {all_described(facts)}.")


def _compared(asked: Reading, facts: Facts) -> Decision | None:
    """Sizes of two regions, of all, or of the picture's share that all have."""
    if not facts.regions:
        return Decision("No, there is no defect.")
    if asked.share:
        sign, limit = asked.share
        such = [r for r in facts.regions if not asked.kinds or r.kind in asked.kinds]
        if not such:
            return Decision(f"No, {none_there(asked, facts)}")
        share = sum(r.area_px for r in such) / (facts.size_hw[0] * facts.size_hw[1])
        start = "Yes" if (share > limit) == (sign == ">") else "No"
        what = f"about {share:.0%}" if share >= 0.01 else "less than 1%"
        subject = "it" if asked.kinds else "what stands out"
        return Decision(f"{start}, {subject} covers {what} of the picture.")
    sizes = {facts.size(region) for region in facts.regions}
    if asked.same_size:
        start = "Yes" if len(sizes) == 1 else "No"
        named = range(min(SHOWN, len(facts.regions)))
        ways = [f"{facts.size(facts.regions[i])} {tag(i)}" for i in named]
        return Decision(f"{start}, I see {listed(ways, len(facts.regions))}.")
    return _larger(asked, facts)


def _larger(asked: Reading, facts: Facts) -> Decision | None:
    sides: list[int] = []
    for one in asked.compared:
        ranked = of_rank(one.rank, facts)
        if one.rank and ranked is None:
            return no_such_rank(one.rank, facts)
        among = range(min(len(facts.regions), MOST_NAMED)) if ranked is None else (ranked,)
        such = [i for i in among if is_such(facts.regions[i], one, facts)]
        if not one.places_asked:
            return None
        if not such:
            return Decision(f"No, {none_there(one, facts)}")
        sides.append(max(such, key=lambda i: facts.regions[i].area_px))
    if sides[0] == sides[1]:
        return Decision(f"No, that is the same one: {described(facts, sides[0])}.")
    first, second = (facts.regions[i].area_px for i in sides)
    right = first > second if asked.than == "larger" else first < second
    before, after = (described(facts, i) for i in sides)
    times = max(first, second) / min(first, second)
    how = f"has {times:.1f} times the area of" if first >= second else "has less area than"
    return Decision(f"{'Yes' if right else 'No'}, {before} {how} {after}.")


def _colour(asked: Reading, facts: Facts) -> Decision | None:
    """Of the product, or of what lies behind it; no fact says a defect's colour."""
    if asked.places_asked or asked.found or asked.count:
        return None
    if not facts.colours:
        return Decision("I do not know its colour.")
    seen = facts.colours[-1] if asked.background else facts.colours[0]
    start = "Yes" if all(c in (seen, *seen.split()) for c in asked.colours) else "No"
    return Decision(f"{start}, it is {' on '.join(facts.colours)}.")


def _good_pictures(asked: Reading, facts: Facts) -> Decision:
    start = "Yes" if compare(facts.num_good, asked.count or (">=", 1)) else "No"
    if facts.num_good == 0:
        return Decision(f"{start}, I have seen no good one: I judge this picture by itself.")
    pictures = "picture" if facts.num_good == 1 else "pictures"
    return Decision(f"{start}, I know {number(facts.num_good)} good {pictures}.")


def _sure(asked: Reading, facts: Facts, focus: int | None) -> Decision | None:
    """How sure the verdict is; of a statement that does not hold, that it does not."""
    if asked.about == "guarantee":
        if facts.guaranteed:
            return Decision("Yes, its own good pictures keep the false-alarm rate.")
        return Decision("No, there is no guarantee: its own good pictures do not calibrate it.")
    if asked.about == "wrong":
        chance = f"{facts.chance} good parts look this unusual"
        return Decision(f"Yes, that is possible: {chance}, and I am {facts.surety} sure.")
    stated = asked.places_asked or asked.count or asked.found
    if stated:
        said = _of_defects(asked, facts, focus)
        if said is None or not said.whole.startswith("Yes") or _NOT.search(asked.text):
            return said
    sure = facts.surety == "very" if asked.about == "very sure" else facts.surety != "not"
    start = f"{'Yes' if sure else 'No'}, I am {facts.surety} sure"
    basis = "by its own good pictures" if facts.guaranteed else "but without a guarantee"
    return Decision(f"{start}: {facts.chance} good parts look this unusual, {basis}.")
