"""What may judge a recording, by name; without torch, for whoever only asks."""

from typing import Literal

from anomalyst.detection.series.config import METHOD_NAMES

MEMORY: Literal["memory"] = "memory"
JUDGES: tuple[str, ...] = (MEMORY, *METHOD_NAMES)
