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
    if not asked or _ANY.search(text) or not facts.num_good:
        return None
    raw = _raw(asked, facts)
    return answer_of(raw, raw, facts, seconds)


def _raw(asked: list[Part], facts: Facts) -> str:
    regions = list(enumerate(facts.regions[:MOST_NAMED]))
    such = [(i, r.place, r.part) for i, r in regions if r.part in asked and r.part]
    if such:
        told = "; ".join(f"at the {place} {tag(i)} {PARTS[part]}" for i, place, part in such)
        return f"{'Yes, probably' if facts.verdict == 'unsure' else 'Yes'}: {told}."
    if regions:
        return f"No, not clearly: what I see is {all_described(facts)}."
    few = facts.num_good < ENOUGH and "missing" in asked
    limit = " With so few good pictures a missing part can escape me." if few else ""
    return f"No, not as far as I can see.{limit}"
