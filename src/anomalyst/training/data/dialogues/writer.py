"""A dialogue about one inspection: several turns, earlier ones referred to, noise in the typing."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anomalyst.training.data.dialogues import questions as q
from anomalyst.training.data.dialogues.answers import Asked, answered, matches
from anomalyst.training.data.dialogues.patterns import said
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.wording import KIND_WORDS, ORDINALS, TAG

# How often each is asked, relative to a plain "where?"; "it" needs an earlier turn.
_SHARES = {
    "presence": 2.5, "sound": 1.6, "count": 1.2, "where": 1.3, "kind": 1.2, "size": 1.1,
    "report": 0.8, "sure": 1.1, "look": 0.8, "colour": 0.6, "good": 0.7, "worst": 0.5,
    "largest": 0.5, "nth": 1.4, "it": 1.2, "at": 1.4, "of kind": 1.2, "order": 0.7, "told": 0.4,
    "declined": 1.6, "foreign": 0.6, "hello": 0.15, "thanks": 0.15, "help": 0.2,
}  # fmt: skip
_PATTERNS: dict[str, Sequence[str]] = {
    "presence": q.PRESENCE, "sound": q.SOUND, "count": q.COUNT, "where": q.WHERE, "kind": q.KIND,
    "size": q.SIZE, "report": q.REPORT, "sure": q.SURE, "look": q.LOOK, "colour": q.COLOUR,
    "good": q.GOOD, "worst": q.WORST, "largest": q.LARGEST, "nth": q.NTH, "it": q.IT, "at": q.AT,
    "of kind": q.OF_KIND, "order": q.ORDERS, "told": q.TOLD, "declined": q.DECLINED,
    "foreign": q.FOREIGN, "hello": q.HELLO, "thanks": q.THANKS, "help": q.HELP,
}  # fmt: skip
_ABOUT_IT = ("where", "kind", "size", "it")
_PLURAL = re.compile(rf"\b(they|them|are|{'|'.join(q.WORDS['defects'])})\b")
_PREAMBLES = (
    "I just took this {pic}.",
    "This came from the line.",
    "Look at {this} {part}.",
    "Next one.",
    "My boss wants to know:",
    "I am new here.",
    "One question.",
    "Here is another {pic}.",
    "We had complaints.",
    "Listen,",
    "Let me ask:",
    "For the report:",
    "I have a customer waiting.",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its true raw answer."""

    asked: Asked
    question: str
    answer: str


def write_dialogue(
    facts: Facts,
    look: str,
    rng: np.random.Generator,
    *,
    turns: int,
    intents: Sequence[str] = tuple(_SHARES),
) -> list[Exchange]:
    """Some turns about one inspection; `look` says what the product looks like."""
    written: list[Exchange] = []
    for _ in range(turns):
        intent = _intent(intents, rng, written)
        asked, question = _question(intent, facts, written, rng)
        answer = answered(asked, facts, look, rng)
        written.append(Exchange(asked, mistyped(question, rng), answer))
    return written


def focus_after(answer: str) -> int | None:
    """The region that "it" means after an answer: the one it speaks of, if it is a single one."""
    tags = {int(number) - 1 for number in TAG.findall(answer)}
    return tags.pop() if len(tags) == 1 else None


def _intent(intents: Sequence[str], rng: np.random.Generator, written: Sequence[Exchange]) -> str:
    shares = np.array([_SHARES[name] for name in intents])
    if not written:
        shares *= [name != "it" for name in intents]
    elif focus_after(written[-1].answer) is not None:
        shares *= [4.0 if name in _ABOUT_IT else 1.0 for name in intents]
    else:
        shares *= [0.3 if name == "it" else 1.0 for name in intents]
    return str(rng.choice(list(intents), p=shares / shares.sum()))


def _question(
    intent: str,
    facts: Facts,
    written: Sequence[Exchange],
    rng: np.random.Generator,
) -> tuple[Asked, str]:
    words = dict(q.WORDS) | {
        "told_number": (str(rng.integers(1, 1000)),),
        "nonsense": (_nonsense(rng),),
    }
    focus = focus_after(written[-1].answer) if written else None
    where = kind = ""
    if intent == "nth":
        most = min(MOST_NAMED, len(facts.regions) + 1, len(ORDINALS))
        focus = int(rng.integers(max(1, most)))
        words["ordinal"] = (ORDINALS[focus],)
    elif intent == "at":
        where = _where(facts, rng)
        words["where"] = q.PLACES_ASKED[where]
    elif intent == "of kind":
        kind = _kind(facts, rng, list(KIND_WORDS))
        words["kind"] = KIND_WORDS[kind]
    elif intent not in _ABOUT_IT:
        focus = None
    question = said(str(rng.choice(np.array(_PATTERNS[intent], object))), rng, words)
    if intent in _ABOUT_IT and _PLURAL.search(question.lower()):
        focus = None
    return Asked(intent=intent, focus=focus, where=where, kind=kind), question


def _where(facts: Facts, rng: np.random.Generator) -> str:
    """A place that holds a region, half of the time."""
    if facts.regions and rng.random() < 0.5:
        place = facts.regions[int(rng.integers(len(facts.regions[:3])))].place
        options = [where for where in q.PLACES_ASKED if matches(place, where)]
        return str(rng.choice(options))
    return str(rng.choice(list(q.PLACES_ASKED)))


def _kind(facts: Facts, rng: np.random.Generator, kinds: Sequence[str]) -> str:
    if facts.regions and rng.random() < 0.5:
        kind = facts.regions[int(rng.integers(len(facts.regions[:3])))].kind
        if kind is not None:
            return kind
    return str(rng.choice(list(kinds)))


def mistyped(question: str, rng: np.random.Generator) -> str:
    """The question as somebody in a hurry types it: politeness, case, stops and letters change."""
    changes: list[tuple[float, Callable[[str], str]]] = [
        (
            0.08,
            lambda s: f"{said(str(rng.choice(np.array(_PREAMBLES, object))), rng, q.WORDS)} {s}",
        ),
        (0.06, lambda s: _with_word(s, rng)),
        (0.12, lambda s: f"{said('{please}', rng, q.WORDS)}, {s[:1].lower()}{s[1:]}"),
        (0.06, lambda s: f"{s.rstrip('.?!')} please{s[-1] if s[-1] in '.?!' else ''}"),
        (0.3, str.lower),
        (0.03, str.upper),
        (0.25, lambda s: s.rstrip("?.!")),
        (0.12, lambda s: _slipped(s, rng)),
    ]
    for share, change in changes:
        if rng.random() < share:
            question = change(question) or question
    return question


def _slipped(text: str, rng: np.random.Generator) -> str:
    """One letter dropped, doubled or swapped with the next."""
    at = int(rng.integers(max(1, len(text) - 1)))
    kind = int(rng.integers(3))
    if kind == 0:
        return text[:at] + text[at + 1 :]
    if kind == 1:
        return text[: at + 1] + text[at:]
    return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]


def _with_word(text: str, rng: np.random.Generator) -> str:
    """A word that nobody knows, somewhere in between."""
    words = text.split(" ")
    words.insert(int(rng.integers(len(words))), _nonsense(rng).split(" ")[0])
    return " ".join(words)


def _nonsense(rng: np.random.Generator) -> str:
    """One to four words that mean nothing."""
    letters = list("aeiouaeioubcdfghklmnprstvw")
    count = int(rng.integers(1, 5))
    return " ".join("".join(rng.choice(letters, int(rng.integers(3, 9)))) for _ in range(count))
