"""Pictures by their content: the same bytes are kept once, and a name never means another file."""

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.files import disk_told
from anomalyst.io.pictures import picture_kind
from anomalyst.senses.sense import SUFFIXES

CHUNK = 1 << 20


class Pictures:
    """A folder of files called by the SHA-256 of what they hold: `ab/ab12....png`."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, name: str) -> Path:
        """Where the file of a name lies."""
        return self.folder / name[:2] / name

    def take(self, stream: IO[bytes], shown_name: str, sense: str = "image") -> str:
        """Keep a picture, or a file of another sense, that somebody sent; returns its name.

        What is no photograph is known by its name's ending, and read when it is inspected. Raises
        PictureError, with the sender's name for it, if it is none that can be used.
        """
        if sense == "image":
            return self._kept(stream, lambda part: picture_kind(part, shown_name))
        suffix = Path(shown_name).suffix.lower()
        if suffix not in SUFFIXES[sense]:
            known = ", ".join(sorted(SUFFIXES[sense]))
            raise PictureError(shown_name, f"is no {sense} file by its name; {known} are read.")
        return self._kept(stream, lambda _: suffix)

    def keep(self, data: bytes, suffix: str) -> str:
        """Keep bytes that we made; returns their name."""
        return self._kept(io.BytesIO(data), lambda _: suffix)

    def names(self) -> Iterator[str]:
        """All files kept."""
        yield from (path.name for path in sorted(self.folder.glob("??/*")))

    def forget(self, name: str) -> None:
        """Delete a file, if it is there."""
        self.path(name).unlink(missing_ok=True)

    def _kept(self, stream: IO[bytes], suffix_of: Callable[[Path], str]) -> str:
        part, digest = self._received(stream)
        try:
            name = f"{digest}{suffix_of(part)}"
            target = self.path(name)
            with disk_told(target):
                if not target.exists():
                    target.parent.mkdir(exist_ok=True)
                    part.replace(target)
            return name
        finally:
            part.unlink(missing_ok=True)

    def _received(self, stream: IO[bytes]) -> tuple[Path, str]:
        digest = hashlib.sha256()
        with disk_told(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".part-", dir=self.folder)
            with os.fdopen(handle, "wb") as part:
                while chunk := stream.read(CHUNK):
                    digest.update(chunk)
                    part.write(chunk)
                part.flush()
                os.fsync(part.fileno())
        return Path(name), digest.hexdigest()

    def __contains__(self, name: str) -> bool:
        return self.path(name).exists()

    def existing(self, name: str) -> Path:
        """Where a file lies; AnomalystError if it is gone."""
        if name not in self:
            raise AnomalystError(f"picture {name[:12]}...: is no longer kept.")
        return self.path(name)
