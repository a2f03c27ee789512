"""What a raw answer claims: a defect or none, how many, where, of what kind; and what it denies."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.evaluation.gate.figures import Row
from anomalyst.vlm.facts import COUNTS, Facts
from anomalyst.vlm.grounding import (
    ASIDES,
    COUNT,
    NO_KIND,
    NOTHING_AT,
    PLACE,
    PLACE_WORDS,
    claim,
    claims_defect,
    claims_soundness,
    lies_in,
    sentences,
)
from anomalyst.vlm.wording import TAG

Named = tuple[int, str]  # a region's number, 0 where none is named with it; a place or a kind
_SAID = re.compile(rf"({PLACE.pattern})|\b({'|'.join(KINDS)})\b|({TAG.pattern})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What one answer says of the whole picture and of its regions."""

    presence: bool | None = None  # None: nothing, or both
    counts: frozenset[int] = frozenset()
    regions: frozenset[int] = frozenset()  # numbers that are named, from 1
    places: frozenset[Named] = frozenset()
    kinds: frozenset[Named] = frozenset()
    no_places: frozenset[str] = frozenset()  # where it says nothing is
    no_kinds: frozenset[str] = frozenset()  # of which it says there is none


def said_of(raw: str) -> Claims:
    """The claims of a raw answer, regions as `<region 1>`; read by the patterns of grounding."""
    presence: set[bool] = set()
    found: dict[str, set[Named]] = {"place": set(), "kind": set()}
    no_places, no_kinds, counts = set(), set(), set()
    for sentence in sentences(raw):
        text = _in_our_words(sentence.lower())
        no_places |= {match.group(1).strip() for match in NOTHING_AT.finditer(text)}
        text = NOTHING_AT.sub(" ", text)
        no_kinds |= {k for match in NO_KIND.finditer(text) for k in KINDS if k in match.group()}
        # "No scratch and no other defect" says that there is none at all.
        presence |= {False} if "no other defect" in text else set()
        text = NO_KIND.sub(" ", text)
        presence |= _presence(text)
        for match in COUNT.finditer(text):
            word = match.group(1) or match.group(2)
            counts.add(COUNTS.index(word) if word in COUNTS else int(word))
        for what, named in _named(text):
            found[what].add(named)
    return Claims(
        presence=presence.pop() if len(presence) == 1 else None,
        counts=frozenset(counts),
        regions=frozenset(int(number) for number in TAG.findall(raw)),
        places=frozenset(found["place"]),
        kinds=frozenset(found["kind"]),
        no_places=frozenset(no_places),
        no_kinds=frozenset(no_kinds),
    )


def as_expected(row: Row, said: Claims, expected: Claims) -> bool:
    """Whether an answer gives what was asked for (`row`) as the expected one does.

    Other claims may differ: an answer may tell more or less than it is asked for.
    """
    if row == "presence":
        return said.presence is not None and said.presence == expected.presence
    if expected.presence is False and said.presence is False:
        return True  # nothing there is nowhere, of no kind
    if row == "count":
        return bool(said.counts) and said.counts == expected.counts
    denied = expected.no_places if row == "place" else expected.no_kinds
    if denied:
        return denied <= (said.no_places if row == "place" else said.no_kinds)
    ours, theirs = _of(row, said), _of(row, expected)
    if not theirs:  # "there is no third one: I see two defects"
        whole = (said.presence, said.counts) == (expected.presence, expected.counts)
        return whole and not ours
    words = sorted(word for _, word in ours) == sorted(word for _, word in theirs)
    return words and {one for one in ours if one[0]} <= theirs


def by_facts(row: Row, said: Claims, facts: Facts) -> bool | None:
    """Whether what an answer claims is true by the facts; None if it claims nothing of this."""
    there = len(facts.regions)
    if row == "presence":
        return None if said.presence is None else said.presence == (facts.verdict != "normal")
    if row == "count":
        return said.counts == {there} if said.counts else None
    ours = _of(row, said)
    denied = said.no_places if row == "place" else said.no_kinds
    if not ours and not denied:
        return None
    if any(number > there for number, _ in ours):
        return False

    def is_so(index: int, word: str) -> bool:
        region = facts.regions[index]
        return lies_in(region.place, word) if row == "place" else region.kind == word

    every = range(there)
    held = all(any(is_so(i, word) for i in ([n - 1] if n else every)) for n, word in ours)
    return held and not any(is_so(i, word) for word in denied for i in every)


def _of(row: Row, claims: Claims) -> frozenset[Named]:
    return claims.places if row == "place" else claims.kinds


def _in_our_words(text: str) -> str:
    """A lower-case sentence without asides, places in the words of the grid."""
    for aside in ASIDES:
        text = re.sub(aside, " ", text)
    for word, ours in PLACE_WORDS.items():
        text = re.sub(rf"\b{word}\b", ours, text)
    return text


def _presence(text: str) -> set[bool]:
    """What a sentence says; a yes or no before it counts where nothing else speaks."""
    for part in (claim(text), text):
        yes, no = claims_defect(part), claims_soundness(part)
        if yes or no:
            return {said for said, claimed in ((True, yes), (False, no)) if claimed}
    return set()


def _named(text: str) -> Iterator[tuple[str, Named]]:
    """Places and kinds in order, each with the region that is named after it."""
    waiting: dict[str, str] = {}
    for match in _SAID.finditer(text):
        place, *cell, kind, tag, number = match.groups()
        if tag:
            yield from ((what, (int(number), word)) for what, word in waiting.items())
            waiting = {}
            continue
        what = "place" if place else "kind"
        word = _cell(cell) if place else kind
        if what in waiting:
            yield what, (0, waiting[what])
        waiting[what] = word
    yield from ((what, (0, word)) for what, word in waiting.items())


def _cell(groups: list[str | None]) -> str:
    row, column, whole = groups
    return whole or ("centre" if row == column else f"{row} {column}")
