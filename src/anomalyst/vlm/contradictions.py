"""What goes against the facts in an answer that somebody gave or prefers, in a few words."""

import re
from collections.abc import Sequence

from anomalyst.types import Answer, Turn
from anomalyst.vlm.dialogue import without_marks
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.grounding import claim, conflict, sentences
from anomalyst.vlm.questions.yes_no import decide
from anomalyst.vlm.wording import resolved, unresolved

_BOX = re.compile(r"\(box [^)]*\)")
_YES_NO = re.compile(r"(?i)^(yes|no)\b")


def contradiction(raw: str, question: str, facts: Facts, turns: Sequence[Turn] = ()) -> str:
    """The first thing in a raw answer that goes against the facts; empty: nothing does.

    Unlike `ground`, a yes or no that the facts decide is compared with theirs, and words are not
    held to name the regions that the facts name.
    """
    decided = decide(question, facts, turns)
    for index, sentence in enumerate(sentences(raw)):
        if decided is not None and index == 0:
            said, known = _YES_NO.match(sentence), _YES_NO.match(decided.whole)
            if said and known and said.group().lower() != known.group().lower():
                facts_say = f"it says {said.group()} and the facts say {known.group()}".lower()
                return conflict(sentence, facts) or facts_say
            sentence = claim(sentence)
        if box := _BOX.search(sentence):
            return f"it names {box.group().strip('()')}, where nothing was found"
        if reason := conflict(sentence, facts):
            return reason
    return ""


def contradiction_of(answer: Answer, question: str, facts: Facts, turns: Sequence[Turn]) -> str:
    """The same of an answer of ours: it was checked when it was given."""
    if not answer.corrected:
        return ""
    return contradiction(answer.raw, question, facts, turns) or "it was cut where it went astray"


def judged_raw(answer: Answer, facts: Facts) -> str:
    """The raw form of what people judge: the model's own words, or what was shown instead."""
    if answer.corrected or (answer.raw and resolved(answer.raw, facts) == answer.text):
        return answer.raw
    return unresolved(answer.text, facts)


def raw_words(words: str, facts: Facts) -> str:
    """A person's words as a raw answer: boxes as regions, nothing a template takes for its own."""
    return unresolved(" ".join(without_marks(words).split()), facts)
