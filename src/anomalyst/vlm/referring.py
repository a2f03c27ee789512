"""Which regions a question is about: "the second one", "the largest", "it", "at the top left"."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from anomalyst.types import Turn
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.grounding import lies_in
from anomalyst.vlm.wording import KIND_WORDS, ORDINALS, TAG, index_of

_ORDINAL = re.compile(rf"\b({'|'.join(ORDINALS)})\b")
_LARGEST = re.compile(r"\b(?:largest|biggest|larger|bigger|widest)\b")
_CLEAREST = re.compile(r"\b(?:worst|clearest|most (?:serious|severe|visible|obvious))\b")
_IT = re.compile(r"\b(?:it|its|this one|that one)\b|^and\b(?!.*\b(?:they|them|all)\b)")
_OF_IT = re.compile(
    r"\b(?:where|how (?:large|big)|kind|type|sort|size|place|position|about|describe|more)\b"
)
_IS_IT = re.compile(
    r"^(?:(?:is|was|could|can|might|would) )?(?:not )?(?:it|this one|that one|that|this)\b"
)
_WHETHER = re.compile(r"^(?:is|are|do|does|can|could|any|has|have|did)\b")
_CELL = re.compile(
    r"\b(upper|top|lower|bottom|centre|center|middle)[ -](left|centre|center|middle|right)\b"
)
_SIDE = re.compile(r"\b(?:at|in|on|near) the (?:very )?(top|bottom|left|right|middle|centre)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionScope:
    """What can be told of a question without a model."""

    regions: tuple[int, ...] | None = None  # the ones it singles out; None: it is about all
    begins: str = ""  # how the answer begins; empty: anyhow
    whole: str = ""  # the answer by the facts, where these decide: the model may reword it


def question_scope(question: str, facts: Facts, turns: Sequence[Turn]) -> QuestionScope:
    """What a question singles out; nothing, where no region fits."""
    text, count = question.lower(), min(len(facts.regions), MOST_NAMED)
    if not count:
        return QuestionScope()
    for pattern, word in ((_LARGEST, "largest"), (_CLEAREST, "clearest")):
        if pattern.search(text):
            return QuestionScope(regions=(index_of(word, facts),), begins=f"The {word} one is")
    if match := _ORDINAL.search(text):
        index = ORDINALS.index(match.group(1))
        return QuestionScope(regions=(index,)) if index < count else QuestionScope()
    if match := _CELL.search(text) or _SIDE.search(text):
        where = " ".join(match.groups())
        there = [i for i in range(count) if lies_in(facts.regions[i].place, where)]
        return QuestionScope(regions=tuple(there), begins="There") if there else QuestionScope()
    if kind := asked_kind(text):
        such = [i for i in range(count) if facts.regions[i].kind == kind]
        return (
            QuestionScope(regions=tuple(such)) if such else QuestionScope(begins=f"I see no {kind}")
        )
    if turns and _IT.search(text) and _OF_IT.search(text):
        said = {int(number) - 1 for number in TAG.findall(turns[-1].answer.raw)}
        if len(said) == 1 and max(said) < count:
            return QuestionScope(regions=tuple(said))
    return QuestionScope()


def spoken_of(question: str, facts: Facts, turns: Sequence[Turn]) -> int | None:
    """The region that "it" is at the beginning of a lower-case yes/no question, if it is one."""
    if not turns or not _IS_IT.search(question):
        return None
    said = {int(number) - 1 for number in TAG.findall(turns[-1].answer.raw)}
    index = said.pop() if len(said) == 1 else None
    return index if index is not None and index < min(len(facts.regions), MOST_NAMED) else None


def asked_kind(question: str) -> str | None:
    """The kind that a lower-case question asks after: "any dents?"; None for none or several."""
    if not _WHETHER.search(question):
        return None
    asked = {
        kind
        for kind, words in KIND_WORDS.items()
        if re.search(rf"\b(?:{'|'.join(words)})\b", question)
    }
    return asked.pop() if len(asked) == 1 else None
