"""Files that are damaged in thousands of ways are read or refused in one sentence, never more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mutated_pictures import examine, made, whole_files

SCRIPT = Path(__file__).parent / "mutated_pictures.py"
FIXED = [23, 581, 822, 1142, 5969, 70684]  # seeds that once ended in a traceback or a crash


def read_in_its_own_process(tmp_path: Path, first: int, count: int, limit_s: int) -> dict:
    """A crash of a decoder ends that process, and its seed is told."""
    seed = tmp_path / "seed"
    words = [sys.executable, str(SCRIPT), str(first), str(count), str(seed)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        pytest.fail(f"hangs at seed {seed.read_text()}")
    assert done.returncode == 0, f"ended at seed {seed.read_text()}: {done.stderr[-2000:]}"
    return json.loads(done.stdout.splitlines()[-1])


def check(found: dict) -> None:
    assert not found["failures"], found["failures"][:3]
    assert found["slowest_seconds"] < 10, f"seed {found['slowest_seed']}"
    assert not found["left"], "what was refused is not kept"


def test_whole_files_of_each_kind_are_known_and_a_seed_is_a_file():
    assert made(11) == made(11) and len(whole_files()) > 30
    assert {made(seed)[0].rpartition(".")[2] for seed in range(200)} == {
        "png", "jpg", "gif", "bmp", "webp", "tif",
    }  # fmt: skip


def test_damaged_pictures_are_read_or_refused(tmp_path):
    found = read_in_its_own_process(tmp_path, 0, 300, 600)
    check(found)
    assert found["read"] > 30 and found["refused"] > 100


def test_files_that_once_failed():
    check(examine(iter(FIXED)))


@pytest.mark.slow
def test_ten_thousand_damaged_pictures_in_flat_memory(tmp_path):
    found = read_in_its_own_process(tmp_path, 1000, 10_000, 7200)
    print({key: value for key, value in found.items() if key != "failures"})
    check(found)
    assert found["rss_end_mb"] < found["rss_begin_mb"] + 150
