"""Two folders change places in one step, so that neither name is ever without its folder."""

import ctypes
import os
import sys
from pathlib import Path

HERE = -100  # AT_FDCWD: paths are relative to where the process is
BOTH = 2  # RENAME_EXCHANGE


def exchange(one: Path, other: Path) -> bool:
    """Let two folders of one file system change names at once.

    False, and nothing is done, where the system cannot: no Linux, or a share that does not.
    """
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    return bool(rename(HERE, os.fsencode(one), HERE, os.fsencode(other), BOTH) == 0)
