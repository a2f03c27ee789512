"""Commands of ours that run in processes of their own: trainings and watches outlive the server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from anomalyst.io.files import make_folder, write_text

JOB, CONSOLE = "job.json", "console.log"
TAIL = 4000  # bytes of its last words


def start_child(arguments: Sequence[str], folder: Path, **about: Any) -> None:
    """Run `anomalyst ARGUMENTS`; what it says goes into `folder`, with what is told about it."""
    make_folder(folder)
    command = [sys.executable, "-m", "anomalyst", *arguments]
    with (folder / CONSOLE).open("ab") as console:
        child = subprocess.Popen(
            command, stdout=console, stderr=console, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    job = {"pid": child.pid, "started": _started(child.pid), **about}
    write_text(folder / JOB, json.dumps(job, indent=2) + "\n")


def is_running(folder: Path) -> bool:
    """Whether the command that was started in a folder still runs."""
    job = job_of(folder)
    return bool(job) and _started(job.get("pid", 0)) == job.get("started") is not None


def stop_child(folder: Path) -> None:
    """Ask it to end."""
    os.kill(job_of(folder)["pid"], signal.SIGTERM)


def job_of(folder: Path) -> dict[str, Any]:
    """What was told about the command; empty if none was started here."""
    return read_json(folder / JOB)


def read_json(path: Path) -> dict[str, Any]:
    """An object that a process wrote; empty if there is none, or none yet."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def last_words(folder: Path) -> str:
    """The end of what it said."""
    return tail(folder / CONSOLE, TAIL)


def tail(path: Path, most: int) -> str:
    """At most the last `most` bytes of a text file; empty if there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - most))
        return file.read().decode("utf-8", "replace")


def _started(pid: int) -> str | None:
    """When a process began, so that another of the same number is not taken for it."""
    try:
        process = psutil.Process(pid)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return None if gone else f"{process.create_time():.2f}"
    except (psutil.Error, ValueError):
        return None
