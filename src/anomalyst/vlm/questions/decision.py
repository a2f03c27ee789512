"""What is decided of a yes/no question."""

from dataclasses import dataclass

_SIGNS = {">": int.__gt__, "<": int.__lt__, ">=": int.__ge__, "<=": int.__le__, "==": int.__eq__}


@dataclass(frozen=True, slots=True)
class Decision:
    """How a yes/no question is answered, raw."""

    whole: str  # begins with Yes or No
    begins: str = ""  # how far the model is held to it; empty: it is not asked
    regions: tuple[int, ...] | None = None  # the ones that it may speak of; None: all


def compare(count: int, asked: tuple[str, int]) -> bool:
    """Whether a count is what is asked: (">=", 2)."""
    sign, limit = asked
    return _SIGNS[sign](count, limit)
