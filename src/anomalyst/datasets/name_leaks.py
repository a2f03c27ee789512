"""Labels that leak into file names: what reads names would know the answer."""

import re
from collections import defaultdict
from collections.abc import Sequence

LEAST = 5  # pictures of a class before its numbers mean anything
SAID_BY = 0.5  # of a class's pictures whose names say it


def name_leaks(names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """A sentence for each way in which file names (without folders) tell their class.

    The class's own name in them, or running numbers of which each class has a range of its own.
    """
    of_class: dict[str, list[str]] = defaultdict(list)
    for name, label in zip(names, labels, strict=True):
        of_class[label].append(name)
    return [said for said in (_words(of_class), _ranges(of_class)) if said]


def _words(of_class: dict[str, list[str]]) -> str:
    found = []
    for label, names in of_class.items():
        wanted = _plain(label)
        saying = [name for name in names if wanted and wanted in _plain(name.rpartition(".")[0])]
        elsewhere = sum(
            wanted in _plain(name) for other, held in of_class.items() if other != label
            for name in held
        )  # fmt: skip
        if len(saying) >= max(2, SAID_BY * len(names)) and not elsewhere:
            found.append((label, saying[0]))
    if not found:
        return ""
    examples = " and ".join(f"{name!r} of {label!r}" for label, name in found[:2])
    return (
        f"File names say the class, as {examples} do; the network sees pixels only, but whatever "
        "reads names knows the answer. Rename them by running numbers in random order."
    )


def _ranges(of_class: dict[str, list[str]]) -> str:
    """Whether the last numbers in the names lie in ranges that do not meet."""
    ranges = {}
    for label, names in of_class.items():
        numbers = [int(digits[-1]) for n in names if (digits := re.findall(r"\d+", n))]
        if len(numbers) < max(LEAST, len(names)):
            return ""
        ranges[label] = (min(numbers), max(numbers))
    ordered = sorted(ranges.items(), key=lambda item: item[1])
    apart = all(a[1][1] < b[1][0] for a, b in zip(ordered, ordered[1:], strict=False))
    if len(ordered) < 2 or not apart:
        return ""
    (first, (low, high)), (second, (least, most)) = ordered[:2]
    return (
        f"Running numbers separate the classes: {first!r} has {low} to {high}, {second!r} {least} "
        f"to {most}; if they stand for time, a network may learn the light of the day. Take the "
        "pictures of all classes in turn."
    )


def _plain(text: str) -> str:
    """Letters and digits alone, so that broken_off is Broken-Off; single ones say nothing."""
    plain = re.sub(r"[^a-z0-9]", "", text.lower())
    return plain if len(plain) > 1 and not plain.isdigit() else ""
