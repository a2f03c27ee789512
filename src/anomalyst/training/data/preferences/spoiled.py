"""Answers that were right and are no longer: one word is changed, or the end is missing."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.types import PLACES, SIZES
from anomalyst.vlm.facts import COUNTS
from anomalyst.vlm.wording import TAG


def _another(words: Sequence[str], before: str = "") -> Callable[[str], str | None]:
    """A change of the first of some words to the next one; None where none of them is said."""
    either = re.compile(rf"(?i)\b(?:{'|'.join(sorted(words, key=len, reverse=True))})\b{before}")

    def changed(raw: str) -> str | None:
        match = either.search(raw)
        if match is None:
            return None
        new = words[(words.index(match.group().lower()) + 1) % len(words)]
        return f"{raw[: match.start()]}{new}{raw[match.end() :]}"

    return changed


def _swapped(raw: str) -> str | None:
    if raw.startswith("Yes,"):
        return f"No{raw[3:]}"
    return f"Yes{raw[2:]}" if raw.startswith("No,") else None


def _retagged(raw: str) -> str | None:
    tags = TAG.findall(raw)
    return TAG.sub(f"<region {int(tags[0]) + 1}>", raw, count=1) if tags else None


# None: there is nothing to change.
CHANGES: Mapping[str, Callable[[str], str | None]] = {
    "yes or no": _swapped,
    "region": _retagged,
    "place": _another(PLACES),
    "kind": _another(KINDS),
    "size": _another(SIZES),
    "count": _another(COUNTS[1:], before=r"(?= (?:defect|more|good))"),
    "truncated": lambda raw: raw[: len(raw) * 2 // 3].rstrip(".!? "),
}


def spoiled(raw: str, rng: np.random.Generator) -> str:
    """The answer after one of the changes that apply to it, each as likely."""
    changed = [found for change in CHANGES.values() if (found := change(raw))]
    return changed[int(rng.integers(len(changed)))] if changed else raw
