"""What a search may choose from: ranges, so many points of them, or values."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from anomalyst.errors import AnomalystError
from anomalyst.training.experiments.plots import LOG_FROM

Cell = dict[str, Any]  # a value of every key


@dataclass(frozen=True, slots=True)
class Choice:
    """What a key may be: a range, or a few values."""

    key: str
    low: float = 0.0
    high: float = 0.0
    values: tuple[Any, ...] = ()
    whole: bool = False  # only integers

    def suggest(self, trial: Any) -> Any:
        """A value of this trial."""
        if self.values:
            return trial.suggest_categorical(self.key, list(self.values))
        log = self.low > 0 and self.high / self.low >= LOG_FROM
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), log=log)
        return trial.suggest_float(self.key, self.low, self.high, log=log)


def read_space(texts: Sequence[str]) -> tuple[tuple[Choice, ...], tuple[str, ...]]:
    """`key=1e-4..1e-2` and `key=a,b` as choices; all else as overrides of the recipe.

    `key=1e-4..1e-2:5` are five values of a range, equally far apart, by factors where its ends are
    `LOG_FROM` times apart. Raises AnomalystError for a range that is none, a key that is given
    twice, or when nothing is to be chosen.
    """
    space, rest = [], []
    for text in texts:
        key, _, right = text.partition("=")
        low, dots, high = right.partition("..")
        if dots:
            high, colon, points = high.partition(":")
            one = _range(text, key, low, high)
            space.append(Choice(key, values=_points(text, one, points)) if colon else one)
        elif "," in right and not right.startswith(("[", "{")):
            values = yaml.safe_load(f"[{right}]")
            space.append(Choice(key, values=tuple({repr(v): v for v in values}.values())))
        else:
            rest.append(text)
    if not space:
        raise AnomalystError(
            "nothing is to be searched; give ranges or values, as in learning_rate=1e-4..1e-2 or "
            "optimizer=adamw,sgd."
        )
    key, count = Counter(choice.key for choice in space).most_common(1)[0]
    if count > 1:
        raise AnomalystError(f"{key}: is to be searched {count} times; give all its values once.")
    return tuple(space), tuple(rest)


def cells_of(space: Sequence[Choice]) -> list[Cell]:
    """Every cell of a grid; AnomalystError for a range without its number of points."""
    for choice in space:
        if not choice.values:
            raise AnomalystError(
                f"{choice.key}: a grid needs to know how many values of a range to take, as in "
                f"{choice.key}={choice.low:g}..{choice.high:g}:5."
            )
    each = itertools.product(*(choice.values for choice in space))
    return [dict(zip([c.key for c in space], cell, strict=True)) for cell in each]


def _range(text: str, key: str, low: str, high: str) -> Choice:
    try:
        ends = float(low), float(high)
    except ValueError:
        raise AnomalystError(
            f"{text!r}: both ends of a range are numbers, as in 1e-4..1e-2."
        ) from None
    if not (math.isfinite(sum(ends)) and ends[0] < ends[1]):
        raise AnomalystError(f"{text!r}: a range goes from the lower to the higher end.")
    return Choice(key, *ends, whole=low.lstrip("-").isdigit() and high.lstrip("-").isdigit())


def _points(text: str, ends: Choice, points: str) -> tuple[float | int, ...]:
    """So many values from the lower to the higher end, in six digits or whole."""
    count = int(points) if points.isdigit() else 0
    most = int(ends.high - ends.low) + 1 if ends.whole else math.inf
    if not 2 <= count <= most:
        limit = f", at most {most}, as they are whole" if ends.whole else ""
        raise AnomalystError(
            f"{text!r}: after the colon stands how many values to take, 2 or more{limit}."
        )
    log = ends.low > 0 and ends.high / ends.low >= LOG_FROM
    values = (np.geomspace if log else np.linspace)(ends.low, ends.high, count).tolist()
    if ends.whole:
        return tuple(dict.fromkeys(round(value) for value in values))
    return tuple(float(f"{value:.6g}") for value in values)
