"""Where pictures come from: what all sources do, and a folder that fills.

Cameras are in cameras.py, growing tables in growing.py, MQTT topics in topics.py.
"""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.io.listing import list_files
from anomalyst.io.pictures import PICTURE_SUFFIXES
from anomalyst.io.whole_files import ends_whole

log = logging.getLogger(__name__)
QUIET_SECONDS = 0.5  # a file that did not change for so long is whole
PROMPT_SECONDS = 0.05  # between looks at a folder of a line with a deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A picture that has come."""

    name: str
    mark: str  # of the same picture again: the same
    open: Callable[[], Any]  # its bytes, as a file
    came_at: float | None = field(default_factory=time.monotonic)  # None: before the watch began


class Source(ABC):
    """Gives pictures as they come."""

    poll_seconds = 0.0  # to wait before it is asked again, when nothing has come
    dropped = 0  # frames or messages that were passed over
    dropped_are = "files"  # what it counts
    waiting = 0  # samples that have come and are in no window yet
    how = ""  # it is cut, in words

    def begin(self) -> None:  # noqa: B027  most sources have nothing to note
        """What is there now came before the watch; what comes from now on is a part of its line."""

    @abstractmethod
    def new(self) -> Iterator[Taken]:
        """Those that have come since; those that are there already come at first."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""


class Folder(Source):
    """Every whole file of a sense in a folder, the oldest first; a changed one counts anew.

    `prompt`: for lines with a deadline. It is looked at twenty times a second, and a file that ends
    as its kind ends is whole at once; others when they were not written to for half a second.
    """

    poll_seconds = 0.3

    def __init__(
        self, folder: Path, suffixes: frozenset[str] = PICTURE_SUFFIXES, *, prompt: bool = False
    ):
        self.folder, self.suffixes, self.prompt = folder, suffixes, prompt
        self._seen: dict[str, str] = {}  # name -> mark of what was given
        self._came: dict[str, float | None] | None = None  # name -> when it was first there
        self._anew: dict[str, float] = {}  # name -> when it was first seen to have changed
        self._looked = 0, 0.0  # the folder's time when it was listed, and when that was
        self._away, self._noted_at = False, time.monotonic()
        if prompt:
            self.poll_seconds = PROMPT_SECONDS
        list_files(folder, suffixes)  # AnomalystError if there is no such folder

    def begin(self) -> None:
        """Note what is there, before the line hears that parts are judged."""
        self._note(self._listed())

    def new(self) -> Iterator[Taken]:
        """Files that have come and are no longer written to."""
        if self.prompt and self._nothing_new():
            return
        found, listed = [], self._listed()
        names = {path.name for path in listed}
        # What has gone, as on a share that is away, comes anew when it is back.
        self._seen = {name: mark for name, mark in self._seen.items() if name in names}
        self._note(listed)
        open_ = False
        for path in listed:
            try:
                state = path.stat()
            except OSError:  # gone, or the share is: it is looked at again
                continue
            mark = f"{path.name}|{state.st_size}|{state.st_mtime_ns}"
            if self._seen.get(path.name) == mark:
                continue
            if path.name in self._seen:
                self._anew.setdefault(path.name, time.monotonic())
            quiet = time.time() - state.st_mtime > QUIET_SECONDS
            if quiet or (self.prompt and ends_whole(path)):
                found.append((state.st_mtime_ns, path, mark))
            else:
                open_ = True
        if open_:
            self._looked = 0, 0.0
        for _, path, mark in sorted(found):
            came_at = self._anew.pop(path.name, None) or (self._came or {}).get(path.name)
            yield Taken(name=path.name, mark=mark, open=partial(path.open, "rb"), came_at=came_at)
            self._seen[path.name] = mark

    def _nothing_new(self) -> bool:
        """Whether no file came or went since it was listed; all are looked at twice a second."""
        now = time.monotonic()
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError:
            changed = 0
        if changed == self._looked[0] and now - self._looked[1] < QUIET_SECONDS:
            return True
        self._looked = changed, now
        return False

    def _note(self, listed: list[Path]) -> None:
        """When each file was first there; those of the first look came before."""
        now, before, known = time.monotonic(), self._noted_at, self._came
        self._noted_at = now
        if known is None:
            self._came = {path.name: None for path in listed}
            return
        self._came = {
            path.name: known[path.name] if path.name in known else _came_at(path, before, now)
            for path in listed
        }

    def _listed(self) -> list[Path]:
        """Its files; none while the folder is away, as a network share may be."""
        try:
            found = list_files(self.folder, self.suffixes)
        except (AnomalystError, OSError) as error:
            if not self._away:
                log.warning("%s; it is looked at again", str(error).rstrip("."))
            self._away = True
            return []
        if self._away:
            log.info("%s is there again", self.folder)
        self._away = False
        return found

    def close(self) -> None:
        """Nothing is held."""


def _came_at(path: Path, before: float, now: float) -> float:
    """When a file came that was not there `before`: by its own time, which may be another clock's.

    While a watch waits for a place or a database nobody looks, and the part goes on all the same.
    """
    try:
        age = time.time() - path.stat().st_mtime
    except OSError:
        age = 0.0
    return min(now, max(before, now - age))
