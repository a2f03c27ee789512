"""Words checked against the map: what contradicts the verdict or a region is never said.

A raw answer names regions as `<region 1>`. Sentence by sentence, what it claims (a defect or none,
how many, where, how large, of what kind) is compared with the facts. The first sentence that goes
against them is cut with all that follow, and the calibrated verdict is said instead.
"""

import re
from collections.abc import Iterable

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.io.colours import NAMES
from anomalyst.types import PLACES, SIZES, Answer
from anomalyst.vlm.facts import COUNTS, Facts
from anomalyst.vlm.wording import TAG, WHICH, index_of, named, plainly, resolved

CORRECTION = "My words did not agree with the calibrated verdict, which holds."

_DECIDED = re.compile(r"(?i)^(?:yes|no)\b,? ?(?:probably )?")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_NOUN = (
    r"(?:defect|anomal|flaw|fault|damage|problem|imperfection|blemish|issue|irregularit"
    r"|abnormalit|scratch|crack|stain|hole|dent)"
)
_YES = (
    r"^yes\b",
    rf"\bthere (?:is|are|seems?|appears?)(?: to be)? (?!no\b|nothing\b|none\b)[^.;]*?{_NOUN}",
    rf"\bi (?:can )?(?:see|found|find|detect) (?!no\b|nothing\b)[^.;]*?{_NOUN}",
    r"\b(?:is|looks|seems|be) (?:probably |clearly |likely )?(?:defective|damaged|broken|faulty"
    r"|anomalous|abnormal|bad|unsound)",
    r"\bnot (?:ok|okay|fine|sound|good|normal|intact|acceptable|in order)\b",
    r"\b(?:reject|scrap) it\b",
)
_NO = (
    r"^no\b(?! one\b)",
    rf"\b(?:no|not any|without (?:any |a )?|free of (?:any )?|zero) ?(?:other |visible )?{_NOUN}",
    r"\b(?:is|looks|seems|appears)(?: to be)? (?:probably |perfectly |all )?(?:ok|okay|fine|sound"
    r"|good|normal|intact|acceptable|in order|flawless|perfect|undamaged|right)\b",
    r"\blooks? like a good one\b",
    r"\b(?:nothing|anything) (?:is |seems )?(?:wrong|unusual|damaged|stands? out)\b",
    r"\b(?:none|nowhere)\b",
    r"\bnot (?:defective|damaged|broken|faulty|anomalous|abnormal)\b",
    r"\b(?:accept|ship|pass) it\b",
)
# What only limits a question, a comparison or a place says nothing about the whole part.
WHETHER = r"\b(?:whether|if)\b[^.;]*"
ASIDES = (
    WHETHER,
    r"\bthere is no (?:first|second|third|fourth|fifth|sixth) one\b",
    r"^a good one looks like\b",
)
PLACE_WORDS = {"top": "upper", "bottom": "lower", "middle": "centre", "center": "centre"}
PLACE = re.compile(
    r"\b(upper|lower|centre)[ -](left|centre|right)\b"
    r"|\bthe (centre|upper|lower|left|right)\b(?![ -](?:left|centre|right)\b)"
)
NOTHING_AT = re.compile(
    r"\bnothing (?:stands out|is wrong|is visible) (?:at|in|on) the ([a-z -]+?)(?=[,;:.]|$)"
)
_NOTHING_BEGUN = re.compile(r"\bnothing(?: stands(?: out(?: at(?: the(?: [a-z ]*)?)?)?)?)?$")
NO_KIND = re.compile(rf"\bno (?:{'|'.join(KINDS)})\b(?: and no other defect)?")
_BEGUN_KINDS = {kind[: at.start()] for kind in KINDS for at in re.finditer(" ", kind)}
_NO_KIND_BEGUN = re.compile(rf"\bno ({'|'.join(sorted(_BEGUN_KINDS))})$")  # "no hole or"
_CHANCE = re.compile(r"\b(?:less than|about) 1 in \d+")
_CHANCE_LOST = re.compile(r"\b1 in (?!\d|$)")
_SURETY = re.compile(r"\bi am (very|fairly|not) sure\b")
_SURETY_BEGUN = re.compile(r"\bi am (very|fairly|not)(?: sure\b|$)")
_NONE_SEEN = re.compile(r"\bseen no good (?:one|part|picture)\b")
_PLACES = "|".join(sorted(PLACES, key=len, reverse=True))
_PHRASE = re.compile(
    rf"(?:\bthe ({WHICH}) one is )?\b(?:an? )?({'|'.join(SIZES)})\b"
    rf"(?: ({'|'.join(KINDS)}|anomaly)\b(?: at the ({_PLACES})\b)?)?"
)
# The longest first: "dark grey" is not "grey".
_COLOUR = re.compile(rf"\b({'|'.join(sorted(NAMES, key=len, reverse=True))})\b")
COUNT = re.compile(
    rf"\b({'|'.join(COUNTS)}|\d+) (?:(?:{'|'.join(SIZES)}) )?(?:defect|anomal|flaw|fault|region)"
    rf"|\b(?:there (?:is|are)|i see) ({'|'.join(COUNTS[1:])}|\d+)\b"
)


def ground(raw: str, facts: Facts, seconds: float = 0.0, *, whole: str = "") -> Answer:
    """The answer that may be shown: checked, places resolved to boxes in pixels.

    `whole`: the raw answer by the facts, if these decide; it stands in for words that do not hold.
    """
    kept: list[str] = []
    corrected = False
    for sentence in sentences(raw):
        if not holds(sentence, facts, whole=whole if not kept else ""):
            corrected = True
            break
        if resolved(sentence, facts).strip():  # "<product>" of a part without a name is nothing
            kept.append(sentence)
    if not kept and whole:
        return answer_of(whole, whole, facts, seconds)
    if corrected or not kept:
        kept += [CORRECTION] * corrected + [plainly(facts)]
    return answer_of(" ".join(kept), raw, facts, seconds, corrected=corrected)


def holds(sentence: str, facts: Facts, *, whole: str = "") -> bool:
    """Whether a raw sentence agrees with the facts, and names what `whole`, if given, names."""
    if not whole:
        return conflict(sentence, facts) is None
    same = set(TAG.findall(sentence)) == set(TAG.findall(whole))
    return same and conflict(claim(sentence), facts) is None


def claim(sentence: str) -> str:
    """A sentence without a yes or no that the facts decided, which may be to any question."""
    return _DECIDED.sub("", sentence)


def answer_of(
    whole: str,
    raw: str,
    facts: Facts,
    seconds: float,
    *,
    corrected: bool = False,
    sources: tuple[str, ...] = (),
) -> Answer:
    """What is shown of `whole`, regions as `<region 1>`; `raw` is what was said at first."""
    return Answer(
        text=resolved(whole, facts),
        raw=raw,
        regions=tuple(dict.fromkeys(named(whole, facts))),
        verdict=facts.verdict,
        confidence=facts.confidence,
        corrected=corrected,
        seconds=seconds,
        sources=sources,
    )


def sentences(raw: str) -> list[str]:
    """The sentences of a text, without empty ones."""
    return [s.strip() for s in _SENTENCE.split(raw.strip()) if s.strip()]


def conflict(sentence: str, facts: Facts, *, partial: bool = False) -> str | None:
    """What in one raw sentence goes against the facts, in a few words; None if nothing does.

    `partial`: the sentence is still being written, and what ends it may go on ("1" to "12").
    """
    numbers = [int(n) for n in TAG.findall(sentence)]
    if any(not 1 <= n <= len(facts.regions) for n in numbers):
        return "it names a region that is not there"
    text = sentence.lower()
    for aside in ASIDES:
        text = re.sub(aside, " ", text)
    return (
        _presence_conflict(text, facts, partial)
        or _count_conflict(text, facts, partial)
        or _place_conflict(text, facts, partial)
        or _word_conflict(text, facts, partial)
        or _phrase_conflict(text, facts)
        or _figure_conflict(text, facts, partial)
    )


def _presence_conflict(text: str, facts: Facts, partial: bool) -> str | None:
    for match in NOTHING_AT.finditer(text):
        if partial and match.end() == len(text) and match.group(1) in ("upper", "lower", "centre"):
            continue
        if any(lies_in(region.place, match.group(1)) for region in facts.regions):
            return "something is where it says nothing is"
    if partial:
        text = _NOTHING_BEGUN.sub(" ", text)
        begun = _NO_KIND_BEGUN.search(text)
        if begun and not any((r.kind or "").startswith(begun.group(1)) for r in facts.regions):
            text = text[: begun.start()]
    if facts.regions:
        text = NOTHING_AT.sub(" ", text)
        for match in NO_KIND.finditer(text):
            if any(r.kind and r.kind in match.group() for r in facts.regions):
                return "it denies a kind that was found"
        text = NO_KIND.sub(" ", text)
    yes, no = claims_defect(text), claims_soundness(text)
    if facts.verdict == "normal" and yes:
        return "it says yes and the verdict is normal"
    if facts.verdict != "normal" and no:
        return f"it says no and the verdict is {facts.verdict}"
    return None


def claims_defect(text: str) -> bool:
    """Whether a lower-case sentence says that there is a defect."""
    return any(re.search(pattern, text) for pattern in _YES)


def claims_soundness(text: str) -> bool:
    """Whether a lower-case sentence says that there is none."""
    return any(re.search(pattern, text) for pattern in _NO)


def _count_conflict(text: str, facts: Facts, partial: bool) -> str | None:
    for match in COUNT.finditer(text):
        word = match.group(1) or match.group(2)
        if partial and word.isdecimal() and match.end() == len(text):
            continue
        said = COUNTS.index(word) if word in COUNTS else int(word)
        if said != len(facts.regions):
            return f"it counts {said} where there are {len(facts.regions)}"
    return None


def _place_conflict(text: str, facts: Facts, partial: bool) -> str | None:
    text = NOTHING_AT.sub(" ", text)
    for word, ours in PLACE_WORDS.items():
        text = re.sub(rf"\b{word}\b", ours, text)
    for match in PLACE.finditer(text):
        place = match.group(3) or f"{match.group(1)} {match.group(2)}"
        if partial and place == "centre" and match.end() == len(text):
            continue
        place = "centre" if place == "centre centre" else place
        following = re.match(r"\s*<region (\d+)>", text[match.end() :])
        regions = [facts.regions[int(following.group(1)) - 1]] if following else facts.regions
        if not any(lies_in(region.place, place) for region in regions):
            return f"it speaks of the {place}"
    return None


def lies_in(place: str, where: str) -> bool:
    """Whether a cell of the 3 x 3 grid lies in a place: a cell, a row or a column, in any words."""
    words = where.replace("-", " ").split()
    where = " ".join(PLACE_WORDS.get(word, word) for word in words)
    if where in PLACES:
        return place == where
    return where in place.split()


def _word_conflict(text: str, facts: Facts, partial: bool) -> str | None:
    """Kinds and sizes that no region has (of those named, if any is and no other may follow)."""
    named_here = [facts.regions[int(n) - 1] for n in TAG.findall(text)]
    regions = facts.regions if partial or not named_here else named_here
    rest = NO_KIND.sub(" ", TAG.sub(" ", text))
    sizes = {facts.size(region) for region in regions}
    if wrong := _first(re.findall(rf"\b({'|'.join(SIZES)})\b", rest), sizes):
        return f"it says {wrong}"
    kinds = {region.kind for region in regions if region.kind}
    found = re.findall(rf"\b({'|'.join(KINDS)})\b", rest)
    if wrong := _first(found, kinds):
        return f"it speaks of {wrong}"
    return None


def _phrase_conflict(text: str, facts: Facts) -> str | None:
    """A description that fits no region, or not the one that its sentence is about."""
    for match in _PHRASE.finditer(text):
        which, size, kind, place = match.groups()
        regions = facts.regions
        if which and regions:
            regions = regions[index_of(which, facts) :][:1]
        # "the centre" may still become "the centre left".
        whole = place is not None and not (place == "centre" and match.end() == len(text))
        if not any(
            (size is None or facts.size(r) == size)
            and (kind is None or (r.kind or "anomaly") == kind)
            and (not whole or r.place == place)
            for r in regions
        ):
            return f"it describes {match.group().strip()}"
    return None


def _figure_conflict(text: str, facts: Facts, partial: bool) -> str | None:
    """Another chance, certainty or colour than the facts have."""
    if _CHANCE_LOST.search(text):
        return "it says a chance without its number"
    said = []
    for match in _CHANCE.finditer(text):
        going_on = partial and match.end() == len(text)
        if not (going_on and facts.chance.startswith(match.group())):
            said.append(match.group())
    if facts.num_good and _NONE_SEEN.search(text):
        return "it denies the good pictures"
    said += (_SURETY_BEGUN if partial else _SURETY).findall(text)
    if wrong := _first(said, {facts.chance, facts.surety}):
        return f"it says {wrong}"
    if wrong := _first(_COLOUR.findall(text), set(facts.colours)):
        return f"it says {wrong}"
    return None


def _first(said: Iterable[str], true: set[str]) -> str | None:
    return next((word for word in said if word not in true), None)
