"""Files are written whole or not at all."""

import csv
import ctypes
import errno
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from anomalyst.errors import AnomalystError

PART = ".part-"  # begins the names of what is not whole yet
AT_CURRENT_FOLDER, EXCHANGE = -100, 2  # <fcntl.h> and <linux/fs.h>


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; renamed onto it if the block ends well, removed if not.

    Raises AnomalystError when the disk is full or the folder cannot be written.
    """
    temporary: Path | None = None
    with disk_told(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=PART, suffix=path.suffix, dir=path.parent)
            os.close(handle)
            temporary = Path(name)
            yield temporary
            # mkstemp makes private files; what we leave behind follows the user's umask instead.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            temporary.replace(path)
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(path: Path) -> Iterator[Path]:
    """A new folder beside `path`; takes its place if the block ends well, is removed if not.

    Raises AnomalystError when the disk is full or the folder cannot be written.
    """
    part = path.with_name(f"{PART}{path.name}")
    with disk_told(path):
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            yield part
            replace_folder(part, path)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def replace_folder(part: Path, path: Path) -> None:
    """Put the folder `part` in the place of `path`, whatever ends the process meanwhile.

    Where the system can exchange two names in one step, there is a whole folder at every moment;
    elsewhere the old one lies beside it, as `.old-NAME`, for the moment between two renames.
    """
    old = path.with_name(f".old-{path.name}")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        if exchanged(part, path):
            part.rename(old)
        else:
            path.rename(old)
            part.rename(path)
    else:
        part.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def exchanged(one: Path, other: Path) -> bool:
    """Whether the two names now mean each other's folder: Linux, on most of its file systems."""
    try:
        rename = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here = ctypes.c_int(AT_CURRENT_FOLDER)
    names = os.fsencode(one.absolute()), os.fsencode(other.absolute())
    return bool(rename(here, names[0], here, names[1], ctypes.c_uint(EXCHANGE)) == 0)


def make_folder(path: Path) -> Path:
    """The folder, made if it is not there. Raises AnomalystError if it cannot be."""
    with disk_told(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes whole or not at all."""
    with written_whole(path) as part:
        part.write_bytes(data)


def plain_cell(value: str) -> str:
    """A cell of a table that no spreadsheet takes for a formula."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a table whole or not at all; its columns are those that any row has."""
    text = io.StringIO()
    columns = dict.fromkeys(column for row in rows for column in row)
    table = csv.DictWriter(text, list(columns), lineterminator="\n", restval="")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())


@contextmanager
def disk_told(path: Path) -> Iterator[None]:
    """What the disk refuses, as a sentence."""
    try:
        yield
    except OSError as error:
        raise AnomalystError(_sentence(path, error)) from error
    except Exception as error:
        if os.strerror(errno.ENOSPC) in str(error):  # safetensors has an error of its own for it
            raise AnomalystError(_sentence(path, OSError(errno.ENOSPC, ""))) from error
        raise


def _sentence(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: the disk is full, nothing was written; free some space and run again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path}: this folder may not be written; choose another with --out."
    if isinstance(error, FileExistsError | NotADirectoryError):
        return f"{path}: a file is in the way of this folder; choose another place."
    return f"{path}: cannot be written ({error.strerror or error})."
