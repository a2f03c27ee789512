"""Which class each picture of a labelled set is of."""

from collections.abc import Mapping

import numpy as np


def dealt(
    numbers: np.random.Generator, parts: Mapping[str, int], classes: int
) -> list[tuple[str, int]]:
    """(part, class from 0) of every picture; `parts`: train and test -> how many pictures.

    Classes are equally many in each part, give or take one, and dealt by chance: no order of
    pictures tells them.
    """
    places = [(part, place % classes) for part, count in parts.items() for place in range(count)]
    return [places[at] for at in numbers.permutation(len(places))]
