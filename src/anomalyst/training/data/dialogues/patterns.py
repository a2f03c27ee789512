"""Sentences written once and said in many ways: `Is (this|the) part [really] (sound|fine)?`"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

_CHOICE = re.compile(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


def said(
    pattern: str,
    rng: np.random.Generator,
    words: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """One way to say a pattern: `(a|b)` is one of them, `[a|b]` one or nothing, `{x}` a word of x.

    Choices may be nested; `words` gives what a slot may be. KeyError for a slot without words.
    """
    text = pattern
    while match := _SLOT.search(text):
        options = (words or {})[match.group(1)]
        text = text[: match.start()] + _one(options, rng) + text[match.end() :]
    while match := _CHOICE.search(text):
        must, may = match.groups()
        chosen = _one((must or may).split("|"), rng)
        if must is None and rng.random() < 0.5:
            chosen = ""
        text = text[: match.start()] + chosen + text[match.end() :]
    return re.sub(r" +([?.,!;])", r"\1", re.sub(r" {2,}", " ", text)).strip()


def _one(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
