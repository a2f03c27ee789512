"""Work that is killed, as by kill -9, before each of its steps on the disk or in the database."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
from sqlalchemy import Engine, event

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
STEPS = frozenset(
    {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.chmod",
     "shutil.copyfile", "shutil.rmtree", "sqlite3.connect", "ctypes.dlsym"}
)  # fmt: skip
LONGEST_S = 120


def killed_at_each_step(work: Callable[[], object], stride: int = 1) -> Iterator[int]:
    """Yields the step before which the work was killed, until it ends by itself.

    Each time in a fork of this process, so everything that takes long is done before.
    """
    step = 1
    while _killed_before(step, work):
        yield step
        step += stride


def _killed_before(step: int, work: Callable[[], object]) -> bool:
    child = os.fork()
    if child == 0:
        _work(step, work)
    until = time.monotonic() + LONGEST_S
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"hangs when it is to be killed before step {step}")
        time.sleep(0.005)
    if os.WIFSIGNALED(ended[1]):
        assert os.WTERMSIG(ended[1]) == signal.SIGKILL, f"step {step}: {ended[1]}"
        return True
    assert os.WEXITSTATUS(ended[1]) == 0, f"step {step}: the work itself failed"
    return False


def _work(step: int, work: Callable[[], object]) -> None:
    """In the fork: never returns."""
    left = step

    def one_step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def seen(name: str, details: tuple[object, ...]) -> None:
        opened = name == "open" and isinstance(details[2], int) and details[2] & WRITES
        if name in STEPS or opened:
            one_step()

    code = 9
    try:
        cv2.setNumThreads(0)  # a fork has no other threads, and would wait for them
        sys.addaudithook(seen)
        event.listen(Engine, "before_cursor_execute", lambda *_: one_step())
        event.listen(Engine, "commit", lambda *_: one_step())
        work()
        code = 0
    except BaseException as error:
        print(repr(error), file=sys.stderr)
    finally:
        os._exit(code)


def visible(folder: Path) -> list[Path]:
    """Files in and below a folder but for hidden ones, and those in hidden folders."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [p for p in found if not any(n.startswith(".") for n in p.relative_to(folder).parts)]
