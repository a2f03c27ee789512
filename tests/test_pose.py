"""Any pose from one picture: geometry there and back, and the angle that is found."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anomalyst.detection.pose import (
    ANGLES,
    UPRIGHT,
    Circle,
    Laid,
    Pose,
    PoseConfig,
    find_poses,
    laid,
    laid_back,
    likenesses,
    moved_box,
    pose_notes,
    through_circle,
)
from anomalyst.detection.pose_correction import over_query
from anomalyst.detection.scoring import Evidence
from anomalyst.inspector import Inspector
from anomalyst.io.geometry import place
from anomalyst.synthetic.procedural.episode import normal_picture
from anomalyst.synthetic.procedural.families import draw_product
from anomalyst.synthetic.procedural.product import Pose as DrawnPose

POSES = st.builds(
    Pose,
    st.floats(0, 359.9),
    st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
)


@settings(max_examples=40, deadline=None)
@given(POSES, st.integers(70, 120), st.integers(70, 120), st.sampled_from([(192, 192), (160, 256)]))
def test_a_spot_comes_back_to_its_place(pose: Pose, y: int, x: int, size: tuple[int, int]) -> None:
    canvas = np.zeros((*size, 3), np.uint8)
    cv2.circle(canvas, (x, y), 6, (255, 255, 255), -1)
    straight = torch.from_numpy(laid(canvas, pose)[..., 0].astype(np.float32))[None, None]
    back, inside = laid_back(straight, pose)
    if not inside[0, 0, y - 10 : y + 11, x - 10 : x + 11].all():
        return  # beyond the good picture's canvas: nothing is said there
    rows, columns = np.nonzero((back * inside)[0, 0].numpy() > 127)
    if len(rows) < 100:
        return  # cut by the edge of the good picture's canvas
    near = (np.abs(rows - y) < 12) & (np.abs(columns - x) < 12)  # what the edge carried on is not
    assert np.hypot(rows[near].mean() - y, columns[near].mean() - x) <= 1.0


@settings(max_examples=40, deadline=None)
@given(POSES, st.sampled_from([(256, 256), (160, 400)]))
def test_the_inverse_undoes_a_pose(pose: Pose, size: tuple[int, int]) -> None:
    again = pose.inverse(size).inverse(size)
    assert again.degrees == pytest.approx(pose.degrees, abs=1e-6)
    assert again.shift_yx == pytest.approx(pose.shift_yx, abs=1e-9)
    box = (90.0, 100.0, 130.0, 120.0)
    once = moved_box(box, size, pose)
    if min(once[:2]) <= 0 or once[2] >= size[1] or once[3] >= size[0]:
        return  # cut at the border
    x0, y0, x1, y1 = moved_box(once, size, pose.inverse(size))
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((110, 110), abs=1e-6)


def test_only_what_shows_the_query_counts_on_a_laid_canvas() -> None:
    canvas, placement = place(np.full((100, 200, 3), 255, np.uint8), (128, 128))
    shown = Laid(Pose(30.0, (0.1, 0.0)), placement).inside(128, 128)
    black = canvas.copy()
    black[~placement.inside(128, 128)] = 0
    matrix = cv2.getRotationMatrix2D((63.5, 63.5), -30, 1.0)
    assert shown.mean() == pytest.approx(placement.inside(128, 128).mean(), abs=0.06)
    turned = cv2.warpAffine(black, matrix, (128, 128))  # the same without the shift
    assert (turned[..., 0] > 127).mean() == pytest.approx(shown.mean(), abs=0.08)


def brute_likeness(query: Tensor, turned: Tensor, reach: int) -> float:
    """The best cosine over all shifts, cell by cell."""
    mean = turned.mean((1, 2), keepdim=True)
    a, b = query - mean, turned - mean
    best = -1.0
    height, width = a.shape[1:]
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            total = 0.0
            for y in range(height):
                for x in range(width):
                    v, u = y + dy, x + dx
                    if 0 <= v < height and 0 <= u < width:
                        total += float(a[:, y, x] @ b[:, v, u])
            best = max(best, total / float(a.norm() * b.norm()))
    return best


def test_likeness_is_the_best_cosine_over_all_shifts() -> None:
    torch.manual_seed(0)
    query = torch.nn.functional.normalize(torch.randn(1, 3, 10, 10), dim=1)
    turned = torch.nn.functional.normalize(torch.randn(1, 3, 10, 10), dim=1)
    each, _ = likenesses(query, Circle.of(turned))
    assert float(each[0]) == pytest.approx(brute_likeness(query[0], turned[0], 3), abs=1e-5)


def test_poses_apart_are_candidates_and_a_round_thing_is_upright() -> None:
    torch.manual_seed(0)
    fields = torch.randn(ANGLES, 4, 16, 16)
    query = fields[9:10] + 0.8 * fields[20:21] + 0.7 * fields[10:11]
    found = find_poses(query, Circle.of(fields), PoseConfig(close=1.0))
    assert [round(pose.degrees) for pose in found] == [90, 200]
    alike = torch.randn(1, 4, 16, 16).expand(ANGLES, -1, -1, -1)
    assert find_poses(alike[:1], Circle.of(alike), PoseConfig())[0].upright
    assert (
        find_poses(query, Circle.of(fields), PoseConfig(close=0.01, candidates=1))[0].degrees == 90
    )


def test_notes_say_how_it_lies() -> None:
    assert pose_notes(UPRIGHT, PoseConfig()) == ()
    assert "90 degrees counter-clockwise" in pose_notes(Pose(90, (0, 0), 0.8), PoseConfig())[0]
    assert "30 degrees clockwise" in pose_notes(Pose(330, (0, 0), 0.8), PoseConfig())[0]
    assert "could not be aligned" in pose_notes(Pose(0, (0, 0), 0.01), PoseConfig())[0]


def test_map_detail_and_logits_are_laid_back_to_one_place() -> None:
    side = torch.arange(64.0)
    field = torch.exp(-((side[:, None] - 21) ** 2 + (side - 41) ** 2) / 20)[None, None]
    logits = (10 * field).masked_fill(torch.arange(64) < 4, -torch.inf)  # padding on the left
    laid_out = Evidence(field[0, 0].numpy(), 0.0, 0.0, field.repeat(1, 3, 1, 1), logits)
    back = over_query(laid_out, Pose(70.0, (0.05, -0.1)))
    assert back.detail is not None and back.logits is not None
    places = [torch.from_numpy(back.map), back.detail[0, 2], back.logits[0, 0]]
    assert len({int(place.argmax()) for place in places}) == 1
    assert not back.logits.isnan().any() and not back.logits.isfinite().all()


def drawn(seed: int, count: int, turned: float = 0.0) -> list[np.ndarray]:
    """Normal pictures of a drawn product with a body, all but the first turned."""
    rng = np.random.default_rng(seed)
    spec = draw_product(rng, only=("bottle", "assembly"))
    spec = replace(
        spec,
        pose=DrawnPose(turn_deg=3, shift=0.02),
        body_half=spec.body_half * 0.7,
        camera=replace(spec.camera, shade=0.0, gradient=0.0),
    )
    whole = [normal_picture(spec, rng, 362) for _ in range(count)]
    lies = [UPRIGHT, *[Pose(turned, (0.0, 0.0))] * (count - 1)]
    straight = [laid(one, pose.inverse(one.shape)) for one, pose in zip(whole, lies, strict=True)]
    return [np.ascontiguousarray(one[53:309, 53:309]) for one in straight]


def written(pictures: list[np.ndarray], folder: Path) -> list[Path]:
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), picture[..., ::-1])
    return paths


def test_a_part_that_lies_turned_is_laid_straight(tmp_path: Path) -> None:
    inspector = Inspector.load()
    good, part = written(drawn(11, 2, turned=130.0), tmp_path)
    free = inspector.teach("part", [good])
    fixed = inspector.teach("part", [good], pose="fixed")
    assert (free.pose, fixed.pose) == ("free", "fixed")
    seen, strict = (inspector.inspect(part, product) for product in (free, fixed))
    said = [note for note in seen.notes if "counter-clockwise" in note]
    assert len(said) == 1
    assert abs(int(said[0].split("by ")[1].split()[0]) - 130) <= 10, said
    assert seen.score < strict.score - 0.5
    assert seen.map.shape == strict.map.shape
    free.save(tmp_path / "taught" / "part")
    from anomalyst.product import Product

    loaded = Product.load(tmp_path / "taught" / "part")
    assert inspector.inspect(part, loaded).score == pytest.approx(seen.score, abs=0.02)


def test_good_pictures_tell_whether_the_pose_is_free(tmp_path: Path) -> None:
    inspector = Inspector.load()
    for folder, turn in (("same", 0.0), ("any", 80.0)):
        (tmp_path / folder).mkdir()
        good = written(drawn(12, 3, turned=turn), tmp_path / folder)
        assert inspector.teach("part", good).pose == ("free" if turn else "fixed")


def test_turned_whole_circle_begins_with_the_picture_itself() -> None:
    canvas = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    circle = through_circle(canvas)
    assert len(circle) == ANGLES
    assert (circle[0] == canvas).all()
    quarter = np.rot90(canvas)  # counter-clockwise
    assert np.abs(circle[ANGLES // 4].astype(int) - quarter).mean() < 1.0
