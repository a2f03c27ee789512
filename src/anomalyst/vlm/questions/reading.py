"""A yes/no question read without a model: its words sorted into what can be checked.

What is read is a proposition without its negation: an English answer follows the positive sentence
("Is it not defective?" of a damaged part: "Yes, it is"). Words that are not known stay in `rest`;
such a question asks for more than is understood, and nobody may answer it with yes or no.
"""

import re
from dataclasses import dataclass
from typing import Any

from anomalyst.io.colours import NAMES
from anomalyst.vlm.questions.limits import Count, count, places, rank, share, sizes
from anomalyst.vlm.questions.plain import plain_question
from anomalyst.vlm.questions.vocabulary import (
    alternatives,
    mended,
    taken,
    unknown_words,
    vocabulary,
)

_A_LITTLE = re.compile(
    r"\b(?:a (?:little|tiny|wee) bit|a little|a tad|a bit|slightly|somewhat|slight(?= ))\b(?= \w)"
)
_THAN = re.compile(
    r"\b(larger|bigger|greater|wider|smaller|tinier|littler) than\b"
    r"(?! (?:\w+ )?(?:half|third|quarter|\d+ ?%|percent))"
)
_SAME_SIZE = re.compile(r"\b(?:same|equal(?:ly)?) (?:in )?(?:size|sized|large|big)\b")
_EVERY = re.compile(
    r"\b(?:all (?:of )?(?:them|these|those|the)|(?:they|these|those) (?:are |is )?all"
    r"|(?:are|is|were|do|does) (?:they |these |those )?all|both(?: of them| of these)?"
    r"|every(?: single)?(?: one)?|each(?: of them| one)?)\b"
    r"|\ball(?= \w+s (?:are|on|in|at|of)\b)"
)
_THEY = re.compile(r"^(?:are|were) (?:they|these|those)\b")
_SURE = re.compile(
    r"\b(?:sure|certain|confident|positive|trust|rely|reliable|trustworthy|definite|definitive"
    r"|convinced|certainty)\b"
)
_VERY = re.compile(
    r"\b(?:very|absolutely|completely|totally|entirely|perfectly|quite|really|fully|hundred|100)"
    r" ?(?:%|percent|per cent)?\b|%"
)
_WRONG = re.compile(
    r"^(?!.*\b(?:any|some|every|no)thing\b)(?!.*\w that is\b).*"
    r"\b(?:you|verdict|result|answer|system|model|this|that|it)\b.*"
    r"\b(?:be|are|is) (?:wrong|mistaken|incorrect|an? (?:mistake|error))\b"
    r"|\bfalse alarm\b|\bmade? an? (?:mistake|error)\b|\bfalse positive\b|\bmisjudged?\b"
)
_WRONG_WORDS = re.compile(
    r"\b(?:wrong|mistaken|incorrect|mistake|error|false (?:alarm|positive)|possible|likely"
    r"|misjudged?)\b"
)
_GUARANTEE = re.compile(r"\b(?:guaranteed?|calibrated)\b")
_GOOD_PICTURES = re.compile(
    r"\b(?:seen|saw|compared?|comparing|taught|learnt|learned|shown|know|based|trained|had|have|got)\b"
    r"(?!.*\b(?:to|like)\b.*\bgood enough\b).*\b(?:(?:good|reference|sound|perfect|golden)"
    r" (?:pictures?|parts?|ones?|examples?|samples?|images?|photos?|pieces?)|references?)\b"
)
_A_GOOD_ONE = (
    r" (?:the others?|(?:the|a|an|our|your|all the)"
    r" (?:good|reference|perfect|sound|golden|other|master|original)"
    r"(?: (?:one|sample|part|picture|piece|image|photo|example|reference|frame|shot)s?)?)\b"
)
_ALIKE = re.compile(
    r"\b(?:like|same as|identical to|match(?:es)?(?: with)?|equal to|similar to|resembles?)"
    + _A_GOOD_ONE
)
_UNLIKE = re.compile(r"\b(?:different (?:from|to|than)|differs? from|unlike)" + _A_GOOD_ONE)
_ALIKE_NOT = re.compile(r"\b(?:different|differ|differs|deviates?|unlike)\b(?: from| to)?")
_WITHOUT = re.compile(
    r"\b(?:nothing|free (?:of|from)|without|clear of|devoid of)\b"
    r"|\b(?:defect|flaw|fault|damage|scratch|crack|stain)[- ]free\b"
)
_UNANSWERED = re.compile(
    r"\bwill\b(?!.*\b(?:pass|ship|accept|reject|complain|ok|okay|fine)\b)"
    r"|^(?:can|could) .*\b(?:repaired?|fix(?:ed)?|replaced?|rework(?:ed)?|return(?:ed)?)\b"
    r"|\b(?:causes?(?! for)|caused|because|due to|come from|came from|coming from|reason)\b"
)
_COLOUR = re.compile(rf"\b(?:{alternatives(NAMES)}|gray)\b")
_BACKGROUND = re.compile(r"\b(?:background|behind it|ground)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a yes/no question asks, as far as it is understood."""

    text: str  # without greetings, tags and contractions
    kinds: tuple[str, ...] = ()
    narrower: str = ""  # a word that says more than its kind: "rust"
    where: tuple[str, ...] = ()  # "upper left", "left", "top half"
    rank: str = ""  # "largest", "smallest", "clearest", "second"
    than: str = ""  # "larger" or "smaller", with `compared`
    compared: tuple["Reading", ...] = ()  # what comes before "than", and what after
    same_size: bool = False
    share: tuple[str, float] | None = None  # of the picture: (">", 0.5)
    every: bool = False
    count: Count | None = None
    sizes: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    background: bool = False
    about: str = ""  # "sure", "very sure", "wrong", "guarantee", "good pictures", "complete"
    found: frozenset[str] = frozenset()  # headings of vocabulary.yaml that it has words of
    without: bool = False  # "free of"
    rest: tuple[str, ...] = ()  # words that are not known

    @property
    def places_asked(self) -> bool:
        """Whether it limits which regions are meant, or says something of them."""
        return bool(self.kinds or self.where or self.rank or self.sizes)


def read_question(question: str) -> Reading | None:
    """The reading of a yes/no question; None for any other."""
    text = plain_question(question)
    if text is None:
        return None
    return _read(text)


def _read(text: str) -> Reading:
    whole = mended(text)
    if match := _THAN.search(whole):
        return _comparison(whole, match)
    values: dict[str, Any] = {}
    text = _A_LITTLE.sub(" ", whole)
    text, found = _phrases(text)
    values["about"], text = _about(text)
    values["same_size"], text = _take(_SAME_SIZE, text)
    values["share"], text = share(text)
    values["every"], text = _take(_EVERY, text)
    values["every"] |= _THEY.match(text) is not None
    if values["about"] != "good pictures":
        values["where"], text = places(text)
    values["count"], text = count(text)
    if values["about"] != "good pictures":
        values["rank"], text = rank(text)
    values["without"], text = _take(_WITHOUT, text)
    more, values["kinds"], values["narrower"], text = _kinds_and_words(text)
    values["found"] = found | more
    values["sizes"], text = sizes(text)
    values["background"], text = _take(_BACKGROUND, text)
    values["colours"], text = _colours(text)
    judged = bool(values["found"] & {"accept", "reject"} or "happy" in whole or "satisf" in whole)
    rest = unknown_words(text, people=judged) + (_UNANSWERED.search(whole) is not None) * ("",)
    return Reading(text=whole, rest=rest, **values)


def _comparison(whole: str, match: re.Match[str]) -> Reading:
    """ "Is the stain larger than the scratch?"."""
    one, other = _read(whole[: match.start()]), _read(whole[match.end() :])
    larger = match.group(1) in ("larger", "bigger", "greater", "wider")
    return Reading(
        text=whole,
        than="larger" if larger else "smaller",
        compared=(one, other),
        rest=one.rest + other.rest,
    )


def _take(pattern: re.Pattern[str], text: str) -> tuple[bool, str]:
    """Whether it is there, and the text without it."""
    return pattern.search(text) is not None, pattern.sub(" ", text)


def _about(text: str) -> tuple[str, str]:
    """The verdict's own certainty, or the good pictures."""
    if _GOOD_PICTURES.search(text) and not _ALIKE_NOT.search(text) and "look like" not in text:
        return "good pictures", re.sub(r"\b(?:references?|before|seen|compared?)\b", " ", text)
    if _WRONG.search(text):
        return "wrong", _WRONG_WORDS.sub(" ", text)
    if _GUARANTEE.search(text):
        return "guarantee", _GUARANTEE.sub(" ", text)
    if _SURE.search(text):
        left = re.sub(
            r"\b(?:feel|finding|findings|conclusion|100|hundred)\b", " ", _SURE.sub(" ", text)
        )
        return ("very sure" if _VERY.search(text) else "sure"), _VERY.sub(" ", left)
    return "", text


def _colours(text: str) -> tuple[tuple[str, ...], str]:
    found, text = _COLOUR.findall(text), _COLOUR.sub(" ", text)
    return tuple(colour.replace("gray", "grey") for colour in found), text


def _phrases(text: str) -> tuple[str, frozenset[str]]:
    """The text without phrases of several words, and their headings: "first class" is no rank."""
    found = {"bad"} if _UNLIKE.search(text) else {"alike"} if _ALIKE.search(text) else set()
    text = _ALIKE.sub(" ", _UNLIKE.sub(" ", text))
    for name in ("alike", "good", "accept", "reject", "bad"):
        text, hit = taken(text, vocabulary()[name], several=True)
        found |= {name} if hit else set()
    return text, frozenset(found)


def _kinds_and_words(text: str) -> tuple[frozenset[str], tuple[str, ...], str, str]:
    """Headings of the vocabulary, kinds, a word narrower than its kind, and what is left."""
    words = vocabulary()
    found = set()
    for name in ("alike", "good", "accept"):
        text, hit = taken(text, words[name])
        if hit:
            found.add(name)
    # "a bad spot" is a defect, "a dark spot" a kind.
    text, hit = taken(text, words["defect"], plural=True, several=True)
    found |= {"defect"} if hit else set()
    text = re.sub(r"\b(?:you|to|we|i) (?:spot|line)\b", " ", text)
    kinds: list[str] = []
    called: list[str] = []
    for kind, ways in words.kinds.items():
        text, hit = taken(text, ways, plural=True)
        kinds += [kind] * bool(hit)
        called += hit
    narrower = called[0] if called and set(called) <= words["narrower"] else ""
    for name in ("reject", "bad", "defect"):
        text, hit = taken(text, words[name], plural=name == "defect")
        if hit:
            found.add(name)
    return frozenset(found), tuple(kinds), narrower, text
