"""What may have caused it? Answered from a small cited table, never from the picture.

A picture shows a crack, not why it is there. The table (causes.yaml) says where such a defect
often comes from; the answer names the region, the usual causes and their sources, and that this is
general knowledge. What was not found is not explained.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from anomalyst.types import Answer, Turn
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.grounding import answer_of
from anomalyst.vlm.questions.plain import plain_question, spelt_out
from anomalyst.vlm.questions.vocabulary import kinds_named
from anomalyst.vlm.referring import question_scope
from anomalyst.vlm.wording import ORDINALS, SHOWN, TAG, described

TABLE = Path(__file__).with_name("causes.yaml")
GENERAL = "This is general knowledge about such defects, not something seen in this picture."
UNKNOWN = (
    "No kind of defect is known of it, and without one I cannot name usual causes: look at it, and"
    " ask for instance why there is a crack."
)

_HURT = (
    r"(?:cracked|scratched|dented|bent|stained|deformed|broken|chipped|missing|discolou?red|torn"
    r"|damaged|spoiled|warped|rusty|dirty|crack|break|bend|scratch|dent|split|deform|warp)"
)
_HAPPEN = (
    r"(?:happen(?:ed)?|come about|come to be|get (?:there|in|on|here)|arisen?|occur(?:red)?"
    r"|form(?:ed)?|appear(?:ed)?|develop(?:ed)?|originated?)"
)
_CAUSE = re.compile(
    r"\b(?:root|likely|possible|probable|usual|typical|common|the|a|any|main|its) causes?\b"
    r"|^causes?\b|\bcauses? (?:of|for|behind)\b(?! (?:concern|alarm|worry))|\bcaused\b"
    r"|\b(?:what|which|who knows what|that)\b[a-z ]{0,40}\bcaus(?:e|es|ing)\b"
    r"|\b(?:led|lead|leads) to (?:it|this|that|the|these|them|such|a)\b"
    r"|\breasons? (?:for|of|behind) (?:the|this|that|it|these|such|a|all)\b"
    r"(?! (?:verdict|answer|decision))"
    r"|\bwhere (?:does|do|did|could|might|can|may|would)\b.*\b(?:come|originate|stem|arise)\b"
    r"|\b(?:where|what|which)\b.*\b(?:comes?|came|coming) from\b"
    r"|\bhow (?:could|can|did|might|may|would|does|do) .*"
    rf"\b(?:{_HAPPEN}|(?:get|become|been|got)(?: so)? {_HURT})\b"
    r"|\bwhy (?:is|are|was|were) there\b|\bhow come there\b"
    rf"|\b(?:why|how come)\b(?!.*\b(?:think|believe|say|sure|know|verdict)\b).*\b{_HURT}\b"
    r"|\b(?:why|how come) (?:do|does|did) (?:it|this|that|they|the [a-z]+) look\b"
    r"|\bwhy does it have\b|\bwhy (?:do|does|did|has) .*\b(?:have|show|got)\b.*"
    r"|\borigins? of\b"
    r"|\bwhat (?:is|was|are|were|might be|could be|may be) (?:the )?(?:origin|behind)\b"
    r"|\b(?:responsible|to blame) for (?:it|this|that|the|these)\b|\bdue to\b"
    r"|\bwhat (?:could |might |may |can |would )?(?:have |has )?"
    r"(?:made|produced|created|brought about|explains?)"
    r" (?!you\b)(?:it|this|that|the|these|them|such|a)\b"
)
_OURS = re.compile(  # of the inspection or the delivery, not of a defect
    r"\b(?:due to (?:be|arrive|ship|go)|scores?|p-values?|map|maps|box|boxes|verdict|guarantee"
    r"|number|probability|(?:good|reference) pictures?|decision|i have to|show me|you show"
    r"|behind the (?:part|product|object))\b"
)
_WHO = re.compile(r"\b(?:who|whose|when)\b(?! knows what)")


@dataclass(frozen=True, slots=True)
class Cause:
    """Where defects of one name often come from, each with sources by key."""

    name: str  # "a crack"
    asked: frozenset[str]  # words that single it out among those of its kind
    because: tuple[tuple[str, tuple[str, ...]], ...]


def about_causes(
    question: str, facts: Facts, turns: Sequence[Turn] = (), seconds: float = 0.0
) -> Answer | None:
    """The answer to a question about causes; None for any other question."""
    text = spelt_out(question)
    if not _CAUSE.search(text) or _WHO.search(text) or _OURS.search(text):
        return None
    if not facts.regions:
        raw = "There is nothing to explain: there is no defect."
        return answer_of(raw, raw, facts, seconds)
    seen, known, sources = _parts(text, facts, turns)
    start = "I cannot tell that from the picture. " if plain_question(question) is not None else ""
    # What is remembered for the next turn is what was seen.
    return answer_of(f"{start}{seen} {known}", seen, facts, seconds, sources=sources)


def _parts(text: str, facts: Facts, turns: Sequence[Turn]) -> tuple[str, str, tuple[str, ...]]:
    """Raw: what is seen, what is known of its causes, and the sources cited, in full."""
    kinds = kinds_named(text)
    asked = _asked_regions(text, kinds, facts, turns)
    seen = " ".join(_seen(text, kinds, asked, facts))
    explained, sources = _explained(text, asked, facts)
    if not explained and kinds:  # of no known kind: it may be what the user calls it
        explained, sources = _sentence(text, [c for kind in kinds for c in table().kinds[kind]])
        explained = f"If it is what you call it: {explained[0].lower()}{explained[1:]}"
    if explained:
        return seen, f"{explained} {GENERAL}", sources
    return seen, UNKNOWN, ()


def _asked_regions(
    text: str, kinds: Sequence[str], facts: Facts, turns: Sequence[Turn]
) -> list[int]:
    """The regions asked about; else the worst one of each kind among the first."""
    named = range(min(len(facts.regions), MOST_NAMED))
    if such := [i for i in named if facts.regions[i].kind in kinds]:
        return such[:SHOWN]
    if scope := question_scope(text, facts, turns).regions:
        return list(scope[:SHOWN])
    if turns and re.search(r"\b(?:it|this|that)\b", text):
        said = {int(number) - 1 for number in TAG.findall(turns[-1].answer.raw)}
        if len(said) == 1 and max(said) in named:
            return list(said)
    first: dict[Any, int] = {}
    for i in named:
        first.setdefault((facts.regions[i].kind, facts.regions[i].part), i)
    return list(first.values())[:SHOWN]


def _seen(text: str, kinds: Sequence[str], asked: Sequence[int], facts: Facts) -> list[str]:
    """What there is to explain, and what of the question there is not."""
    found = {facts.regions[i].kind for i in range(min(len(facts.regions), MOST_NAMED))}
    what = " and ".join(described(facts, i) for i in asked)
    seen = f"If this is a defect, it is {what}." if facts.verdict == "unsure" else f"I see {what}."
    if kinds and not found & {*kinds, None}:
        return [f"I see no {kinds[0]}.", seen]
    if re.search(r"\bmissing\b", text) and all(r.part != "missing" for r in facts.regions):
        return ["That something is missing was not found.", seen]
    ordinal = re.search(rf"\b({'|'.join(ORDINALS)})\b", text)
    if ordinal and ORDINALS.index(ordinal.group(1)) >= len(facts.regions):
        return [f"There is no {ordinal.group(1)} one.", seen]
    return [seen]


def _explained(text: str, asked: Sequence[int], facts: Facts) -> tuple[str, tuple[str, ...]]:
    causes = [cause for i in asked for cause in _causes_of(i, facts)]
    return _sentence(text, list(dict.fromkeys(causes)))


def _sentence(text: str, causes: Sequence[Cause]) -> tuple[str, tuple[str, ...]]:
    words = set(re.findall(r"[a-z]+", text))
    causes = [cause for cause in causes if cause.asked & words] or causes
    if not causes:
        return "", ()
    ways = [_because(cause) for cause in causes]
    parts = [
        f"{causes[0].name}{' like this' if len(causes) == 1 else ''} often comes from {ways[0]}"
    ]
    parts += [f"{cause.name}, from {way}" for cause, way in zip(causes[1:], ways[1:], strict=True)]
    keys = dict.fromkeys(key for cause in causes for _, ways in cause.because for key in ways)
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}.", tuple(table().sources[key]["full"] for key in keys)


def _because(cause: Cause) -> str:
    return ", or from ".join(
        f"{way} ({'; '.join(table().sources[key]['short'] for key in keys)})"
        for way, keys in cause.because
    )


def _causes_of(index: int, facts: Facts) -> tuple[Cause, ...]:
    region = facts.regions[index]
    if region.part:
        return table().parts[region.part]
    return table().kinds[region.kind] if region.kind else ()


@dataclass(frozen=True, slots=True)
class Table:
    """causes.yaml as it is read."""

    sources: Mapping[str, Mapping[str, str]]
    kinds: Mapping[str, tuple[Cause, ...]]
    parts: Mapping[str, tuple[Cause, ...]]


@cache
def table() -> Table:
    """The table of causes."""
    read = yaml.safe_load(TABLE.read_text("utf-8"))
    kinds, parts = (
        {name: tuple(_cause(one) for one in causes) for name, causes in read[heading].items()}
        for heading in ("causes", "parts")
    )
    return Table(read["sources"], kinds, parts)


def _cause(values: Mapping[str, Any]) -> Cause:
    because = tuple((one["of"], tuple(one["sources"])) for one in values["because"])
    return Cause(values["name"], frozenset(values.get("asked", ())), because)
