"""The verifiable reward: how much of what was asked an answer says, by the facts alone.

    score = right (1 - needless / words)     where nothing contradicts the facts, in [0, 1]
    score = -1 + right / 2                   where something does, in [-1, -0.5]

`right` is the mean of the parts that the question asks for, each in [0, 1]:

- presence: yes or no in effect, to a defect at all, there, or of that kind;
- regions: |named and asked| / |asked, and named beyond what may be named|, so that a missed region
  costs and a wrongly named one does, too;
- place, kind, size: the share of the regions asked for of which the exact word is said;
- count, doubt (of an unsure verdict), surety, chance, colours and the like: said or not.

An answer that is empty, or does not end, or only names regions, is right in nothing. "Always yes"
is a contradiction wherever the verdict is normal, and names no region elsewhere. Needless are
sentences said before, what is named twice in one sentence, and words beyond a generous allowance:
the grammar's own answer, a full description of all that may be named, and `SPARE` words.

A kind is what the facts call it: "scratch" claims more than "scratch or crack".
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.training.alignment.descriptions import (
    Description,
    descriptions,
    misdescribed,
    of_region,
    spelt,
)
from anomalyst.training.data.dialogues.answers import Intent, answer_to
from anomalyst.vlm.contradictions import contradiction
from anomalyst.vlm.facts import COUNTS, MOST_NAMED, Facts, number
from anomalyst.vlm.grounding import (
    claim,
    claims_defect,
    claims_soundness,
    conflict,
    lies_in,
    sentences,
)
from anomalyst.vlm.questions.yes_no import decide
from anomalyst.vlm.wording import SHOWN, TAG, all_described

SPARE = 30  # words that any answer may have beside what it needs

_END = re.compile(r"(?:[.!?]|<told>)$")
_MARK = re.compile(r"<[^>]*>")
_DENIAL = re.compile(r"\b(?:no|none|nothing|nowhere|not|only|zero)\b")
_DOUBT = re.compile(r"\b(?:probably|possibly|perhaps|may|might|seems?|unsure|not (?:\w+ )?sure)\b")
_ONE = r"(?:first|second|third|fourth|fifth|sixth|largest|clearest|good|this|that|which|each) one\b"
# Numbers that count no regions.
_OTHER_NUMBERS = re.compile(
    rf"<region \d+>|\b1 in \d+|\b{_ONE}|\b(?:{'|'.join(COUNTS)}|\d+) (?:more\b|good\b)"
)
_COUNT = re.compile(rf"\b({'|'.join((*COUNTS, 'none', 'zero'))}|\d+)\b")
_MORE = re.compile(rf"\b({'|'.join(COUNTS)}|\d+) more\b")
_NOTHING_AT = re.compile(r"\bnothing\b[^.;:,]*? (?:at|in|on) the ([a-z -]+)")
_NO_KIND = re.compile(rf"\bno ({'|'.join(KINDS)})\b")
_GENERAL = ("presence", "sound", "order", "count", "where", "kind", "size", "report")
_OF_ONE = ("worst", "largest", "nth", "it")
_DETAILS = {
    "where": ("place",), "kind": ("kind",), "size": ("size",), "report": ("place", "kind"),
    **dict.fromkeys(_OF_ONE, ("place", "kind")),
}  # fmt: skip
# What an answer that needs no facts has to mean.
_MEANS = {
    "declined": r"\b(?:cannot|can not|can't|unable|not able|do not know)\b",
    "foreign": r"\benglish\b",
    "hello": r"\b(?:hello|hi|welcome|good (?:day|morning|evening))\b",
    "thanks": r"\b(?:welcome|pleasure|glad)\b",
    "help": r"\bask\b",
}


@dataclass(frozen=True, slots=True)
class Verified:
    """What the facts say of an answer."""

    right: float  # share of what was asked that is said, [0, 1]
    contradictions: tuple[str, ...]  # what goes against the facts
    words: int  # a region's tag is one
    needless: int  # words beyond what is needed
    score: float  # [-1, 1]
    parts: Mapping[str, bool]  # what was asked -> whether all of it is said


@dataclass(frozen=True, slots=True)
class _Answer:
    """A raw answer, read."""

    text: str  # lower case
    sentences: Sequence[str]  # lower case, without a yes or no that may be to any question
    said: Mapping[int, Description]  # of the regions named

    def affirms(self, *, bare: bool) -> bool:
        """Whether it says that there is a defect; `bare`: a mere yes or no does."""
        if any(claims_soundness(one) for one in self.sentences):
            return False
        return bool(self.said) or any(map(claims_defect, self._claims(bare)))

    def denies(self, *, bare: bool) -> bool:
        """Whether it says that there is none."""
        return not self.said and any(map(claims_soundness, self._claims(bare)))

    def _claims(self, bare: bool) -> Sequence[str]:
        return (self.text, *self.sentences) if bare else self.sentences


def verify(raw: str, intent: Intent, facts: Facts, *, look: str = "") -> Verified:
    """How right an answer to a question of known intent is; the formula is the module's.

    `look`: what the product looks like, where that is known.
    """
    answer = _read(raw)
    contradictions = _contradictions(raw, answer, facts, intent)
    shares = _asked(answer, intent, facts, look)
    allowed = _words(answer_to(intent, facts, look, np.random.default_rng(0)))
    return _verified(raw, facts, contradictions, shares, allowed)


def verify_free(raw: str, question: str, facts: Facts, *, alone: bool = True) -> Verified:
    """The same of a person's own question: no contradiction, a finished text, its length.

    Where the facts decide yes or no, that is asked, too. `alone`: no turns came before, which might
    decide what the question means.
    """
    answer = _read(raw)
    contradictions, shares = _contradictions(raw, answer, facts), {"finished": 1.0}
    if alone and (decided := decide(question, facts, ())) is not None:
        if said := contradiction(raw, question, facts):
            contradictions.append(said)
        if begins := re.match(r"(?:yes|no)\b", decided.whole.lower()):
            shares["presence"] = float(re.match(rf"{begins.group()}\b", answer.text) is not None)
    return _verified(raw, facts, contradictions, shares, SPARE)


def _read(raw: str) -> _Answer:
    text = raw.strip().lower()
    first, *rest = sentences(text) or [""]
    return _Answer(text, [claim(first), *rest], descriptions(text))


def _verified(
    raw: str, facts: Facts, contradictions: Sequence[str], shares: Mapping[str, float], allowed: int
) -> Verified:
    # A tag alone says nothing of what it names.
    finished = _END.search(raw.strip()) is not None and re.search(r"\w", _MARK.sub("", raw))
    right = float(np.mean(list(shares.values()))) if finished else 0.0
    words = _words(raw)
    allowed += SPARE + (_words(all_described(facts)) if facts.regions else 0)
    needless = min(words, _repeated(raw) + max(0, words - allowed))
    score = right / 2 - 1 if contradictions else right * (1 - needless / max(1, words))
    parts = {name: bool(finished) and share == 1.0 for name, share in shares.items()}
    return Verified(right, tuple(contradictions), words, needless, score, parts)


def _words(raw: str) -> int:
    return len(TAG.sub("<region>", raw).split())


def _repeated(raw: str) -> int:
    """Words of sentences said before, and one for each region or name again in one sentence."""
    said: set[str] = set()
    repeated = 0
    for sentence in sentences(raw.replace("<told>", "<told>.")):  # it ends a sentence
        plain = " ".join(re.findall(r"\w+", sentence.lower()))
        tags = re.findall(r"<[^>]+>", sentence)
        repeated += _words(sentence) if plain in said else len(tags) - len(set(tags))
        said.add(plain)
    return repeated


def _contradictions(
    raw: str, answer: _Answer, facts: Facts, intent: Intent | None = None
) -> list[str]:
    """What goes against the facts, sentence by sentence, and a yes or no that does."""
    said = sentences(raw)
    if intent is None or intent.name != "presence":
        said[:1] = [claim(one) for one in said[:1]]  # the yes or no may be to any question
    found = [wrong for one in said if (wrong := conflict(one, facts))]
    found += misdescribed(answer.said, facts)
    return found if intent is None else found + _of_intent(answer, facts, intent)


def _of_intent(answer: _Answer, facts: Facts, intent: Intent) -> list[str]:
    """What is wrong only because of what was asked, and a rest that is counted wrongly."""
    found = []
    yes, no = (re.match(rf"{word}\b", answer.text) is not None for word in ("yes", "no"))
    if intent.name == "of kind" and (yes or no) and yes != bool(_such(intent, facts)):
        found.append(f"it says {'yes' if yes else 'no'} to {intent.kind}")
    first = answer.sentences[0]
    sound = re.search(r"\bis (?:probably )?(not )?sound\b", first)
    if intent.name in ("sound", "order") and sound and (no if sound.group(1) is None else yes):
        found.append("its yes or no goes against what follows")
    for more in _MORE.finditer(answer.text):
        before = TAG.findall(answer.text[: more.start()])
        if before and _number(more.group(1)) != len(facts.regions) - int(before[-1]):
            found.append(f"it says {more.group()}")
    return found


def _such(intent: Intent, facts: Facts) -> list[int]:
    """The regions that lie there, or are of that kind."""
    if intent.name == "at":
        return [i for i, r in enumerate(facts.regions) if lies_in(r.place, intent.where)]
    return [i for i, r in enumerate(facts.regions) if r.kind == intent.kind]


def _asked(answer: _Answer, intent: Intent, facts: Facts, look: str) -> dict[str, float]:
    """What a question asks for -> the share of it that is said."""
    name = intent.name
    if name in _GENERAL:
        return _of_all(answer, intent, facts)
    if name in _OF_ONE:
        return _of_one(answer, intent, facts)
    if name in ("at", "of kind"):
        return _of_such(answer, intent, facts)
    if name in _MEANS:
        return {name: float(re.search(_MEANS[name], answer.text) is not None)}
    return {part: float(said) for part, said in _OTHERS[name](answer, facts, look).items()}


def _of_all(answer: _Answer, intent: Intent, facts: Facts) -> dict[str, float]:
    """Questions about the part and all that was found on it, or one thing about one region."""
    name, bare = intent.name, intent.name not in ("sound", "order")
    if not facts.regions:
        denied = answer.denies(bare=bare) or (
            name not in ("presence", "sound", "order") and _none(answer)
        )
        said = denied if facts.verdict == "normal" else answer.affirms(bare=bare)
        return {"presence": float(said)}
    if intent.focus is not None:
        return _named(answer, facts, [intent.focus], _DETAILS.get(name, ()))
    asked = range(min(SHOWN, len(facts.regions)))
    parts = _named(answer, facts, asked, _DETAILS.get(name, ()), others=True)
    if name in ("presence", "sound", "order"):
        parts["presence"] = float(answer.affirms(bare=bare))
    if name in ("count", "report"):
        parts["count"] = float(_count(answer.text) == len(facts.regions))
    if facts.verdict == "unsure":
        parts["doubt"] = float(_DOUBT.search(answer.text) is not None)
    return parts


def _none(answer: _Answer) -> bool:
    return not answer.said and re.match(r"(?:no|none|nothing|nowhere)\b", answer.text) is not None


def _of_one(answer: _Answer, intent: Intent, facts: Facts) -> dict[str, float]:
    focus = {"worst": 0, "largest": facts.largest if facts.regions else 0}.get(intent.name)
    focus = intent.focus or 0 if focus is None else focus
    if focus >= len(facts.regions):
        return {"presence": float(_DENIAL.search(answer.text) is not None)}
    return _named(answer, facts, [focus], _DETAILS[intent.name])


def _of_such(answer: _Answer, intent: Intent, facts: Facts) -> dict[str, float]:
    such = _such(intent, facts)
    named = [i for i in such if i < MOST_NAMED]
    if named:
        parts = _named(answer, facts, named[:SHOWN], ())
        allowed = len(set(answer.said) & set(such)) == len(answer.said)
        return parts | {"presence": float(bool(answer.said) and allowed)}
    if intent.name == "at":
        denied = _NOTHING_AT.search(answer.text)
        right = denied is None or spelt(f"the {denied.group(1).strip()}") == f"the {intent.where}"
    else:
        kind = _NO_KIND.search(answer.text)
        right = kind is None or kind.group(1) == intent.kind
    said = _DENIAL.search(answer.text) is not None
    return {"presence": float(said), "asked": float(said and right)}


def _named(
    answer: _Answer,
    facts: Facts,
    asked: Sequence[int],
    details: Sequence[str],
    *,
    others: bool = False,
) -> dict[str, float]:
    """Of the regions asked for: which are named, and of how many each detail is said.

    `others`: more regions than those may be named.
    """
    named, wanted = set(answer.said), set(asked)
    beyond = set() if others else named - wanted
    parts = {"regions": len(named & wanted) / len(wanted | beyond)}
    for detail in details:
        right = [
            i in named and of_region(facts, i)[detail] in getattr(answer.said[i], detail)
            for i in asked
        ]
        parts[detail] = sum(right) / len(right)
    return parts


def _count(text: str) -> int | None:
    """The number of regions that an answer says."""
    match = _COUNT.search(_OTHER_NUMBERS.sub(" ", text))
    if match is None:
        return None
    return _number(match.group(1))


def _number(word: str) -> int:
    if word in ("none", "zero"):
        return 0
    return COUNTS.index(word) if word in COUNTS else int(word)


def _sure(answer: _Answer, facts: Facts, _: str) -> dict[str, bool]:
    sure = re.search(rf"\b{facts.surety} sure\b", answer.text)
    return {"surety": sure is not None, "chance": _says_chance(answer.text, facts)}


def _says_chance(text: str, facts: Facts) -> bool:
    return re.search(rf"\b{facts.chance}\b", text) is not None


def _colour(answer: _Answer, facts: Facts, _: str) -> dict[str, bool]:
    if not facts.colours:
        return {"colours": re.search(r"\b(?:unknown|not|cannot)\b", answer.text) is not None}
    return {"colours": all(colour in answer.text for colour in facts.colours)}


def _look(answer: _Answer, facts: Facts, look: str) -> dict[str, bool]:
    said = look in answer.text if look else bool(answer.text)
    parts = {"look": said}
    if facts.colours:
        parts |= _colour(answer, facts, look)
    if facts.product:
        parts["name"] = "<product>" in answer.text
    return parts


def _good(answer: _Answer, facts: Facts, _: str) -> dict[str, bool]:
    if not facts.num_good:
        return {"good pictures": re.search(r"\b(?:no|not|none)\b", answer.text) is not None}
    ways = [number(facts.num_good), str(facts.num_good), *["the"] * (facts.num_good == 1)]
    known = re.search(rf"\b(?:{'|'.join(ways)}) good (?:picture|part|one)", answer.text)
    parts = {"good pictures": known is not None}
    if facts.regions:
        shown = set(range(min(SHOWN, len(facts.regions))))
        parts["regions"] = shown <= set(answer.said)
    return parts


def _told(answer: _Answer, facts: Facts, _: str) -> dict[str, bool]:
    if facts.told:
        return {"told": "<told>" in answer.text}
    return {"told": re.search(r"\b(?:nothing|not)\b", answer.text) is not None}


_OTHERS: dict[str, Callable[[_Answer, Facts, str], dict[str, bool]]] = {
    "sure": _sure, "colour": _colour, "look": _look, "good": _good, "told": _told,
}  # fmt: skip
