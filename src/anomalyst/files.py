"""Files are written whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anomalyst.errors import AnomalystError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; renamed onto it if the block ends well, removed if not.

    Raises AnomalystError when the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".part-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes private files; what we leave behind follows the user's umask instead.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except OSError as error:
        raise AnomalystError(_sentence(path, error)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes whole or not at all."""
    with written_whole(path) as part:
        part.write_bytes(data)


def _sentence(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: the disk is full, nothing was written; free some space and run again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: this folder may not be written; choose another with --out."
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{path}: a file is in the way of this folder; choose another place."
    return f"{path}: cannot be written ({error.strerror or error})."
