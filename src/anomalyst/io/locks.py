"""A file that one process at a time holds; whatever ends that process lets go of it."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from anomalyst.io.files import disk_told, make_folder

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOOK_SECONDS = 0.05


class Lock:
    """A lock on a file, between processes and between two locks of one process.

    On a shared folder it holds between machines where the share knows locks, as NFS 4 does.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file: IO[bytes] | None = None

    @property
    def held(self) -> bool:
        """Whether we hold it."""
        return self._file is not None

    def take(self) -> bool:
        """Whether it is ours now. Raises AnomalystError where no file can be written or locked."""
        if self.held:
            return True
        make_folder(self.path.parent)
        with disk_told(self.path):
            file = self.path.open("ab")
            try:
                if sys.platform == "win32":
                    msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
                else:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except (BlockingIOError, PermissionError):
                file.close()
                return False
            except BaseException:
                file.close()
                raise
        self._file = file
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @contextmanager
    def within(self, seconds: float) -> Iterator[bool]:
        """Whether it became ours in that time; let go of at the end."""
        end = time.monotonic() + seconds
        while not (ours := self.take()) and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
        try:
            yield ours
        finally:
            self.release()
