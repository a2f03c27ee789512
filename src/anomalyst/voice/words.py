"""Words as they are spoken: what a transcript is compared by."""

import re

_DASHES = re.compile(r"[-–—/]")
_NOT_SPOKEN = re.compile(r"[^a-z' ]")
# What sounds alike is written in one way, so that no spelling counts as an error.
_SPELLINGS = {
    "color": "colour", "colors": "colours", "colored": "coloured", "gray": "grey",
    "center": "centre", "recognize": "recognise", "recognizable": "recognisable",
    "discolored": "discoloured", "discoloration": "discolouration",
    "discolorations": "discolourations", "ok": "okay", "oke": "okay", "alright": "all right",
    "summarize": "summarise", "localize": "localise", "judgment": "judgement",
}  # fmt: skip


def spoken_words(text: str) -> list[str]:
    """The words of a text in lower case: "Top-left, isn't it?" -> top, left, isn't, it."""
    plain = _NOT_SPOKEN.sub("", _DASHES.sub(" ", text.lower().replace("’", "'")))
    words = (one.strip("'") for one in plain.split())
    return " ".join(_SPELLINGS.get(word, word) for word in words if word).split()


def word_errors(said: list[str], heard: list[str]) -> int:
    """The least number of words put in, left out or exchanged that makes one the other."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said):
        before, row[0] = row[0], i + 1
        for j, other in enumerate(heard):
            before, row[j + 1] = (
                row[j + 1],
                min(row[j + 1] + 1, row[j] + 1, before + (word != other)),
            )  # left out, put in, exchanged
    return row[-1]
