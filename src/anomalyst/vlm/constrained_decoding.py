"""How a sentence may go on: descriptions are spelt as the facts spell them.

A model chooses what to say and of which region; once a description is begun ("a small", "the
upper") only the ways that some region can be described are open, up to its tag.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.io.colours import NAMES
from anomalyst.types import SIZES
from anomalyst.vlm.facts import MOST_NAMED, Facts, number
from anomalyst.vlm.grounding import WHETHER, conflict
from anomalyst.vlm.wording import TAG, WHICH, index_of, tag

_KIND_STARTS = sorted({kind.split()[0] for kind in KINDS} | {"anomaly"})
_COLOUR_STARTS = sorted({name.split()[0] for name in NAMES})
# Where a description begins, unless it is of what is not there; "largest" begins none.
_BEGUN = re.compile(
    rf"(?<!\bno )(?<!\bhow )\b(?:{'|'.join([*SIZES, *_KIND_STARTS, *_COLOUR_STARTS])})(?!st\b)"
    r"|(?<!stands out at )\bthe (?:upper|lower|centre|left|right)\b"
)
# After a tag a list goes on; after these words an article begins a description.
_JOINED = re.compile(r"(?s)^(?:,| and)(.*\S.*)$")
_ARTICLE = re.compile(r"(?s)(?:: |, |\band |\bis |\bare |\bsee )an? (\S.*)$")
# A sentence that counts them all, or says what there is instead, is about all of them.
_ALL = re.compile(r"\bdefects?\b|what i see is")
_BEGINS = re.compile(rf"the ({WHICH})\b")
_WHICH = re.compile(rf"\bthe ({WHICH}) one is\b")


def may_go_on(begun: str, facts: Facts, about: Sequence[int] | None = None) -> bool:
    """Whether a raw sentence that has got this far can still agree with the facts.

    `about`: indices of the regions that the question singles out; None: it is about all.
    """
    if conflict(begun, facts, partial=True) is not None:
        return False
    text = re.sub(WHETHER, " ", begun.lower())  # it describes nothing
    if about is not None and not _of_those(text, facts, about):
        return False
    return _well_described(text, facts, about)


def _of_those(text: str, facts: Facts, about: Sequence[int]) -> bool:
    """Whether a sentence begins as one about some of those regions may."""
    match = _BEGINS.match(text)
    return match is None or index_of(match.group(1), facts) in about


def _well_described(text: str, facts: Facts, about: Sequence[int] | None) -> bool:
    """Whether what was begun after the last tag is the beginning of something true."""
    # A tag that has just been written belongs to what it ends.
    tags = [match for match in TAG.finditer(text) if match.end() < len(text)]
    rest = text[tags[-1].end() :] if tags else text
    after = int(tags[-1].group(1)) if tags else 0
    regions = _open_to(facts, after, _WHICH.search(rest))
    if _ALL.search(text):
        regions = regions[:1]  # one after the other
    elif about is not None:
        regions = [index for index in regions if index in about]
    nouns = [way for index in regions for way in _nouns(facts, index)]
    ways = nouns + [way for index in regions for way in _others(facts, index)]
    if facts.colours:
        ways.append(f"{' on '.join(facts.colours)}.")
    if tags and (joined := _JOINED.match(rest)):
        left = len(facts.regions) - after
        more = [f"{number(left)} more", "but i am not sure.", tag(after)]
        on = [*ways, *(f"a {way}" for way in nouns), *more]
        return _fits(joined.group(1), [f" {way}" for way in on])
    if facts.regions and (article := _ARTICLE.search(rest)):
        return _fits(article.group(1), nouns)
    match = _BEGUN.search(rest)
    return match is None or _fits(rest[match.start() :], ways)


def _fits(said: str, ways: Iterable[str]) -> bool:
    return any(way.startswith(said) or said.startswith(way) for way in ways)


def _open_to(facts: Facts, after: int, which: re.Match[str] | None) -> Sequence[int]:
    """The regions that may be spoken of next: those after the last, or the one asked for."""
    if which is None or not facts.regions:
        return range(after, min(len(facts.regions), MOST_NAMED))
    index = index_of(which.group(1), facts)
    return range(index, min(index + 1, len(facts.regions)))


def _nouns(facts: Facts, index: int) -> Iterator[str]:
    """What may follow an article."""
    region = facts.regions[index]
    kind = region.kind or "anomaly"
    yield f"{facts.size(region)} {kind} at the {region.place} {tag(index)}"
    yield f"{kind} {tag(index)}"


def _others(facts: Facts, index: int) -> Iterator[str]:
    """What stands without one."""
    region = facts.regions[index]
    yield f"{facts.size(region)} {tag(index)}"
    yield f"the {region.place} {tag(index)}"
