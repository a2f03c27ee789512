"""Categories of unequal size: how often each is drawn, and how much its pictures weigh."""

from collections.abc import Mapping
from typing import Literal

from anomalyst.errors import AnomalystError

Sampling = Literal["by_picture", "uniform", "inverse"]


def drawing_shares(counts: Mapping[str, int], sampling: Sampling) -> list[float]:
    """The probability of each category, in order; `counts`: its good training pictures.

    by_picture: every picture alike; uniform: every category alike; inverse: 1 / its pictures.
    """
    power = {"by_picture": 1, "uniform": 0, "inverse": -1}[sampling]
    raised = [float(count) ** power for count in counts.values()]
    return [value / sum(raised) for value in raised]


def inverse_frequency_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """w_y = N / (C n_y) of N pictures in C categories: its mean over the pictures is 1."""
    pictures = sum(counts.values())
    return {name: pictures / (len(counts) * count) for name, count in counts.items()}


def refuse_single_pictures(counts: Mapping[str, int], sampling: Sampling) -> None:
    """AnomalystError for inverse sampling of a category with one picture, drawn again and again."""
    if sampling != "inverse" or len(counts) < 2:
        return
    for (name, count), share in zip(counts.items(), drawing_shares(counts, sampling), strict=True):
        if count == 1:
            raise AnomalystError(
                f"sampling: inverse: category {name!r} has one good picture, which would be "
                f"{100 * share:.0f} % of all that is trained on; give it more pictures, leave it "
                "out of data, or say sampling: uniform."
            )
