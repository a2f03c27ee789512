"""Figures that others published, as data: quoted beside ours, never mixed with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean in percent, and its standard deviation over draws; None where it is not known."""

    mean: float
    spread: float | None

    @classmethod
    def read(cls, text: str) -> "Figure":
        """The figure written as "94.1 ± 1.1" or "94.1"."""
        mean, _, spread = text.partition("±")
        return cls(float(mean), float(spread) if spread else None)

    def text(self) -> str:
        """As it is written."""
        return f"{self.mean:.1f}" + (f" ± {self.spread:.1f}" if self.spread is not None else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSet:
    """What was published on one data set."""

    name: str
    source: str
    categories: frozenset[str]
    figures: Mapping[str, Mapping[int, tuple[Figure, Figure]]]
    """Method -> good pictures -> image AUROC, pixel AUROC."""
    accuracy: Mapping[str, Mapping[int, Figure]]
    """Method -> good pictures -> right answers to "is it defective?"."""


def published_sets() -> list[PublishedSet]:
    """Every set that figures are known of."""
    table = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return [
        PublishedSet(
            name=one["name"],
            source=table["source"],
            categories=frozenset(one["categories"]),
            figures={
                method: {shots: _pair(text) for shots, text in row.items()}
                for method, row in one["figures"].items()
            },
            accuracy={
                method: {shots: Figure.read(str(text)) for shots, text in row.items()}
                for method, row in one["accuracy"].items()
            },
        )
        for one in table["sets"]
    ]


def _pair(text: str) -> tuple[Figure, Figure]:
    image, pixel = text.split("/")
    return Figure.read(image), Figure.read(pixel)
