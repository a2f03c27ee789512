"""A disk that is full at each write of one inspection: a sentence, and nothing half-written."""

import ctypes
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from anomalyst.cli.batch import Outcome, _take, _writers
from anomalyst.errors import AnomalystError
from anomalyst.io.pictures import open_picture
from anomalyst.product import Product
from conftest import DEMO
from killing import visible

GOOD = sorted((DEMO / "flange" / "good").glob("*.jpg"))[:2]
NEW = sorted((DEMO / "flange" / "test").glob("*.jpg"))[:2]
PAGE = 4096  # bytes in which such a file system counts
LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def small_disk(folder: Path, bytes_: int) -> Iterator[Path]:
    """A file system of so many bytes on `folder`; skips the test where none may be made."""
    folder.mkdir(exist_ok=True)
    said = f"size={bytes_}".encode()
    if LIBC.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, said) != 0:
        pytest.skip(f"may not mount a small file system ({os.strerror(ctypes.get_errno())})")
    try:
        yield folder
    finally:
        LIBC.umount2(os.fsencode(folder), 2)


@pytest.fixture(scope="module")
def flange(inspector):
    return inspector.teach("flange", GOOD, adapted=False)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")
def test_an_inspection_on_a_disk_that_fills_up(inspector, flange, tmp_path):
    results = list(inspector.inspect_many(NEW, flange))
    whole = _written(inspector, flange, results, tmp_path / "whole")
    needed = sum(p.stat().st_size + PAGE for p in whole)
    refused, sizes = 0, range(2 * PAGE, 3 * needed, max(needed // 24, PAGE))
    for size in sizes:
        with small_disk(tmp_path / "small", size) as disk:
            try:
                found = _written(inspector, flange, results, disk / "out")
            except AnomalystError as error:
                refused += 1
                assert "the disk is full" in str(error) and "\n" not in str(error)
                _check(disk / "out")
                continue
            assert [p.name for p in found] == [p.name for p in whole]
            break
    else:
        raise AssertionError(f"{size} bytes are not enough, where {needed} are written")
    assert refused > 8
    print(f"inspection: {refused} disks were full")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root may mount")
def test_a_product_on_a_disk_that_fills_up(flange, tmp_path):
    flange.description = "old"
    flange.save(tmp_path / "whole" / "flange")
    needed = sum(p.stat().st_size + PAGE for p in visible(tmp_path / "whole"))
    flange.description, refused = "new", 0
    for size in range(needed + 8 * PAGE, 4 * needed, needed // 8):
        with small_disk(tmp_path / "small", size) as disk:
            shutil.copytree(tmp_path / "whole" / "flange", disk / "flange")
            try:
                flange.save(disk / "flange")
            except AnomalystError as error:
                refused += 1
                assert "full" in str(error) or "No space" in str(error)
                assert Product.load(disk / "flange").description == "old"
                continue
            assert Product.load(disk / "flange").description == "new"
            break
    assert refused > 3
    print(f"product: {refused} disks were full")


def _written(inspector, flange, results, out: Path) -> list[Path]:
    with ExitStack() as stack:
        writers = _writers(inspector, [(flange, NEW)], out, stack)
        for one in results:
            _take(one, Outcome(), writers, as_json=False)
    return visible(out)


def _check(out: Path) -> None:
    for path in visible(out) if out.exists() else ():
        if path.suffix == ".json":
            assert json.loads(path.read_text())["verdict"]
        elif path.suffix == ".png":
            open_picture(path)
        else:
            assert path.read_text().rstrip().endswith("</html>")
