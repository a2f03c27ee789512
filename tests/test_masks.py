"""Masks as COCO packs them, against pycocotools."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as drawn

from anomalyst.errors import AnomalystError
from anomalyst.io.masks import pack_counts, packed, unpack_counts, unpacked
from anomalyst.types import Mask

reference = pytest.importorskip("pycocotools.mask")

SIZES = drawn.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn.arrays(bool, SIZES))
def test_packed_is_what_pycocotools_writes(mask: np.ndarray) -> None:
    theirs = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = packed(mask)
    assert ours.counts == theirs["counts"].decode()
    assert (unpacked(ours) == mask).all()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn.arrays(bool, (5, 7)), st.integers(0, 3), st.integers(0, 4))
def test_a_mask_of_a_box_lies_where_the_box_does(mask: np.ndarray, x: int, y: int) -> None:
    whole = np.zeros((9, 10), bool)
    whole[y : y + 5, x : x + 7] = mask
    assert packed(mask, (9, 10), (x, y, x + 7, y + 5)) == packed(whole)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.integers(0, 1 << 24), max_size=12))
def test_counts_come_back(counts: list[int]) -> None:
    assert unpack_counts(pack_counts(counts)) == counts


@pytest.mark.parametrize(
    ("counts", "said"),
    [("5", "fill"), ("\x7f", "no letter"), ("P", "middle of a number")],
)
def test_a_broken_mask_is_refused_with_its_reason(counts: str, said: str) -> None:
    with pytest.raises(AnomalystError, match=said):
        unpacked(Mask((4, 4), counts))
