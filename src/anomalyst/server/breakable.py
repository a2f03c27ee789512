"""What a server stands on, on this machine alone, so that a bench can take it away for a while."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from anomalyst.errors import AnomalystError

LOCKING = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""


class Breakable(Protocol):
    """Something that can be away."""

    def away(self) -> None:
        """Take it away, as a failure does: without a word."""

    def back(self) -> None:
        """Bring it back, with all that it had kept."""


class Postgres:
    """A PostgreSQL over a folder of its own, behind a Unix socket."""

    def __init__(self, folder: Path):
        self.folder = folder
        programs = postgres_programs()
        if programs is None:
            raise AnomalystError("PostgreSQL is not installed; `apt-get install postgresql` does.")
        own, user = folder / "postgres", []
        own.mkdir()
        if os.geteuid() == 0:  # it does not run as root
            shutil.chown(own, "postgres")
            user = ["runuser", "-u", "postgres", "--"]
        self._control = [*user, str(programs / "pg_ctl"), "-D", str(own / "data"), "-w", "-s"]
        self._options = ["-o", f"-k {own} -c listen_addresses= ", "-l", str(own / "log")]
        first = [*user, str(programs / "initdb"), "-D", str(own / "data"), "-A", "trust"]
        subprocess.run([*first, "-U", "us"], check=True, stdout=subprocess.DEVNULL)
        self.url = f"postgresql+psycopg://us@/postgres?host={own}"
        self.back()

    def away(self) -> None:
        """All its processes end at once; what was committed is on disk."""
        subprocess.run([*self._control, "-m", "immediate", "stop"], check=True)

    def stop(self) -> None:
        """End it, if it runs."""
        stopping = [*self._control, "-m", "immediate", "stop"]
        subprocess.run(stopping, check=False, stderr=subprocess.DEVNULL)

    def back(self) -> None:
        """Start it; it recovers first."""
        subprocess.run([*self._control, *self._options, "start"], check=True)


class LockedFile:
    """A SQLite file that another program locks, as a backup or a viewer may."""

    def __init__(self, path: Path):
        self.path = path
        self._holder: subprocess.Popen[str] | None = None

    def away(self) -> None:
        """Lock it; returns when it is locked."""
        command = [sys.executable, "-c", LOCKING, str(self.path)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert holder.stdout is not None
        if holder.stdout.readline().strip() != "locked":
            raise AnomalystError(f"{self.path}: could not be locked.")
        self._holder = holder

    def back(self) -> None:
        """Let go of it."""
        if self._holder is not None:
            self._holder.communicate()


def postgres_programs() -> Path | None:
    """Where the newest installed PostgreSQL has initdb and pg_ctl."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    if found:
        return found[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of our own in a new folder, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="anomalyst-pg-") as name:
        Path(name).chmod(0o711)  # the user postgres must reach it
        found = Postgres(Path(name))
        try:
            yield found
        finally:
            found.stop()


def _version(path: Path) -> float:
    number = path.parent.parent.name
    return float(number) if number.replace(".", "", 1).isdigit() else 0.0
