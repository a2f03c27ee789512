"""A summary checked against the record: a number that the shift does not have is never said.

As with answers (vlm/grounding.py): sentence by sentence, what is claimed is compared with the
facts. What a sentence may claim is written down from the facts as patterns; what these account for
is struck out, and a number, kind, place or product that is left goes against the record.
"""

import re
from dataclasses import dataclass

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.report.shift.facts import JUDGEMENTS, NO_KIND, VERDICTS, ShiftFacts
from anomalyst.report.shift.period import MONTHS
from anomalyst.report.shift.sentences import (
    KINDS_NAMED,
    MOST_TIED,
    TOPICS,
    Topic,
    quoted,
    summary_by_topic,
    worst,
)
from anomalyst.types import PLACES
from anomalyst.vlm.grounding import sentences

WRITTEN_NUMBERS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "dozen", "twenty", "thirty", "forty", "fifty", "hundred", "thousand",
    "half", "third", "quarter", "twice", "double", "percent",
)  # fmt: skip
_NUMBER = re.compile(rf"\d|%|(?i:\b(?:{'|'.join(WRITTEN_NUMBERS)}|{'|'.join(MONTHS)})\b)")
_NAMES = re.compile(
    rf"'[^']*'|(?i:\b(?:{'|'.join((*sorted(PLACES, key=len, reverse=True), *KINDS, NO_KIND))})\b)"
)
# What the templates say around their claims: a name of such words alone is known between quotes.
_AROUND = frozenset(
    ("from", "to", "in", "the", "as", "on", "had", "and", "of", "people", "gave", "with")
)
_DENIED = re.compile(r"(?i)\b(?:no|not|none|nothing|never|without|neither|nobody)\b")
_GREATEST = re.compile(r"(?i)\b(?:most|more|largest|least|fewest|less|fewer|worst|best|all)\b")
ABOUT: dict[Topic, str] = {  # a sentence's topic is the first whose words it holds
    "drift": r"\bdrift|\balarm",
    "judgements": r"\bpeople\b|\bjudge",
    "products": r"\bshare\b|\bproducts?\b",
    "places": r"\bplaces?\b|\blie\b",
    "defects": r"\bdefects?\b|\bno part was anomalous\b",
    "counts": r"\binspected\b",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """What is said of a shift, and what a model said that is not."""

    sentences: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()  # a model's sentence, and why
    kept: int = 0  # a model's sentences among those said

    @property
    def text(self) -> str:
        """All sentences."""
        return " ".join(self.sentences)


def summarised(facts: ShiftFacts, written: str | None = None) -> Summary:
    """The summary of a shift: a model's sentences where they hold, else the templates'.

    `written`: what the model wrote; of each topic its first sentence that holds is taken.
    """
    ours = summary_by_topic(facts)
    theirs: dict[Topic, str] = {}
    refused = []
    for sentence in sentences(written or ""):
        topic = topic_of(sentence)
        why = conflict(sentence, facts)
        if why is None and topic not in ours:
            why = "it is about nothing that the summary tells"
        if why is None and topic in theirs:
            why = "it says again what was said"
        if why is None and topic is not None:
            theirs[topic] = sentence
        else:
            refused.append((sentence, str(why)))
    said = {**ours, **theirs}
    found = tuple(said[topic] for topic in TOPICS if topic in said)
    assert all(conflict(one, facts) is None for one in found), found
    return Summary(found, tuple(refused), len(theirs))


def topic_of(sentence: str) -> Topic | None:
    """What a sentence is about; None: nothing that a summary tells."""
    text = sentence.lower()
    return next((topic for topic, words in ABOUT.items() if re.search(words, text)), None)


def conflict(sentence: str, facts: ShiftFacts) -> str | None:
    """What in a sentence the record does not bear out, in a few words; None if all holds."""
    rest, struck = sentence, 0
    for pattern in truths(facts):
        rest, count = re.subn(pattern, " ", rest)
        struck += count
    if left := next((word for word in rest.split() if _NUMBER.search(word)), None):
        return f"it says {left.strip('.,:;()')}, which the record does not bear out"
    if name := _NAMES.search(rest) or _own_name(rest, facts):
        return f"it speaks of {name.group()} without a figure of the record"
    for unsaid in (_DENIED, _GREATEST):
        if word := unsaid.search(rest):
            return f"it says {word.group().lower()!r} of what was not counted"
    return None if struck else "it tells no figure of the record"


def _own_name(rest: str, facts: ShiftFacts) -> re.Match[str] | None:
    """The first product or kind of people's own that is named without quotes, one or several."""
    names = {*facts.products, *(name for _, name in facts.alarms), *facts.own_kinds}
    for name in sorted(names | ({facts.product} if facts.product else set())):
        words = re.findall(r"\w+", name)
        if all({one, f"{one}s", f"{one}es"} & _AROUND for one in map(str.lower, words)):
            continue
        spelt = r"\W+".join(map(re.escape, words))
        if found := re.search(rf"(?i)(?<!\w){spelt}(?:e?s)?(?!\w)", rest):
            return found
    return None


def truths(facts: ShiftFacts) -> list[str]:
    """Every claim that the record bears out, as patterns; those with people's names first.

    A name may hold what reads like a claim; then the longer ones, of which others may be a part.
    """
    found = [*_of_counts(facts), *_of_defects(facts), *_of_places(facts), *_of_rest(facts)]
    return sorted(found, key=lambda one: ("'" not in one, -len(one)))


def _of_counts(facts: ShiftFacts) -> list[str]:
    n, period = facts.inspected, facts.period
    found = [re.escape(period.words), rf"(?<![\d.:]){re.escape(period.length)}\b"]
    if change := period.clock_change:
        found.append(rf"\bclocks were set {'forward' if change > 0 else 'back'}\b")
    found += [rf"{_n(n)} (?:parts?|inspections?|pieces?) (?:was|were) (?:inspected|looked at)\b"]
    found += [
        rf"{_n(facts.verdicts[verdict])} (?:(?:was|were) )?{verdict}(?: parts?)?\b"
        for verdict in VERDICTS
    ]
    found += [rf"{_n(facts.failed)} could not be inspected\b"] * bool(facts.failed)
    found += [rf"{_n(facts.waiting)} (?:still )?waits?\b"] * bool(facts.waiting)
    return found + [r"\bnothing was inspected\b"] * (n == 0)


def _of_defects(facts: ShiftFacts) -> list[str]:
    bad = facts.verdicts["anomalous"]
    found = [r"(?i:\bno part was anomalous\b)"] * (bad == 0)
    found += [r"\bno defect was outlined\b"] * (bad > 0 and not facts.defects)
    if not facts.defects:
        return found
    found.append(rf"{_n(facts.defects)} defects?(?: (?:was|were) found)?\b")
    found += [
        rf"{_n(count)} of {re.escape(quoted(kind, facts))}(?!\w)"
        for kind, count in facts.kinds.items()
    ]
    rest = sum(list(facts.kinds.values())[KINDS_NAMED:])
    return found + [rf"{_n(rest)} of other kinds\b"] * bool(rest)


def _of_places(facts: ShiftFacts) -> list[str]:
    if not facts.places:
        return []
    most, total = max(facts.places.values()), sum(facts.places.values())
    there = [place for place, count in facts.places.items() if count == most]
    names = "(?:,? (?:and )?)".join(f"the {place}" for place in there)
    each = rf"{_n(most)} of {_n(total)}"
    if len(there) > MOST_TIED:
        return [
            rf"(?i:\bno place stands out\b): {_n(len(there))} places have {each} defects each\b"
        ]
    if len(there) > 1:
        return [rf"(?i:\bthe places with most defects are) {names}, {each} each\b"]
    return [rf"(?i:\b(?:the place with most defects is|most defects lie at)) {names}, {each}\b"]


def _of_rest(facts: ShiftFacts) -> list[str]:
    found = []
    if len(facts.products) > 1 and facts.verdicts["anomalous"]:
        name = worst(facts)
        bad, all_ = facts.products[name]
        share = re.escape(f"({100 * bad / all_:.1f} %)")
        of = rf"{_n(bad)} of {_n(all_)}(?: {share})?"
        found.append(rf"'{re.escape(name)}' has the largest share of anomalous parts, {of}")
        found.append(rf"(?i:\bof) {_n(len(facts.products))} products\b")
    if not facts.alarms:
        found.append(r"(?i:\bno drift alarms? (?:was|were) raised\b)")
    else:
        found.append(rf"{_n(len(facts.alarms))} drift alarms? (?:was|were) raised\b")
        at, name = facts.alarms[0]
        only = "" if len(facts.alarms) > 1 else "?"
        first = rf"(?:the first ){only}for '{re.escape(name)}' at "
        found.append(first + rf"{re.escape(facts.period.when(at))}(?![\d:])")
    if not facts.judgements:
        return [*found, r"(?i:\bpeople judged nothing\b)"]
    found.append(rf"{_n(sum(facts.judgements.values()))} judgements?\b")
    found += [
        rf"{_n(count)} (?:{'|'.join(JUDGEMENTS[kind])})\b"
        for kind, count in facts.judgements.items()
    ]
    return found


def _n(number: int) -> str:
    """A number that is not a part of another."""
    return rf"(?<![\d.:,]){number}(?![\d:]|[.,]\d)"
