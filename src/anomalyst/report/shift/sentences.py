"""A shift's facts -> its summary, three to six sentences by templates; and as one line of rows."""

from collections.abc import Mapping
from typing import Literal, get_args

from anomalyst.report.shift.facts import JUDGEMENTS, NO_KIND, ShiftFacts

Topic = Literal["counts", "defects", "places", "products", "drift", "judgements"]
TOPICS: tuple[Topic, ...] = get_args(Topic)
KINDS_NAMED = 4  # the rest is summed up
MOST_TIED = 3


def summary_by_topic(facts: ShiftFacts, wording: int = 0) -> dict[Topic, str]:
    """Each topic's sentence, without topics that the shift does not have.

    `wording`: 0 or 1, two ways to say the same. An empty shift has one sentence.
    """
    if facts.empty:
        return {"counts": f"From {facts.period.words} ({length(facts)}) nothing was inspected."}
    found: dict[Topic, str] = {
        "counts": counts(facts, wording),
        "defects": defects(facts, wording),
        "places": places(facts, wording),
        "products": products(facts),
        "drift": drift(facts),
        "judgements": judgements(facts),
    }
    return {topic: sentence for topic, sentence in found.items() if sentence}


def length(facts: ShiftFacts) -> str:
    """How long the shift really was, and why clocks say another time."""
    change = facts.period.clock_change
    if not change:
        return facts.period.length
    return f"{facts.period.length}, as clocks were set {'forward' if change > 0 else 'back'}"


def counts(facts: ShiftFacts, wording: int = 0) -> str:
    """How many parts, and which verdicts."""
    many = f"{counted(facts.inspected, 'part was', 'parts were')} inspected"
    verdicts = listed([f"{count} {verdict}" for verdict, count in facts.verdicts.items()])
    left = [f"{facts.failed} could not be inspected"] * bool(facts.failed)
    left += [f"{facts.waiting} {'waits' if facts.waiting == 1 else 'wait'}"] * bool(facts.waiting)
    rest = f"{f': {verdicts}' * bool(facts.inspected)}{f'; {listed(left)}' if left else ''}."
    words = facts.period.words
    if wording:
        return f"{many} in the {length(facts)} from {words}{rest}"
    return f"From {words} ({length(facts)}) {many}{rest}"


def defects(facts: ShiftFacts, wording: int = 0) -> str:
    """How many defects of which kinds; empty where nothing was inspected."""
    if not facts.inspected:
        return ""
    bad = facts.verdicts["anomalous"]
    if not bad:
        return "No part was anomalous."
    on = counted(bad, "anomalous part", "anomalous parts")
    if not facts.defects:
        return f"On the {on} no defect was outlined."
    named = [f"{n} of {quoted(kind, facts)}" for kind, n in list(facts.kinds.items())[:KINDS_NAMED]]
    if rest := sum(list(facts.kinds.values())[KINDS_NAMED:]):
        named.append(f"{rest} of other kinds")
    if wording:
        return f"The {on} had {counted(facts.defects, 'defect', 'defects')}: {listed(named)}."
    many = counted(facts.defects, "defect was", "defects were")
    return f"On the {on} {many} found: {listed(named)}."


def places(facts: ShiftFacts, wording: int = 0) -> str:
    """Where most defects lie."""
    if not facts.places:
        return ""
    most, total = max(facts.places.values()), sum(facts.places.values())
    there = [place for place, count in facts.places.items() if count == most]
    if len(there) > MOST_TIED:
        return f"No place stands out: {len(there)} places have {most} of {total} defects each."
    if len(there) > 1:
        names = listed([f"the {place}" for place in there])
        return f"The places with most defects are {names}, {most} of {total} each."
    if wording:
        return f"Most defects lie at the {there[0]}, {most} of {total}."
    return f"The place with most defects is the {there[0]}, {most} of {total}."


def products(facts: ShiftFacts) -> str:
    """Which product has the largest share of anomalous parts; empty for one product, or none."""
    if len(facts.products) < 2 or not facts.verdicts["anomalous"]:
        return ""
    name = worst(facts)
    bad, all_ = facts.products[name]
    return (
        f"Of {len(facts.products)} products '{name}' has the largest share of anomalous parts, "
        f"{bad} of {all_} ({100 * bad / all_:.1f} %)."
    )


def worst(facts: ShiftFacts) -> str:
    """The product with the largest share of anomalous parts; of several, that with most parts."""
    shares = facts.products
    return max(shares, key=lambda name: (shares[name][0] / shares[name][1], shares[name][1]))


def drift(facts: ShiftFacts) -> str:
    """How many drift alarms, and which came first."""
    if not facts.alarms:
        return "No drift alarm was raised."
    at, name = facts.alarms[0]
    many = counted(len(facts.alarms), "drift alarm was", "drift alarms were")
    first = ", the first" if len(facts.alarms) > 1 else ""
    return f"{many} raised{first} for '{name}' at {facts.period.when(at)}."


def judgements(facts: ShiftFacts) -> str:
    """What people said."""
    if not facts.judgements:
        return "People judged nothing."
    parts = [counted(count, *JUDGEMENTS[kind]) for kind, count in facts.judgements.items()]
    many = counted(sum(facts.judgements.values()), "judgement", "judgements")
    return f"People gave {many}: {listed(parts)}."


def as_rows(facts: ShiftFacts) -> str:
    """The facts as one line of names and numbers: what a model is given to summarise."""

    def pairs(of: Mapping[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in of.items()) or "none"

    shares = {name: f"{bad} of {all_}" for name, (bad, all_) in facts.products.items()}
    alarms = [f"'{name}' {facts.period.when(at)}" for at, name in facts.alarms]
    kinds = {quoted(kind, facts): count for kind, count in facts.kinds.items()}
    return (
        f"time: {facts.period.words}, {length(facts)} | inspected {facts.inspected} | "
        f"verdicts: {pairs(facts.verdicts)} | failed {facts.failed} | waiting {facts.waiting} | "
        f"defects {facts.defects}: {pairs(kinds)} | places: {pairs(facts.places)} | "
        f"products: {', '.join(f'{one!r} {share}' for one, share in shares.items()) or 'none'} | "
        f"alarms {len(alarms)}: {', '.join(alarms) or 'none'} | "
        f"judgements: {pairs(facts.judgements)}"
    )


def quoted(kind: str, facts: ShiftFacts) -> str:
    """A kind; between quotes where the word is people's own."""
    return f"'{kind}'" if kind in facts.own_kinds and kind != NO_KIND else kind


def counted(count: int, one: str, several: str) -> str:
    """A count with what is counted."""
    return f"{count} {one if count == 1 else several}"


def listed(parts: list[str]) -> str:
    """Parts as in "a, b and c"."""
    return " and ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:])
