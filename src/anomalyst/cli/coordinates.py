"""Places in pixels as they are written in a command: `--point 120,80`."""

import math

from anomalyst.errors import AnomalystError


def numbers(option: str, text: str, count: int) -> list[float]:
    """The numbers of `text`, commas between. Raises AnomalystError for another count of them."""
    try:
        values = [float(one) for one in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        example = ",".join(("102", "88", "912", "95")[:count])
        raise AnomalystError(
            f"{option} {text!r}: {count} numbers in pixels, with commas between, are needed, as "
            f"{example}."
        )
    return values
