"""A question as it is typed -> a yes/no question: "hey, it's ok, right?" -> "it is ok".

Greetings, tags ("right?"), indirect forms ("can you tell me whether") and contractions go; a choice
("left or right?"), a request ("can you list ...") and a question with what or where is none.
"""

import re

from anomalyst.vlm.facts import COUNTS
from anomalyst.vlm.questions.vocabulary import vocabulary
from anomalyst.vlm.wording import ORDINALS

NUMBER = rf"(?:zero|{'|'.join(COUNTS[1:])}|\d+)"
_CONTRACTIONS = (
    (r"\b(?:can['’]?t|cannot)\b", "can not"),
    (r"\bwon['’]?t\b", "will not"),
    (r"\bain['’]?t\b", "is not"),
    (r"\b(is|are|was|were|do|does|did|has|have|had|could|should|would|must)n['’]?t\b", r"\1 not"),
    (r"\b(it|that|there|this|one|what|every\w+|anything|something|nothing|here)['’]s\b", r"\1 is"),
    (r"\b(it|that|there)s (?=(?:a|an|ok|okay|fine|good|bad|broken|damaged|not)\b)", r"\1 is "),
    (r"\b(they|you|we)['’]re\b", r"\1 are"),
    (r"\bi['’]d\b", "i would"),
    (r"\bi['’]m\b", "i am"),
    (r"\b(i|you|we|they)['’]ve\b", r"\1 have"),
    (r"\b(worst|largest|biggest|smallest|clearest|main) spot\b", r"\1 place"),  # no stain
    (r"\bw/", "with "),
    (r"\bu\b", "you"),
    (r"\bur\b", "your"),
    (r"\br\b", "are"),
    (r"\b(\d)(?:st|nd|rd|th)\b", lambda m: ORDINALS[min(int(m.group(1)), 6) - 1]),
)  # fmt: skip
# What goes before a question without being part of it.
_PREAMBLE = re.compile(
    r"^(?:(?:hey|hi|hello|well|now|and|but|then|also|please|pls|quick (?:one|question)|question"
    r"|tell me(?! (?:if|whether)\b)|honestly|be honest"
    r"|(?:in|to) your (?:opinion|view|eyes?|mind)|yes or no|sorry|hm+"
    r"|excuse me|um+|uh|oh|listen|look here|one more thing|so|anyway"
    r"|just(?=,)|ok(?=,)|okay(?=,)|right(?=,))"
    r"\b[\s,:;.!-]*)+"
)
# What makes a statement a question: "can you tell me whether", "do you think".
_INDIRECT = re.compile(
    r"^(?:"
    r"(?:can|could|would|will) you (?:please |kindly |just )*(?:tell|say|confirm|check|verify|see"
    r"|let|find out)(?: for)?(?: me| us)?(?: know)? (?:if|whether|that)"
    r"|(?:please )?(?:tell me|tell us|say|confirm|check|verify|let me know|find out|see)"
    r" (?:if|whether)"
    r"|(?:i|we) (?:(?:would|will|just|only|really) )*(?:like|want|need|have|love) to know"
    r" (?:if|whether)"
    r"|i (?:am |was |have been )?(?:just )?(?:wonder|wondering|curious|unsure|not sure)"
    r" (?:if|whether)"
    r"|(?:do|would|can) you (?:happen to )?(?:know|tell) (?:if|whether)"
    r"|(?:do|would) you (?:really )?(?:think|believe|reckon|agree|suppose|say|guess)(?: that)?"
    r"|(?:any idea|no idea|not sure) (?:if|whether)"
    r"|(?:is it|would it be) (?:true|correct|right|fair|safe)(?: to say| to assume)? that"
    r"|am i (?:right|correct)"
    r" (?:that|in (?:thinking|saying|assuming)(?: that)?|to (?:think|assume|say)(?: that)?)"
    r"|(?:i|we) (?:think|believe|guess|assume|suppose|take it|hope|heard|am told)(?: that)?"
    r")\s+"
)
_TAG = re.compile(
    r"(?:(?:[,;.]\s*(?:right|correct|true|yes|no)"
    r"|[\s,;.]+(?:eh|huh|agreed|or not|or what|or no|then|please|now|thanks|thank you"
    r"|by any chance|at all|(?:am i|is that) (?:right|correct|true)|(?:do|would) you agree"
    r"|is that so|do you not think|anywhere|whatsoever|already|though"
    r"|(?:is|are|was|were|does|do|did|has|have|can|could|should|would|will)(?: not)?"
    r" (?:it|they|there|this|that|you|i|we)(?: not)?)))+\s*$"
)
_AUXILIARIES = frozenset((
    "is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "can", "could",
    "may", "might", "must", "should", "shall", "will", "would", "am"
))  # fmt: skip
_ELLIPTIC = frozenset((
    "any", "anything", "something", "everything", "all", "nothing", "no", "only", "just",
    "more", "fewer", "less", "at", "exactly", "ok", "okay", "good", "fine", "safe", "ready",
    "sure", "certain", "still", "really"
))  # fmt: skip
_STATING = frozenset((
    "it", "this", "that", "there", "they", "the", "you", "i", "we", "these", "those", "one",
    "two", "my", "our"
))  # fmt: skip
_VERB = re.compile(
    rf"\b(?:{'|'.join(sorted(_AUXILIARIES))}|be|been|got|looks?|seems?|appears?|contains?|shows?"
    r"|pass(?:es)?|fails?|needs?|lies|sits)\b"
)
_ASKED_OTHERWISE = re.compile(
    r"^(?:can|could|would|will) you (?:please |kindly |just )*"
    r"(?:list|describe|show|point|locate|mark|explain|name|tell|summari[sz]e|count|give|classify|estimate|outline|repeat|help|write|send)\b"
    r"|^(?:can|could|do|would|will|did|have) (?:you|we|i) (?:\w+ ){0,3}"
    r"(?:what|where|why|how|which|who|when)\b"
    r"|^any (?:idea|clue|guess|thoughts?|suggestions?)\b"
)
_WH = re.compile(r"\b(?:what|where|why|how|who|when|whose|whom|which)\b")
# "..., and where?" is answered with what there is.
_AND_WHERE = re.compile(
    r",? and(?: if (?:so|not|yes|no))?,? (?:where|what|why|how|which)\b.*$|,? if (?:so|not),?.*$"
)
# "any scratches or dents?" asks for either.
_ANY_OF = re.compile(r"\bany\b|^(?:is|are) there\b|^(?:do|can|did) you (?:see|find|notice|spot)\b")
_HARMLESS_OR = re.compile(
    r"\bor (?:more|fewer|less|so|not|another|other|something|anything)\b"
    rf"|\b{NUMBER} or {NUMBER}\b|\bor more\b|\bscratch or crack\b|\bhole or break\b"
)


def spelt_out(question: str) -> str:
    """A question in lower case, its contractions written out."""
    text = " ".join(question.lower().replace("’", "'").split())
    for pattern, whole in _CONTRACTIONS:
        text = re.sub(pattern, whole, text)
    return text


def plain_question(question: str) -> str | None:
    """A yes/no question in lower case without greetings, tags and contractions; None for others."""
    text = spelt_out(question)
    asks = text.rstrip(" !.").endswith("?")
    text = _AND_WHERE.sub("", _last_sentence(text))
    yes_or_no = text.startswith("yes or no")
    text = _PREAMBLE.sub("", text)
    tagged = asks and _TAG.search(text) is not None
    text, indirect = _direct(_TAG.sub("", text).strip(" ,"), asks=asks)
    text = _PREAMBLE.sub("", _TAG.sub("", text)).strip(" ,")
    first = text.split(" ")[0].strip(",")
    if not first or _ASKED_OTHERWISE.match(text) or _chooses(text):
        return None
    if first in _AUXILIARIES or first in ("any", "anything"):
        return text
    begins = first in _ELLIPTIC | set(COUNTS) | vocabulary()["bad"] or first.isdecimal()
    begins = begins or (first in _STATING and has_verb(text))
    asked = indirect or yes_or_no or ((asks or tagged) and begins)
    return text if asked and not _WH.search(text) else None


def has_verb(text: str) -> bool:
    """Whether a plain question is a sentence, not "the colour?" or "more defects?"."""
    return _VERB.search(text) is not None


def _last_sentence(text: str) -> str:
    """The last sentence; with the one before where it is a tag: "It is broken. Right?"."""
    parts = [part.strip(" ,;:!.") for part in re.split(r"[?!.]+(?:\s+|$)|to know: ", text)]
    parts = [part for part in parts if part]
    if len(parts) > 1 and not _TAG.sub("", f" {parts[-1]}").strip():
        return f"{parts[-2]}, {parts[-1]}"
    return parts[-1] if parts else ""


def _direct(text: str, *, asks: bool) -> tuple[str, bool]:
    """The question without what makes it indirect, and whether that was there."""
    indirect = False
    while match := _INDIRECT.match(text):
        start = match.group()
        told = start.split()[0] in ("i", "we") and not re.search(r"\b(?:if|whether)\b", start)
        if told and not (indirect or asks):  # "I think it is broken." asks nothing
            return "", False
        indirect, text = True, text[match.end() :]
    return text, indirect


def _chooses(text: str) -> bool:
    """Whether the question gives a choice: "left or right?"."""
    if _ANY_OF.search(text):
        return False
    rest = _HARMLESS_OR.sub(" ", text)
    for match in re.finditer(r"(\w+) or (?:a |an |any |some |is it )?(\w+)", rest):
        one, other = (_headings(word) | _headings(word.rstrip("s")) for word in match.groups())
        if not one & other:
            return True
    return False


def _headings(word: str) -> set[str]:
    words = vocabulary()
    found = {name for name in ("defect", "bad", "reject", "good", "accept") if word in words[name]}
    found |= {kind for kind, ways in words.kinds.items() if word in ways}
    return {"bad" if name == "defect" else name for name in found}
