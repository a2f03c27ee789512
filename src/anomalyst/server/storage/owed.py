"""Writes that cannot be given up: made once the database takes them."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from anomalyst.server.pauses import pause_after
from anomalyst.server.storage.database import is_outage

log = logging.getLogger(__name__)
Kept = TypeVar("Kept")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between tries


def patiently(
    work: Callable[[], Kept],
    closing: threading.Event,
    first: float = FIRST_PAUSE,
    longest: float = LONGEST_PAUSE,
) -> Kept:
    """What it gives, once the database takes it. Raises SQLAlchemyError if we close meanwhile."""
    for tries in count(1):
        try:
            return work()
        except SQLAlchemyError as error:
            if not is_outage(error):
                raise
            pause = pause_after(tries, first, longest)
            log.error("the database takes nothing (%s); tried again in %g s", error, pause)
            if closing.wait(pause):
                raise
    raise AssertionError("the tries never end")


class Owed:
    """What nobody waits for: written in the order it came, in a thread of its own."""

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="owed")

    def write(self, work: Callable[[], object], what: str) -> None:
        """Have it written; `what` it is, for the log."""
        try:
            self._writer.submit(self._written, work, what)
        except RuntimeError:
            log.warning("%s could not be written: the server closes", what)

    def close(self) -> None:
        """Write what the database takes at once; the rest is told."""
        self._closing.set()
        self._writer.shutdown(wait=True)

    def _written(self, work: Callable[[], object], what: str) -> None:
        try:
            patiently(work, self._closing)
        except Exception as error:
            log.warning("%s could not be written (%s)", what, error)
