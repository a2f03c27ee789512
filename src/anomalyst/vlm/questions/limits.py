"""What a question limits or measures: places, ranks, counts, sizes, shares of the picture.

Each function takes a lower-case text and gives what it found and the text without it.
"""

import re
from collections.abc import Sequence

from anomalyst.vlm.facts import COUNTS
from anomalyst.vlm.questions.plain import NUMBER
from anomalyst.vlm.questions.vocabulary import alternatives, vocabulary
from anomalyst.vlm.wording import ORDINALS

Count = tuple[str, int]  # (">=", 2)
_ONLY = r"(?:only|just|exactly|precisely|merely|but)"
_SIZES: dict[str, tuple[str, ...]] = {
    "tiny": ("tiny",), "minuscule": ("tiny",), "microscopic": ("tiny",),
    "small": ("tiny", "small"), "little": ("tiny", "small"),
    "medium": ("medium",), "medium-sized": ("medium",),
    "large": ("large",), "big": ("large",), "huge": ("large",), "enormous": ("large",),
}  # fmt: skip
_MIDDLE = dict.fromkeys(("middle", "centre", "center"), "centre")
_ROWS = {"top": "upper", "upper": "upper", "bottom": "lower", "lower": "lower", **_MIDDLE}
_COLUMNS = {"left": "left", "right": "right", **_MIDDLE}
_PARTS = "corner|side|part|area|third|edge|section|region|zone|end|quarter"
_TAIL = rf"(?:[ -]hand)?(?:[ -](?:{_PARTS}))?"
_NEAR = r"(?:(?:near|close to|next to|around|towards?|by) )?"
_CELL = re.compile(
    rf"\b{_NEAR}(?:the )?(?:very |far )?(top|upper|bottom|lower|middle|centre|center)[ -]"
    rf"(?:of the )?(left|right|middle|centre|center){_TAIL}\b"
)
_CELL_TURNED = re.compile(rf"\b(?:the )?(left|right)[ -](top|upper|bottom|lower){_TAIL}\b")
_HALF = re.compile(r"\b(?:the )?(top|upper|bottom|lower|left|right)(?:[ -]hand)? half\b")
_SIDE = re.compile(
    r"\b(?:at|in|on|near|close to|to|towards?|along|of|is|are|around|does) the"
    r" (?:very |far |dead |exact )?"
    rf"(top|upper|bottom|lower|left|right|middle|centre|center){_TAIL}\b"
    rf"|\b(?:at|on|in) (top|bottom|left|right)\b"
    rf"|\b(top|upper|bottom|lower|left|right|middle|central)[ -]?(?:hand )?(?:{_PARTS})\b"
    r"|\b(centred|centered|central(?:ly)?)\b"
)
_OF_THEM = r"(?: of (?:them(?: all)?|all|these|those|the \w+))?"
_LARGEST = re.compile(
    rf"\b(?:(?:largest|biggest|widest){_OF_THEM}"
    r"|(?:larger|bigger) (?:one|defect|flaw|of the two))\b"
)
_SMALLEST = re.compile(
    rf"\b(?:(?:smallest|tiniest|littlest){_OF_THEM}|smaller (?:one|defect|flaw|of the two))\b"
)
_CORNER = re.compile(r"\b(?:a|any|the|one of the|some) corners?\b")
_CLEAREST = re.compile(
    r"\b(?:worst|clearest|main|most (?:serious|severe|visible|obvious|prominent))\b"
)
_ORDINAL = re.compile(rf"\b({'|'.join(ORDINALS)})\b")
_SHARE = re.compile(
    r"\b(more|less|larger|bigger|smaller|over|under|at least|fewer)?(?: than)? ?(?:a |one |1 )?"
    r"((?<!upper )(?<!lower )(?<!left )(?<!right )(?<!top )(?<!bottom )half"
    r"|third|quarter|tenth|\d+ ?(?:%|percent|per cent))(?: of)?(?: the)?(?: whole| entire)?"
    r" (?:picture|image|photo|frame)\b"
)
_SPOTS = re.compile(
    rf"\b({NUMBER}|single|several|many|more|other) (?:spot|place|area|location)s?\b"
)
_BESIDES = re.compile(
    r"\b(?:besides|apart from|other than|except(?: for)?|in addition to)"
    r" (?:the \w+(?: one)?|that(?: one)?|this(?: one)?|it)\b"
)
_COUNTS = (
    (
        ">",
        r"(?<!no )(?<!not )(?:more|greater|higher|larger|over|above|exceeds?)(?: than)?"
        rf" ({NUMBER})\b",
    ),
    ("<", rf"(?:fewer|less|lower|smaller|under|below)(?: than)? ({NUMBER})\b"),
    (">=", rf"at least ({NUMBER})\b"),
    ("<=", rf"(?:at most|no more than|not more than|up to|maximum) ({NUMBER})\b"),
    (">=", rf"\b({NUMBER})(?: \w+)? or more\b"),
    ("==2", r"\b(?:a|one) pair of\b"),
    ("<=", rf"\b({NUMBER}) or (?:fewer|less)\b"),
    ("==", rf"{_ONLY}(?: a| the)? ({NUMBER}|single)\b(?! bit)"),
    ("==", r"\b(?:a|the) (single|sole)\b"),
    ("==1", r"\b(?:the|its) only (?:one\b|\w+[a-rt-z]\b)"),
    ("==", rf"\b(?:number|count|total|amount)\b[a-z ]*?(?:is|equal to|of)? ?({NUMBER})\b"),
    (
        ">=2",
        r"\b(?:several|multiple|more than a single|a few|a couple|various|another"
        r"|(?<!the )others?|(?:anything|something|any|what) else|additional|further ones?"
        r"|any more|one more|some more|more of them|besides)\b",
    ),
    (">=4", r"\b(?:many|a lot|lots|plenty|numerous|loads|tons)\b"),
)  # fmt: skip


def places(text: str) -> tuple[tuple[str, ...], str]:
    """Places as `_lies` of yes_no.py knows them: "upper left", "left", "upper half", "corner"."""
    where: list[str] = []

    def cell(match: re.Match[str]) -> str:
        row, column = match.groups()
        if row in ("left", "right"):
            row, column = column, row
        place = f"{_ROWS[row]} {_COLUMNS[column]}"
        where.append("centre" if place == "centre centre" else place)
        return " "

    def half(match: re.Match[str]) -> str:
        word = match.group(1)
        where.append(f"{_ROWS.get(word, word)} half")
        return " "

    def side(match: re.Match[str]) -> str:
        word = next(group for group in match.groups() if group)
        word = "centre" if word.startswith("cent") else word
        where.append(_ROWS.get(word, word))
        return " "

    text = _CELL.sub(cell, text)
    text = _CELL_TURNED.sub(cell, text)
    text = _HALF.sub(half, text)
    text = _SIDE.sub(side, text)
    if not where and _CORNER.search(text):
        where.append("corner")
        text = _CORNER.sub(" ", text)
    return _joined(where), text


def _joined(where: Sequence[str]) -> tuple[str, ...]:
    """ "at the bottom in the middle" is one cell."""
    for side in ("upper", "lower", "left", "right"):
        if sorted(where) == sorted((side, "centre")):
            return (f"{side} centre" if side in ("upper", "lower") else f"centre {side}",)
    return tuple(where)


def rank(text: str) -> tuple[str, str]:
    """ "largest", "smallest", "clearest", an ordinal, or nothing."""
    for pattern, word in ((_LARGEST, "largest"), (_SMALLEST, "smallest"), (_CLEAREST, "clearest")):
        if pattern.search(text):
            return word, pattern.sub(" ", text)
    if match := _ORDINAL.search(text):
        return match.group(1), _ORDINAL.sub(" ", text)
    return "", text


def count(text: str) -> tuple[Count | None, str]:
    """How many are asked for, if that is asked."""
    text = _BESIDES.sub(" another ", _SPOTS.sub(r"\1 defect", text))
    for sign, pattern in _COUNTS:
        if match := re.search(pattern, text):
            left = text[: match.start()] + " " + text[match.end() :]
            if sign[-1].isdecimal():
                return (sign[:2], int(sign[2:])), re.sub(pattern, " ", text)
            return (sign, _as_number(match.group(1))), left
    # "two defects", "2 of them"; "one" is a pronoun more often than a number.
    nouns = alternatives(vocabulary()["defect"])
    kinds = alternatives({word for words in vocabulary().kinds.values() for word in words})
    if match := re.search(
        rf"\b({NUMBER})(?= (?:{'|'.join(_SIZES)}|different|visible|separate|distinct|or)? ?"
        rf"(?:{nouns}|{kinds}|of them)(?:s|es)?\b)",
        text,
    ) or re.search(rf"\b((?!one\b){NUMBER})\b", text):
        return ("==", _as_number(match.group(1))), text[: match.start()] + " " + text[match.end() :]
    return None, text


def _as_number(word: str) -> int:
    if word in ("single", "sole", "zero"):
        return int(word != "zero")
    return COUNTS.index(word) if word in COUNTS else int(word)


def sizes(text: str) -> tuple[tuple[str, ...], str]:
    """The words of facts that the sizes asked for cover."""
    pattern = rf"\b(?:{'|'.join(_SIZES)})\b"
    found = tuple(size for word in re.findall(pattern, text) for size in _SIZES[word])
    return found, re.sub(pattern, " ", text)


def share(text: str) -> tuple[tuple[str, float] | None, str]:
    """More or less than a share of the picture: (">", 0.5)."""
    match = _SHARE.search(text)
    if match is None:
        return None, text
    sign = "<" if match.group(1) in ("less", "smaller", "under", "fewer") else ">"
    word = match.group(2)
    known = {"half": 0.5, "third": 1 / 3, "quarter": 0.25, "tenth": 0.1}
    asked = known.get(word) or int(re.findall(r"\d+", word)[0]) / 100
    return (sign, asked), _SHARE.sub(" ", text)
