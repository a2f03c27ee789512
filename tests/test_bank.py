import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anomalyst.detection.memory_bank import (
    MemoryBank,
    fuse,
    greedy_coreset,
)
from anomalyst.errors import AnomalystError
from anomalyst.types import Features


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small products gain nothing from threads, and lose much where another program runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random_features(batch: int, *shapes: tuple[int, int, int], seed: int = 0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    levels = [torch.randn(batch, *shape, generator=generator) for shape in shapes]
    return Features(levels, torch.randn(batch, 4, generator=generator))


def slow_distances(query: Tensor, good: Tensor) -> Tensor:
    """Patch by patch, as the definition reads."""
    rows = good.permute(0, 2, 3, 1).reshape(-1, good.shape[1])
    found = torch.empty(query.shape[0], *query.shape[2:])
    for b, y, x in np.ndindex(*found.shape):
        patch = query[b, :, y, x]
        found[b, y, x] = min(1 - F.cosine_similarity(patch, row, dim=0) for row in rows)
    return found


class Allocations(TorchDispatchMode):
    """The largest tensor made inside the block, in bytes; views of older tensors are free."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = {t.untyped_storage().data_ptr() for t in tree_leaves(args) if torch.is_tensor(t)}
        out = func(*args, **(kwargs or {}))
        for made in tree_leaves(out):
            if torch.is_tensor(made) and made.untyped_storage().data_ptr() not in known:
                self.largest = max(self.largest, made.untyped_storage().nbytes())
        return out


def test_distances_are_those_of_the_definition_at_every_level() -> None:
    good = random_features(3, (5, 4, 3), (7, 2, 2))
    query = random_features(2, (5, 4, 3), (7, 2, 2), seed=1)
    found = MemoryBank.build(good).distances(query)
    for one, ours, theirs in zip(found, query.levels, good.levels, strict=True):
        assert torch.allclose(one, slow_distances(ours, theirs), atol=1e-6)


def test_a_taught_patch_is_at_0_and_its_opposite_at_2_whatever_their_length() -> None:
    level = torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1)
    bank = MemoryBank.build(Features([level], torch.zeros(1, 1)))
    query = torch.cat([level * 100, -level, torch.tensor([[-4.0], [3.0]]).reshape(1, 2, 1, 1)], 3)
    (found,) = bank.distances(Features([query], torch.zeros(1, 1)))
    assert found.flatten().tolist() == pytest.approx([0.0, 2.0, 1.0], abs=1e-6)


def test_map_does_not_depend_on_reference_order_block_size_or_batch() -> None:
    good = random_features(6, (16, 32, 32))
    query = random_features(3, (16, 32, 32), seed=1)
    (expected,) = MemoryBank.build(good).distances(query)
    (turned,) = MemoryBank.build(good.rows([4, 2, 0, 5, 3, 1])).distances(query)
    (blocks,) = MemoryBank.build(good).distances(query, max_mb=1)
    (alone,) = MemoryBank.build(good).distances(query.rows([2]))
    for other in (turned, blocks):
        assert torch.allclose(other, expected, atol=1e-6)
    assert torch.allclose(alone[0], expected[2], atol=1e-6)


@pytest.mark.parametrize("max_mb", [1, 4])
def test_no_temporary_exceeds_the_memory_allowed(max_mb: int) -> None:
    # 2 x 4096 queries by 32768 rows would be a gigabyte at once.
    good, query = random_features(8, (8, 64, 64)), random_features(2, (8, 64, 64), seed=1)
    bank = MemoryBank.build(good)
    with Allocations() as made:
        (found,) = bank.distances(query, max_mb=max_mb)
    assert found.shape == (2, 64, 64)
    assert 0.5 * max_mb * 2**20 < made.largest <= max_mb * 2**20


def test_faiss_finds_the_same_or_says_how_to_get_it() -> None:
    good, query = random_features(2, (8, 6, 6)), random_features(2, (8, 6, 6), seed=1)
    try:
        import faiss  # noqa: F401
    except ImportError:
        with pytest.raises(AnomalystError, match="not installed; run `pip install faiss-cpu`, or"):
            MemoryBank.build(good, search="faiss")
        return
    (exact,) = MemoryBank.build(good).distances(query)
    (found,) = MemoryBank.build(good, search="faiss").distances(query)
    assert torch.allclose(found, exact, atol=1e-5)


def test_an_extended_bank_is_the_bank_of_all_pictures() -> None:
    good, query = random_features(3, (6, 5, 5)), random_features(1, (6, 5, 5), seed=1)
    grown = MemoryBank.build(good.rows([0])).extended_with(good.rows([1, 2]))
    assert torch.allclose(grown.levels[0], MemoryBank.build(good).levels[0], atol=1e-6)
    one = MemoryBank.build(good.rows([0])).distances(query)[0]
    assert (grown.distances(query)[0] <= one + 1e-6).all()


def test_a_bank_survives_save_and_load() -> None:
    bank = MemoryBank.build(random_features(2, *[(3, 2, 2)] * 11))
    again = MemoryBank.from_state(bank.state())
    assert all(torch.equal(a, b) for a, b in zip(again.levels, bank.levels, strict=True))
    with pytest.raises(AnomalystError, match="level0, level1, ... are needed"):
        MemoryBank.from_state({"level1": torch.zeros(1, 1)})


def test_features_of_another_encoder_are_refused() -> None:
    bank = MemoryBank.build(random_features(1, (6, 2, 2)))
    with pytest.raises(AnomalystError, match=r"widths \[6\], the picture's have \[4\]; use the"):
        bank.distances(random_features(1, (4, 2, 2)))
    with pytest.raises(AnomalystError, match="coreset is 0.0; a share above 0"):
        MemoryBank.build(random_features(1, (6, 2, 2)), coreset=0.0)


def test_a_coreset_is_the_plain_farthest_point_choice() -> None:
    rows = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    chosen = greedy_coreset(rows, 20)
    expected = [int(chosen[0])]
    for _ in range(19):
        expected.append(int(torch.cdist(rows, rows[expected]).amin(1).argmax()))
    assert chosen.tolist() == expected


def test_a_coreset_takes_each_cluster_once_and_no_row_twice() -> None:
    centres = F.normalize(torch.randn(10, 300, generator=torch.Generator().manual_seed(0)), dim=1)
    rows = centres.repeat_interleave(30, 0) + 1e-4 * torch.randn(300, 300)
    assert sorted((greedy_coreset(rows, 10, seed=3) // 30).tolist()) == list(range(10))
    same = greedy_coreset(torch.ones(50, 4), 50)
    assert sorted(same.tolist()) == list(range(50))
    bank = MemoryBank.build(random_features(2, (8, 10, 10)), coreset=0.1, seed=1)
    assert bank.levels[0].shape == (20, 8)


def test_choosing_a_coreset_of_20000_rows_takes_little_memory() -> None:
    # A process of its own, so that no earlier test has already raised the peak. All pairs of rows
    # would take 1.6 GB, all differences to one centre 20 MB each; the rows themselves take 41 MB.
    code = """
import resource, torch
from anomalyst.detection.memory_bank import greedy_coreset
torch.set_num_threads(1)
rows = torch.randn(20000, 512)
greedy_coreset(rows[:500], 10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
greedy_coreset(rows, 400)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kilobytes = int(ran.stdout)
    assert kilobytes < 40_000  # the projection is 10 MB


def test_levels_are_fused_by_their_mean_after_bilinear_growth() -> None:
    coarse = torch.tensor([[[0.0, 1.0]]])  # (1, 1, 2)
    flat = torch.full((1, 2, 4), 0.5)
    fused = fuse([coarse, flat], (2, 4))
    assert fused.shape == (1, 2, 4)
    # Centres of the fine cells lie at 0, 1/4, 3/4 and 1 of the way between the coarse ones.
    assert fused[0, 0].tolist() == pytest.approx([0.25, 0.375, 0.625, 0.75])
