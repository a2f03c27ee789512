"""All threads while alone, one beside another busy program."""

import subprocess
import sys
import time

import pytest
import torch

from anomalyst.evaluation.benchmarks.concurrent import bench_concurrent
from anomalyst.hardware.threads import LEAST_S, WAITS, RoomForThreads
from conftest import DEMO


@pytest.fixture(autouse=True)
def two_threads():
    """As on a machine of two cores, whatever this one has."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def used(room: RoomForThreads) -> int:
    """How many threads the next piece of work has."""
    with room():
        return torch.get_num_threads()


def test_alone_every_piece_of_work_has_all_threads():
    room = RoomForThreads()
    for _ in range(50):
        assert used(room) == 2
        room.went(2, 1.0, 0.95)


def test_work_that_was_not_let_compute_is_followed_by_work_on_one_thread():
    room = RoomForThreads()
    assert used(room) == 2
    room.went(2, 1.0, 0.5)
    assert [used(room) for _ in range(WAITS[0] + 1)] == [1] * WAITS[0] + [2]
    room.went(2, 1.0, 0.5)  # still crowded: twice as long until the next try
    assert [used(room) for _ in range(2 * WAITS[0] + 1)] == [1] * 2 * WAITS[0] + [2]
    room.went(2, 1.0, 1.0)
    assert used(room) == 2 and room.wait == WAITS[0]


def test_what_is_too_short_to_say_anything_adds_up():
    room = RoomForThreads()
    used(room)
    room.wall_s = room.own_s = 0.0
    for _ in range(3):
        room.went(2, LEAST_S / 4, 0.0)
        assert room.left == 0
    room.went(2, LEAST_S / 4, 0.0)
    assert room.left == WAITS[0]


def test_torch_has_its_threads_back_after_work_that_fails():
    room = RoomForThreads()
    room.all, room.left = 2, 5
    with pytest.raises(ZeroDivisionError), room():
        raise ZeroDivisionError
    assert torch.get_num_threads() == 2


def test_a_thread_that_waits_was_not_let_compute():
    room = RoomForThreads()
    with room():
        time.sleep(LEAST_S * 1.2)  # as if another program had the core
    assert room.left == WAITS[0]


def test_jobs_beside_each_other_end():
    good = sorted((DEMO / "flange" / "good").glob("*.jpg"))[:2]
    alone_s, together_s = bench_concurrent(good[:1], good, rounds=1, before=["--threads", "1"])
    assert alone_s > 0 and together_s > 0
    told = subprocess.run(
        [sys.executable, "-m", "anomalyst", "bench", "beside", "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "anomalyst bench beside --jobs 2" in told.stdout
