"""How facts are worded, by the grammar that teaches and by the answers that correct."""

import re
from collections.abc import Iterator, Sequence

from anomalyst.types import Region
from anomalyst.vlm.facts import Facts, number

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
WHICH = "|".join((*ORDINALS, "largest", "clearest"))  # "the ... one" is one region
TAG = re.compile(r"<region (\d+)>")
_SAID_PLACE = re.compile(r"\((?:box (\d+), (\d+), (\d+), (\d+)|region (\d+))\)")
SHOWN = 3  # regions described in one answer; the others are counted


def tag(index: int) -> str:
    """What stands for a region in raw text; the worst one has index 0."""
    return f"<region {index + 1}>"


def described(facts: Facts, index: int) -> str:
    """A region in full: "a small scratch at the upper left <region 1>"."""
    region = facts.regions[index]
    return f"{with_article(region, facts.size(region))} at the {region.place} {tag(index)}"


def with_article(region: Region, size: str = "") -> str:
    """What a region is: "a small scratch", "an anomaly"."""
    noun = " ".join(word for word in (size, region.kind or "anomaly") if word)
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def listed(phrases: Sequence[str], total: int) -> str:
    """Phrases joined by commas and "and"; what is not shown of `total` is counted."""
    shown = list(phrases)
    if total > len(shown):
        shown.append(f"{number(total - len(shown))} more")
    if len(shown) == 1:
        return shown[0]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def all_described(facts: Facts) -> str:
    """The worst regions in full, and how many more there are."""
    shown = min(SHOWN, len(facts.regions))
    return listed([described(facts, i) for i in range(shown)], len(facts.regions))


def counted(facts: Facts) -> str:
    """ "one defect", "two defects"."""
    total = len(facts.regions)
    return f"{number(total)} defect{'s' if total != 1 else ''}"


def is_or_are(count: int) -> str:
    """The verb for so many."""
    return "is" if count == 1 else "are"


def there_are(facts: Facts) -> str:
    """ "there is one defect", "there are two defects"."""
    return f"there {is_or_are(len(facts.regions))} {counted(facts)}"


def plainly(facts: Facts) -> str:
    """The whole verdict in one raw sentence, true by construction."""
    if facts.verdict == "normal":
        return "No, there is no defect."
    found = f"{there_are(facts)}: {all_described(facts)}."
    if facts.verdict == "unsure":
        return f"Yes, probably {found[:-1]}, but I am not sure."
    return f"Yes, {found}"


def index_of(which: str, facts: Facts) -> int:
    """The region that "the second one", "the largest one" or "the clearest one" is."""
    if which in ORDINALS:
        return ORDINALS.index(which)
    return facts.largest if which == "largest" else 0


# What people call each kind (detection/classifiers/defect_types.py).
KIND_WORDS: dict[str, tuple[str, ...]] = {
    "scratch or crack": (
        "scratch", "crack", "cut", "scratches", "cracks", "scrape", "fissure", "fracture", "line",
        "thread", "fibre", "hair", "hairline crack", "tear", "scratch or crack",
    ),
    "discolouration": (
        "stain", "discolouration", "spot", "stains", "dirt", "smear", "wrong colour", "smudge",
        "colour change", "burn", "rust", "contamination", "ink", "oil", "grease", "wrong texture",
    ),
    "hole or break": (
        "hole", "break", "chip", "missing piece", "holes", "breakage", "broken edge", "gap",
        "missing part", "puncture", "hole or break", "missing material", "nick",
    ),
    "deformation": (
        "dent", "deformation", "fold", "bend", "bump", "wrinkle", "crease", "dents", "bulge",
        "distortion", "warp", "bent part",
    ),
    "foreign part": (
        "foreign body", "foreign part", "foreign object", "extra part", "misplaced part",
        "particle", "particles",
        "foreign material", "wrong part", "swapped part", "debris", "crumbs",
    ),
}  # fmt: skip


def named(text: str, facts: Facts) -> Iterator[Region]:
    """The regions that a text names, in order; a number without a region is passed over."""
    for match in TAG.finditer(text):
        index = int(match.group(1)) - 1
        if 0 <= index < len(facts.regions):
            yield facts.regions[index]


def resolved(text: str, facts: Facts) -> str:
    """A raw text as people read it: regions as boxes, the product's name and the user's words."""

    def box(match: re.Match[str]) -> str:
        x0, y0, x1, y1 = facts.regions[int(match.group(1)) - 1].box_xyxy
        return f"(box {x0}, {y0}, {x1}, {y1})"

    text = TAG.sub(box, text)
    return text.replace("<product>", facts.product).replace("<told>", f'"{facts.told}"')


def unresolved(text: str, facts: Facts) -> str:
    """What `resolved` made for people as a raw text again: boxes of regions as `<region 1>`.

    A box that is no region's stays as it is. "(region 1)" is taken for a region, too.
    """
    boxes = [region.box_xyxy for region in facts.regions]

    def region(match: re.Match[str]) -> str:
        *corners, number = match.groups()
        if number is not None:
            return tag(int(number) - 1)
        box = tuple(int(corner) for corner in corners)
        return tag(boxes.index(box)) if box in boxes else match.group()

    text = _SAID_PLACE.sub(region, text)
    if facts.told:
        text = text.replace(f'"{facts.told}"', "<told>")
    if facts.product:
        text = re.sub(rf"(?<!\w){re.escape(facts.product)}(?!\w)", "<product>", text)
    return text
