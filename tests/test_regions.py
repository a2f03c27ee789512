import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from anomalyst.detection.regions import find_regions
from anomalyst.types import Region, place_of

maps = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    elements=st.floats(0, 1, width=32),
)


def by_brute_force(values: np.ndarray, threshold: float, min_area_px: int) -> list[Region]:
    labels, count = ndimage.label(values >= threshold, np.ones((3, 3)))
    found = []
    for label in range(1, count + 1):
        cells = [(int(y), int(x)) for y, x in np.argwhere(labels == label)]
        if len(cells) < min_area_px:
            continue
        ys, xs = [c[0] for c in cells], [c[1] for c in cells]
        weights = [float(values[c]) for c in cells]
        if sum(weights) == 0:
            weights = [1.0] * len(cells)
        centre = (
            sum(w * (x + 0.5) for w, x in zip(weights, xs, strict=True)) / sum(weights),
            sum(w * (y + 0.5) for w, y in zip(weights, ys, strict=True)) / sum(weights),
        )
        found.append(
            Region(
                box_xyxy=(min(xs), min(ys), max(xs) + 1, max(ys) + 1),
                area_px=len(cells),
                peak=max(float(values[c]) for c in cells),
                centre_xy=centre,
                place=place_of(centre, values.shape),
            )
        )
    return found


def key(region: Region) -> tuple[float, ...]:
    return (-region.peak, -region.area_px, *region.box_xyxy)


@settings(max_examples=150, deadline=None)
@given(maps, st.sampled_from([0.0, 0.25, 0.5, 0.9]), st.integers(1, 4))
def test_regions_are_those_of_a_brute_force_search(
    values: np.ndarray, threshold: float, min_area_px: int
) -> None:
    found = find_regions(values, threshold, min_area_px, limit=1000)
    expected = by_brute_force(values, threshold, min_area_px)
    assert [(-r.peak, -r.area_px) for r in found] == sorted((-r.peak, -r.area_px) for r in found)
    for one, other in zip(sorted(found, key=key), sorted(expected, key=key), strict=True):
        assert one.box_xyxy == other.box_xyxy and one.area_px == other.area_px
        assert one.peak == other.peak
        assert one.centre_xy == pytest.approx(other.centre_xy, abs=1e-9)
        assert one.place == place_of(one.centre_xy, values.shape)


def test_x_and_y_are_not_swapped() -> None:
    values = np.zeros((30, 90), np.float32)
    values[2:5, 70:80] = 0.9  # high on the right
    (region,) = find_regions(values, 0.5)
    assert region.box_xyxy == (70, 2, 80, 5)
    assert region.centre_xy == (75.0, 3.5)
    assert region.place == "upper right"


def test_two_places_give_two_boxes_and_not_their_union() -> None:
    values = np.zeros((90, 90), np.float32)
    values[5:10, 5:10] = 0.6
    values[80:85, 80:85] = 0.8
    values[40, 40] = 0.99  # too small
    found = find_regions(values, 0.5, 4)
    assert [(r.box_xyxy, r.place) for r in found] == [
        ((80, 80, 85, 85), "lower right"),
        ((5, 5, 10, 10), "upper left"),
    ]
    assert find_regions(values, 0.5, 4, limit=1) == found[:1]
    assert find_regions(values, 0.995) == ()


def test_corners_connect_and_the_centre_leans_to_the_higher_values() -> None:
    values = np.zeros((8, 8), np.float32)
    values[1, 1], values[2, 2] = 0.5, 1.0
    (region,) = find_regions(values, 0.5)
    assert region.area_px == 2 and region.peak == 1.0
    assert region.centre_xy == pytest.approx((2.5 - 1 / 3, 2.5 - 1 / 3))


def test_the_nine_places_are_named_in_reading_order() -> None:
    names = [place_of((x, y), (300, 900)) for y in (50, 150, 250) for x in (150, 450, 750)]
    assert names == [
        *("upper left", "upper centre", "upper right"),
        *("centre left", "centre", "centre right"),
        *("lower left", "lower centre", "lower right"),
    ]


def test_a_large_noisy_map_is_searched_in_a_moment() -> None:
    values = np.random.default_rng(0).random((1000, 1000)).astype(np.float32)
    found = find_regions(values, 0.9, limit=20)
    assert len(found) == 20
    assert found[0].peak == values.max()


def test_pieces_with_a_small_gap_are_one_place():
    values = np.zeros((60, 60), np.float32)
    values[10:12, 10:20] = values[10:12, 24:34] = 1  # a scratch that breaks off for 4 pixels
    values[50:53, 50:53] = 1
    apart = find_regions(values, 0.5)
    joined = find_regions(values, 0.5, join_px=6)
    assert len(apart) == 3 and len(joined) == 2
    scratch = max(joined, key=lambda r: r.area_px)
    assert scratch.box_xyxy == (10, 10, 34, 12) and scratch.area_px == 40
    assert find_regions(values, 0.5, join_px=0) == apart
