"""A dialogue about one inspection: several turns, earlier ones referred to, noise in the typing."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from anomalyst.training.data.dialogues.answers import Intent, answer_to
from anomalyst.training.data.dialogues.patterns import expand, one_of, sentences
from anomalyst.vlm.dialogue import INSTRUCTION, Message, messages_for
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.grounding import lies_in
from anomalyst.vlm.wording import KIND_WORDS, ORDINALS, TAG

# How often each is asked, relative to a plain "where?"; "it" needs an earlier turn.
_SHARES = {
    "presence": 2.5, "sound": 1.6, "count": 1.2, "where": 1.3, "kind": 1.2, "size": 1.1,
    "report": 0.8, "sure": 1.1, "look": 0.8, "colour": 0.6, "good": 0.7, "worst": 0.5,
    "largest": 0.5, "nth": 1.4, "it": 1.2, "at": 1.4, "of kind": 1.2, "order": 0.7, "told": 0.4,
    "declined": 1.6, "foreign": 0.6, "hello": 0.15, "thanks": 0.15, "help": 0.2,
}  # fmt: skip
INTENTS = tuple(_SHARES)
_QUESTIONS = ("defects", "verdict", "product", "other")  # files of sentences
_ABOUT_IT = ("where", "kind", "size", "it")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One question and its true raw answer."""

    intent: Intent
    question: str
    answer: str


def write_dialogue(
    facts: Facts,
    look: str,
    rng: np.random.Generator,
    *,
    turns: int,
    intents: Sequence[str] = INTENTS,
) -> list[Exchange]:
    """Some turns about one inspection; `look` says what the product looks like."""
    written: list[Exchange] = []
    for _ in range(turns):
        intent, question = _question(_next_intent(intents, rng, written), facts, written, rng)
        answer = answer_to(intent, facts, look, rng)
        written.append(Exchange(intent, mistyped(question, rng), answer))
    return written


def messages_of(
    turns: Sequence[tuple[str, str]], facts: str = "", *, instruction: str = INSTRUCTION
) -> list[Message]:
    """All turns (question, answer) of a dialogue as messages, each answer to be learnt."""
    messages = messages_for(facts, (), turns[0][0], instruction=instruction)
    messages.append({"role": "assistant", "content": turns[0][1]})
    for question, answer in turns[1:]:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": answer})
    return messages


def focus_after(answer: str) -> int | None:
    """The region that "it" means after an answer: the one it speaks of, if it is a single one."""
    tags = {int(number) - 1 for number in TAG.findall(answer)}
    return tags.pop() if len(tags) == 1 else None


def _next_intent(
    intents: Sequence[str], rng: np.random.Generator, written: Sequence[Exchange]
) -> str:
    shares = np.array([_SHARES[name] for name in intents])
    if not written:
        shares *= [name != "it" for name in intents]
    elif focus_after(written[-1].answer) is not None:
        shares *= [4.0 if name in _ABOUT_IT else 1.0 for name in intents]
    else:
        shares *= [0.3 if name == "it" else 1.0 for name in intents]
    return str(rng.choice(list(intents), p=shares / shares.sum()))


def _question(
    name: str, facts: Facts, written: Sequence[Exchange], rng: np.random.Generator
) -> tuple[Intent, str]:
    words = dict(sentences("words")) | {
        "told_number": (str(rng.integers(1, 1000)),),
        "nonsense": (_nonsense(rng),),
    }
    focus = focus_after(written[-1].answer) if written else None
    where = kind = ""
    if name == "nth":
        most = min(MOST_NAMED, len(facts.regions) + 1, len(ORDINALS))
        focus = int(rng.integers(max(1, most)))
        words["ordinal"] = (ORDINALS[focus],)
    elif name == "at":
        where = _where(facts, rng)
        words["where"] = sentences("places")[where]
    elif name == "of kind":
        kind = _kind(facts, rng)
        words["kind"] = KIND_WORDS[kind]
    elif name not in _ABOUT_IT:
        focus = None
    question = expand(one_of(sentences(*_QUESTIONS)[name], rng), rng, words)
    if name in _ABOUT_IT and _is_plural(question):
        focus = None
    return Intent(name=name, focus=focus, where=where, kind=kind), question


def _is_plural(question: str) -> bool:
    several = "|".join(("they", "them", "are", *sentences("words")["defects"]))
    return re.search(rf"\b({several})\b", question.lower()) is not None


def _where(facts: Facts, rng: np.random.Generator) -> str:
    """A place that holds a region, half of the time."""
    places = list(sentences("places"))
    if facts.regions and rng.random() < 0.5:
        place = facts.regions[int(rng.integers(len(facts.regions[:3])))].place
        places = [where for where in places if lies_in(place, where)]
    return one_of(places, rng)


def _kind(facts: Facts, rng: np.random.Generator) -> str:
    """The kind of a region, half of the time."""
    if facts.regions and rng.random() < 0.5:
        kind = facts.regions[int(rng.integers(len(facts.regions[:3])))].kind
        if kind is not None:
            return kind
    return one_of(list(KIND_WORDS), rng)


def mistyped(question: str, rng: np.random.Generator) -> str:
    """The question as somebody in a hurry types it: politeness, case, stops and letters change."""

    def drawn(pattern: str) -> str:
        return expand(pattern, rng, sentences("words"))

    changes: list[tuple[float, Callable[[str], str]]] = [
        (0.08, lambda s: f"{drawn(one_of(sentences('user')['preambles'], rng))} {s}"),
        (0.06, lambda s: _with_word(s, rng)),
        (0.12, lambda s: f"{drawn('{please}')}, {s[:1].lower()}{s[1:]}"),
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
    """An invented word somewhere in between."""
    words = text.split(" ")
    words.insert(int(rng.integers(len(words))), _nonsense(rng).split(" ")[0])
    return " ".join(words)


def _nonsense(rng: np.random.Generator) -> str:
    """One to four words that mean nothing."""
    letters = list("aeiouaeioubcdfghklmnprstvw")
    count = int(rng.integers(1, 5))
    return " ".join("".join(rng.choice(letters, int(rng.integers(3, 9)))) for _ in range(count))
