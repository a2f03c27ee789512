"""A name that nobody knows is answered with the nearest one that is known."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

from anomalyst.errors import AnomalystError

T = TypeVar("T")


def named(known: Mapping[str, T], name: str, kind: str) -> T:
    """What `name` stands for in `known`; AnomalystError names the nearest, and all there are."""
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
    raise AnomalystError(
        f"{kind} is {name!r}; one of {', '.join(known)} is needed, perhaps {near!r}."
    )
