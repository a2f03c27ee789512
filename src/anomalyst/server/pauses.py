"""How long is waited between tries of what may pass: doubled each time, up to a longest pause."""


def pause_after(tries: int, first: float, longest: float) -> float:
    """Seconds from a try, counted from 1, to the next."""
    return min(longest, first * 2 ** min(tries - 1, 10))
