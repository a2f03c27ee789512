"""What a raw answer says of each region: the words that belong to its tag."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.types import PLACES, SIZES
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.grounding import PLACE_WORDS, sentences
from anomalyst.vlm.wording import TAG


def _any_of(words: tuple[str, ...]) -> str:
    return rf"\b(?:{'|'.join(sorted(words, key=len, reverse=True))})\b"


_DETAIL = {"size": re.compile(_any_of(SIZES)), "kind": re.compile(_any_of((*KINDS, "anomaly")))}
_DETAIL["place"] = re.compile(_any_of(PLACES))
# What is not there describes nothing that is.
_DENIED = re.compile(rf"\bno {_any_of(KINDS)}|\bnothing\b[^,;:.<]*")


@dataclass(frozen=True, slots=True)
class Description:
    """The sizes, kinds and places that are said of one region."""

    size: set[str] = field(default_factory=set)
    kind: set[str] = field(default_factory=set)
    place: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        """What a piece of lower-case text says."""
        for name, pattern in _DETAIL.items():
            getattr(self, name).update(pattern.findall(text))


def descriptions(raw: str) -> dict[int, Description]:
    """What is said of each region that an answer names, by its index.

    A tag ends its description ("a hole at the left <region 1>"); where nothing is said before a
    sentence's first tag, it begins it ("<region 1> is a hole").
    """
    found: dict[int, Description] = {}
    for sentence in sentences(spelt(raw)):
        tags = list(TAG.finditer(sentence))
        ends = [0, *(tag.end() for tag in tags)]
        starts = [*(tag.start() for tag in tags), len(sentence)]
        pieces = [sentence[end:start] for end, start in zip(ends, starts, strict=True)]
        after = not _says(pieces[0].rsplit(";")[-1]) and _says(pieces[-1].split(";")[0])
        for index, tag in enumerate(tags):
            piece = pieces[index + 1].split(";")[0] if after else pieces[index].rsplit(";")[-1]
            found.setdefault(int(tag.group(1)) - 1, Description()).add(piece)
    return found


def _says(piece: str) -> bool:
    return any(pattern.search(piece) for pattern in _DETAIL.values())


def spelt(raw: str) -> str:
    """An answer in lower case, places in our words, without what it says is not there."""
    text = raw.lower()
    for word, ours in PLACE_WORDS.items():
        text = re.sub(rf"\b{word}\b", ours, text)
    return _DENIED.sub(" ", text.replace("centre centre", "centre"))


def of_region(facts: Facts, index: int) -> Mapping[str, str]:
    """The true size, kind and place of a region."""
    region = facts.regions[index]
    return {
        "size": facts.size(region),
        "kind": region.kind or "anomaly",
        "place": region.place,
    }


def misdescribed(said: Mapping[int, Description], facts: Facts) -> list[str]:
    """What is said of a region and is not so, though another region may be like that."""
    wrong = []
    for index, description in said.items():
        if not 0 <= index < len(facts.regions):
            continue  # that it is not there is a conflict by itself
        for name, true in of_region(facts, index).items():
            others = getattr(description, name) - {true, "anomaly"}
            wrong += [f"it says {other} of <region {index + 1}>" for other in sorted(others)]
    return wrong
