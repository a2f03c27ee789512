"""Is a part missing, or one too many? Answered from what was found, not by the language model.

The model was never taught parts: to "Is something missing?" it answers whether there is a defect.
"""

import re

from anomalyst.detection.regions import PARTS
from anomalyst.types import Answer, Part
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.grounding import answer_of
from anomalyst.vlm.wording import all_described, tag

_ASKED: dict[Part, re.Pattern[str]] = {
    "missing": re.compile(r"\b(?:missing|absent|lacking|incomplete)\b"),
    "extra": re.compile(r"\b(?:extra|too many|surplus|superfluous)\b"),
}
# The other way round: a yes means that none is missing.
_COMPLETE = re.compile(
    r"\ball (?:of )?(?:the |its )?(?:parts|pieces|components|elements)\b"
    r"(?=.*\b(?:there|present|here|in place|included|mounted|fitted)\b)"
    r"|\beverything (?:still )?(?:there|present|in place|included)\b"
    r"|(?<!\ba )\bcomplete\b(?=\W*$|,| and\b| or\b| yet\b| now\b)"
)
# Words that ask about any defect: the language model's to answer.
_ANY = re.compile(
    r"\b(?:wrong|off|broken|damaged|unusual|strange|odd|defects?|defective|faults?|faulty|ok|okay|fine)\b"
)
ENOUGH = 19  # good pictures from which on most missing parts were found (docs/research/embedded.md)


def about_parts(question: str, facts: Facts, seconds: float = 0.0) -> Answer | None:
    """The answer to a question about missing or extra parts; None for any other question.

    None, too, where no good picture is known: then nothing tells which parts there should be.
    """
    text = question.lower()
    asked = [part for part, words in _ASKED.items() if words.search(text)]
    complete = _COMPLETE.search(text) is not None and not asked
    if not (asked or complete) or _ANY.search(text) or not facts.num_good:
        return None
    raw = _raw(asked, facts) if asked else _complete(facts)
    return answer_of(raw, raw, facts, seconds)


def _raw(asked: list[Part], facts: Facts) -> str:
    regions = list(enumerate(facts.regions[:MOST_NAMED]))
    such = [(i, r.place, r.part) for i, r in regions if r.part in asked and r.part]
    if such:
        told = "; ".join(f"at the {place} {tag(i)} {PARTS[part]}" for i, place, part in such)
        return f"{'Yes, probably' if facts.verdict == 'unsure' else 'Yes'}: {told}."
    if regions:
        return f"No, not clearly: what I see is {all_described(facts)}."
    return f"No, not as far as I can see.{_limit(facts) if 'missing' in asked else ''}"


def _complete(facts: Facts) -> str:
    """Whether all parts are there: the missing ones, asked for the other way round."""
    found = _raw(["missing"], facts)
    if found.startswith("Yes"):
        return found.replace("Yes", "No", 1)
    if facts.regions:
        return f"Yes, as far as I can see; what I see is {all_described(facts)}.{_limit(facts)}"
    return f"Yes, as far as I can see.{_limit(facts)}"


def _limit(facts: Facts) -> str:
    few = facts.num_good < ENOUGH
    return " With so few good pictures a missing part can escape me." if few else ""
