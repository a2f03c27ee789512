"""The words by which a question is understood without a model (vocabulary.yaml)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

import yaml

from anomalyst.types import PLACES, SIZES
from anomalyst.vlm.facts import COUNTS
from anomalyst.vlm.wording import KIND_WORDS, ORDINALS

VOCABULARY = Path(__file__).with_name("vocabulary.yaml")
# part_questions.py answers these.
_PARTS = {"missing part", "missing piece", "missing material", "extra part"}
_ALSO = (
    *ORDINALS, *COUNTS, *PLACES, *SIZES, "top",
    "larger", "bigger", "smaller", "wider", "greater", "largest", "biggest", "smallest", "several",
    "bottom", "middle", "centre", "corner",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Words and phrases by heading."""

    headings: Mapping[str, frozenset[str]]  # "defect", "bad", "good", ...
    kinds: Mapping[str, frozenset[str]]
    single: frozenset[str]  # the words of all phrases
    long: tuple[str, ...]  # those long enough to mend a slip by

    def __getitem__(self, heading: str) -> frozenset[str]:
        return self.headings[heading]


@cache
def vocabulary() -> Vocabulary:
    """vocabulary.yaml, its kinds with the words of wording.py."""
    read = yaml.safe_load(VOCABULARY.read_text("utf-8"))
    own = read.pop("kinds")
    headings = {name: frozenset(words) for name, words in read.items()}
    kinds = {kind: frozenset({*words, *own[kind]} - _PARTS) for kind, words in KIND_WORDS.items()}
    flat = [word for words in (*headings.values(), *kinds.values()) for word in words]
    single = frozenset(part for phrase in (*flat, *_ALSO) for part in phrase.split())
    return Vocabulary(
        headings=headings,
        kinds=kinds,
        single=single,
        long=tuple(sorted(w for w in single if len(w) >= 5 and w.isalpha())),
    )


def kinds_named(text: str) -> tuple[str, ...]:
    """The kinds that a lower-case text has words for."""
    kinds = vocabulary().kinds
    return tuple(kind for kind, words in kinds.items() if taken(text, words, plural=True)[1])


def taken(
    text: str, phrases: frozenset[str], *, plural: bool = False, several: bool = False
) -> tuple[str, list[str]]:
    """The text without these phrases, and the ones that were there; `several`: of words."""
    pattern = _pattern(phrases, plural, several)
    return pattern.sub(" ", text), pattern.findall(text)


@cache
def _pattern(phrases: frozenset[str], plural: bool, several: bool) -> re.Pattern[str]:
    chosen = (phrase for phrase in phrases if not several or " " in phrase)
    return re.compile(rf"\b({alternatives(chosen)}){'(?:e?s)?' if plural else ''}\b")


def unknown_words(text: str, *, people: bool = False) -> tuple[str, ...]:
    """Words that change what is asked in a way nobody here understands."""
    words = vocabulary()
    for heading in ("plain", "part", *["people"] * people):
        text, _ = taken(text, words[heading], several=True)
        text, _ = taken(text, words[heading])
    return tuple(re.findall(r"[a-z0-9%]+", text))


def alternatives(phrases: Iterable[str]) -> str:
    """A pattern of any of the phrases, the longest first; "throw … away" may hold an object."""
    longest = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    return "|".join(re.escape(one).replace("…\\ ", r"(?:\w+ ){0,3}?") for one in longest)


def mended(text: str) -> str:
    """The text with slips of known words mended: "defct", "somthing", "thsi"."""
    return re.sub(r"[a-z]{4,}", lambda match: _near(match.group()), text)


@cache
def _near(word: str) -> str:
    words = vocabulary()
    if word in words.single or word.rstrip("s") in words.single:
        return word
    for i in range(len(word) - 1):  # two letters swapped
        if (swapped := word[:i] + word[i + 1] + word[i] + word[i + 2 :]) in words.single:
            return swapped
    near = get_close_matches(word, words.long, 3, 0.9) if len(word) >= 5 else []
    return next((one for one in near if one[0] == word[0]), word)
