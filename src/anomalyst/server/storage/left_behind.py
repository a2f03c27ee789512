"""Half-written files and folders of processes that were killed: cleared away once they are old."""

import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from anomalyst.io.files import PART
from anomalyst.product_index import RECORD
from anomalyst.server.config import ServingConfig
from anomalyst.server.records.versions import VERSIONS

log = logging.getLogger(__name__)
# Another process may be writing it now; who writes does so again within seconds.
ABANDONED_SECONDS = 3600.0
OLD = ".old-"  # a product whose place another took, for a moment


def clear_left_behind(config: ServingConfig) -> int:
    """Delete what no process goes on writing, in home and products; returns how many."""
    versions = config.products / VERSIONS
    folders = [config.home, config.home / "pictures", config.products, versions]
    count = sum(clear_parts(folder) for folder in [*folders, *versions.glob("*/")])
    for old in config.products.glob(f"{OLD}*"):
        # While the new one is not there the old one may be all there is of a product.
        if (config.products / old.name.removeprefix(OLD) / RECORD).exists():
            count += _cleared(old)
    if count:
        log.info("cleared away %d half-written files of processes that were killed", count)
    return count


def clear_parts(folder: Path) -> int:
    """Delete what is half-written and abandoned in a folder; returns how many."""
    return sum(_cleared(path) for path in folder.glob(f"{PART}*"))


def _cleared(path: Path) -> bool:
    try:
        if time.time() - max(one.lstat().st_mtime for one in _all(path)) < ABANDONED_SECONDS:
            return False
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:  # somebody else renamed it, or cleared it away
        log.debug("%s stays: %s", path, error)
        return False
    return True


def _all(path: Path) -> Iterator[Path]:
    yield path
    yield from path.rglob("*")
