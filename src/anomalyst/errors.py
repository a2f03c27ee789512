"""The error family: everything a user can mend. Exit code 2 on the command line."""

from pathlib import Path


class AnomalystError(Exception):
    """Wrong use or bad input, told in one sentence: which thing, what it is, what is needed."""


class PictureError(AnomalystError):
    """A picture or mask that cannot be used; a batch lists it and goes on."""

    def __init__(self, path: Path | str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["PictureError"], tuple[Path, str]]:
        """It crosses between processes by what it was made of."""
        return type(self), (self.path, self.reason)


class RecordingError(PictureError):
    """A recording of another sense that cannot be used; listed as a picture would be."""
