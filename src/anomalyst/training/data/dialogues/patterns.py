"""Sentences written once and said in many ways: `Is (this|the) part [really] (sound|fine)?`"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import yaml

_CHOICE = re.compile(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


@cache
def sentences(*names: str) -> Mapping[str, Sequence[str]]:
    """The lists in YAML files of the folder `sentences`, by their headings."""
    found: dict[str, Sequence[str]] = {}
    for name in names:
        path = Path(__file__).parent / "sentences" / f"{name}.yaml"
        for heading, held in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            found[heading] = held.splitlines() if isinstance(held, str) else held
    return found


def expand(
    pattern: str, rng: np.random.Generator, words: Mapping[str, Sequence[str]] | None = None
) -> str:
    """One way to say a pattern: `(a|b)` is one of them, `[a|b]` one or nothing, `{x}` a word of x.

    Choices may be nested; `words` gives what a slot may be. KeyError for a slot without words.
    """
    text = pattern
    while match := _SLOT.search(text):
        options = (words or {})[match.group(1)]
        text = text[: match.start()] + one_of(options, rng) + text[match.end() :]
    while match := _CHOICE.search(text):
        must, may = match.groups()
        chosen = one_of((must or may).split("|"), rng)
        if must is None and rng.random() < 0.5:
            chosen = ""
        text = text[: match.start()] + chosen + text[match.end() :]
    return re.sub(r" +([?.,!;])", r"\1", re.sub(r" {2,}", " ", text)).strip()


def one_of(options: Sequence[str], rng: np.random.Generator) -> str:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]
