"""Pictures we make from pictures: blends, planted defects, augmentation, outlines."""

import hashlib

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import list_pictures, open_mask, open_picture
from anomalyst.synthetic.anomalies.base import Ground, as_taken
from anomalyst.synthetic.anomalies.methods import METHODS, make_anomaly
from anomalyst.synthetic.anomalies.perlin import perlin_noise
from anomalyst.synthetic.anomalies.placement import pieces_of, placed, pose_between
from anomalyst.synthetic.anomalies.poisson import border_steps, cloned
from anomalyst.synthetic.anomalies.transplant import Labelled, transplant
from anomalyst.synthetic.augmentation import Operation, Plan, Plans, augmented, draw_steps
from anomalyst.synthetic.foreground import product_mask, segmenter_of
from anomalyst.synthetic.product_constants import Traits, estimated, traits_for
from anomalyst.types import place_of


def noise(seed: int, size_hw: tuple[int, int] = (64, 80)) -> np.ndarray:
    """A rough surface, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    rough = cv2.GaussianBlur(rng.normal(0, 60, (*size_hw, 3)), (0, 0), 1.5)
    return np.clip(128 + rough * 2, 0, 255).astype(np.uint8)


def disc(size_hw: tuple[int, int], centre_xy: tuple[int, int], radius: int) -> np.ndarray:
    return cv2.circle(np.zeros(size_hw, np.uint8), centre_xy, radius, 1, -1) > 0


@pytest.fixture(scope="module")
def biscuits(cookie):
    """Six good biscuits at 192x256 and where they are."""
    pictures = [resize(open_picture(p), (192, 256)) for p in list_pictures(cookie / "train/good")]
    return pictures[:6], [product_mask(p) for p in pictures[:6]]


# Poisson image editing


@pytest.mark.parametrize("gradients", ["normal", "mixed"])
def test_a_blend_solves_the_equations_of_a_slow_plain_solver(gradients):
    target, source, mask = noise(1, (12, 14)), noise(2, (12, 14)), disc((12, 14), (6, 5), 3)
    at = {tuple(p): i for i, p in enumerate(np.argwhere(mask))}
    matrix, known = np.zeros((len(at), len(at))), np.zeros((len(at), 3))
    for (y, x), i in at.items():
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            q = (y + dy, x + dx)
            step = source[y, x].astype(float) - source[q]
            own = target[y, x].astype(float) - target[q]
            if gradients == "mixed":
                step = np.where(np.abs(own) > np.abs(step), own, step)
            matrix[i, i] += 1
            known[i] += step
            if q in at:
                matrix[i, at[q]] -= 1
            else:
                known[i] += target[q]
    expected = np.clip(np.rint(np.linalg.solve(matrix, known)), 0, 255)
    assert np.array_equal(cloned(target, source, mask, gradients)[mask], expected)


def test_outside_the_mask_nothing_changes_and_no_corner_loses_brightness():
    target, source = np.full((64, 80, 3), 200, np.uint8), noise(3)
    mask = disc((64, 80), (40, 30), 14)
    blend = cloned(target, source, mask)
    assert np.array_equal(blend[~mask], target[~mask])
    assert (blend[[0, 0, -1, -1], [0, -1, 0, -1]] == 200).all()
    assert (blend[mask] != 200).any()


def test_a_source_that_is_only_brighter_leaves_the_target_as_it_is():
    target, mask = noise(4), disc((64, 80), (40, 30), 12)
    brighter = np.clip(target.astype(int) + 20, 0, 255).astype(np.uint8)
    unclipped = (target <= 235).all(2)
    near = cv2.erode(unclipped.astype(np.uint8), np.ones((3, 3))) > 0
    blend = cloned(target, brighter, mask & near)
    assert np.abs(blend.astype(int) - target).max() <= 1


@pytest.mark.parametrize(
    ("source", "mask", "says"),
    [
        (noise(1, (20, 20)), disc((64, 80), (40, 30), 5), "the source 20x20"),
        (noise(1), np.zeros((64, 80), bool), "this one is empty"),
        (noise(1), disc((64, 80), (2, 30), 5), "touches the picture's border"),
    ],
)
def test_what_cannot_be_blended_is_refused(source, mask, says):
    with pytest.raises(AnomalystError, match=says):
        cloned(noise(0), source, mask)


def test_a_seam_shows_in_the_border_steps():
    target, mask = np.full((40, 40, 3), 100, np.uint8), disc((40, 40), (20, 20), 8)
    pasted = target.copy()
    pasted[mask] = 160
    assert border_steps(pasted, mask).mean() == 60
    assert border_steps(target, mask).mean() == 0


# Defects of one picture on another


def biscuit(centre_xy: tuple[int, int], axes: tuple[int, int], degrees: float) -> Labelled:
    """A rough light ellipse on an even dark ground."""
    product = np.zeros((120, 160), np.uint8)
    cv2.ellipse(product, centre_xy, axes, degrees, 0, 360, 1, -1)
    picture = np.full((120, 160, 3), 40, np.uint8)
    picture[product > 0] = np.clip(noise(9, (120, 160))[product > 0] // 3 + 120, 0, 255)
    return Labelled(picture=picture, product=product > 0)


def cracked(part: Labelled, centre_xy: tuple[int, int], radius: int = 5) -> Labelled:
    mask = disc((120, 160), centre_xy, radius) & part.product
    picture = part.picture.copy()
    picture[mask] = 10
    return Labelled(picture=picture, product=part.product, mask=cv2.dilate(
        mask.astype(np.uint8), np.ones((3, 3))) > 0)  # fmt: skip


def test_a_transplanted_defect_lies_on_the_product_and_its_mask_is_exact():
    source = cracked(biscuit((50, 60), (38, 20), 0), (50, 60))
    target = biscuit((105, 60), (38, 20), 60)
    for seed in range(8):
        made = transplant(source, target, np.random.default_rng(seed))
        changed = (made.picture != target.picture).any(2)
        assert made.mask.any() and not changed[~made.mask].any()
        assert changed[made.mask].mean() > 0.9
        assert (made.mask & target.product).sum() / made.mask.sum() > 0.95
        x, y = made.centres_xy[0]
        assert made.mask[round(y), round(x)]


def test_two_defects_do_not_overlap_and_keep_clear_of_the_targets_own():
    part = biscuit((80, 60), (60, 40), 0)
    two = cracked(part, (60, 60), 6)
    picture, mask = two.picture.copy(), two.mask | cracked(part, (100, 60), 6).mask
    picture[disc((120, 160), (100, 60), 6)] = 10
    own = disc((120, 160), (80, 60), 15)
    target = Labelled(picture=biscuit((80, 60), (60, 40), 0).picture // 2 * 2, product=part.product,
                      mask=own)  # fmt: skip
    made = transplant(
        Labelled(picture=picture, product=part.product, mask=mask),
        target,
        np.random.default_rng(0),
    )
    assert len(made.centres_xy) == 2
    assert cv2.connectedComponents(made.mask.astype(np.uint8))[0] == 3
    assert not (made.mask & own).any()


def test_a_bite_out_of_the_edge_stays_at_an_edge():
    whole = biscuit((80, 60), (50, 30), 0)
    bite = disc((120, 160), (80, 90), 12)
    picture = whole.picture.copy()
    picture[bite] = 40
    source = Labelled(picture=picture, product=whole.product & ~bite, mask=bite & whole.product)
    target = biscuit((78, 58), (50, 30), 0)
    for seed in range(4):
        made = transplant(source, target, np.random.default_rng(seed))
        ring = (cv2.dilate(made.mask.astype(np.uint8), np.ones((5, 5))) > 0) & ~made.mask
        assert 0.2 < target.product[ring].mean() < 0.8


def test_a_pose_is_found_from_outlines():
    source, target = biscuit((60, 60), (40, 18), 10), biscuit((90, 64), (40, 18), 50)
    matrix = pose_between(source.product, target.product)
    assert abs(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) - 40) % 180 < 3
    assert np.allclose(matrix @ [60, 60, 1], [90, 64], atol=1.5)


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        (cracked(biscuit((80, 60), (60, 40), 0), (80, 60)), None, "is the same picture"),
        (biscuit((80, 60), (60, 40), 0), biscuit((70, 60), (50, 40), 0), "marks nothing"),
        (
            Labelled(
                picture=noise(1, (120, 160)),
                product=np.ones((120, 160), bool),
                mask=disc((120, 160), (0, 60), 9),
            ),
            biscuit((70, 60), (50, 40), 0),
            "touches the picture's border",
        ),
        (
            cracked(biscuit((80, 60), (70, 50), 0), (80, 60), 40),
            Labelled(picture=noise(5, (50, 60)), product=disc((50, 60), (30, 25), 12)),
            "it is too large",
        ),
    ],
)
def test_what_cannot_be_transplanted_is_refused(source, target, says):
    with pytest.raises(AnomalystError, match=says):
        transplant(source, target or source, np.random.default_rng(0))


def test_a_blend_that_would_not_be_seen_is_thrown_away():
    part = biscuit((80, 60), (60, 40), 0)
    same = Labelled(picture=part.picture, product=part.product, mask=disc((120, 160), (80, 60), 6))
    other = Labelled(picture=np.full((120, 160, 3), 90, np.uint8), product=part.product)
    plain = Labelled(picture=np.full((120, 160, 3), 80, np.uint8), product=part.product,
                     mask=same.mask)  # fmt: skip
    with pytest.raises(AnomalystError, match="no place was found"):
        transplant(plain, other, np.random.default_rng(0))


def test_a_placed_mask_moves_with_its_picture():
    mask, whole = disc((60, 60), (20, 20), 5), np.ones((60, 60), bool)
    piece, rng = pieces_of(mask, whole)[0], np.random.default_rng(3)
    limits = {"turn_degrees": 30, "scales": (1.0, 1.2), "taken": ~whole}
    tries = [placed(piece, whole, np.eye(2, 3), rng, **limits) for _ in range(30)]
    found = [one for one in tries if one is not None]
    assert len(found) > 10
    for there in found:
        moved = cv2.warpAffine(mask.astype(np.float32), there.matrix, (60, 60))
        assert ((moved > 0.5) ^ there.mask).sum() <= 0.2 * there.mask.sum()


# Planted defects


@pytest.mark.parametrize("method", METHODS)
def test_planted_defects_are_never_empty_and_each_knows_its_own_place(method, biscuits):
    pictures, products = biscuits
    traits = estimated(pictures)
    for seed in range(25):
        made = make_anomaly(method, pictures, (3, seed), traits, products=products)
        assert made.mask.any()
        assert (made.picture != pictures[0]).any(2)[made.mask].mean() > 0.3
        assert len(made.centres_xy) == len(made.parameters["defects"])
        assert made.description.count(" at the ") == len(made.centres_xy)
        assert made.soft[made.mask].mean() > made.soft[~made.mask].mean()
        if len(made.centres_xy) == 2:
            alone = [np.hypot(*np.subtract(c, made.centres_xy[1])) for c in made.centres_xy[:1]]
            assert alone[0] > 3


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_bytes(method, biscuits):
    pictures, _ = biscuits
    first, again = (make_anomaly(method, pictures[:2], 5) for _ in range(2))
    assert hashlib.sha256(first.picture).digest() == hashlib.sha256(again.picture).digest()
    assert np.array_equal(first.mask, again.mask)


def test_two_defects_have_two_centres_each_on_its_own(biscuits):
    pictures, products = biscuits
    traits, found = estimated(pictures), 0
    for seed in range(20):
        made = make_anomaly("world", pictures, (8, seed), traits, products=products)
        if len(made.centres_xy) == 2:
            found += 1
            ys, xs = np.nonzero(made.mask)
            middle = (xs.mean(), ys.mean())
            # The centre of the union of both was what the predecessor took for the second.
            assert any(np.hypot(*np.subtract(c, middle)) > 3 for c in made.centres_xy)
    assert found >= 4


def test_a_patch_that_equals_what_it_covers_is_sound():
    traits = Traits()
    assert traits.soft_label(np.zeros((30, 30), np.uint8)).max() == 0
    with pytest.raises(AnomalystError, match="too plain"):
        make_anomaly("patch-blend", [np.full((64, 64, 3), 90, np.uint8)], 0, traits)


def test_the_soft_label_is_the_logistic_of_the_change():
    traits = Traits(steepness=1 / 3, middle=7)
    label = traits.soft_label(np.full((40, 40), 10, np.uint8))
    assert label[20, 20] == pytest.approx(1 / (1 + np.exp(-(10 - 7) / 3)), abs=1e-6)


def test_a_grey_picture_stays_grey_and_a_thresholded_one_keeps_to_its_values(biscuits):
    grey = np.repeat(biscuits[0][0].mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
    board = np.where(grey > 120, 255, 0).astype(np.uint8)
    for method in METHODS:
        made = make_anomaly(method, [grey, grey[::-1]], 1)
        assert (made.picture[..., :1] == made.picture).all()
        made = make_anomaly(method, [board, board[:, ::-1]], 2)
        assert set(np.unique(made.picture)) <= {0, 255}
        assert (made.picture != board).any(2)[made.mask].mean() > 0.3
    assert as_taken(biscuits[0][0], biscuits[0][1]) is biscuits[0][0]


def test_cutpaste_and_scars_and_boxes_stay_within_their_bounds(biscuits):
    from anomalyst.synthetic.anomalies import cutpaste, patch_blend

    pictures, products = biscuits
    traits = Traits(height=(0.05, 0.2), width=(0.05, 0.3))
    ground = Ground(picture=pictures[0], product=products[0], donor=pictures[1],
                    donor_product=products[1], traits=traits)  # fmt: skip
    rng = np.random.default_rng(0)
    for _ in range(30):
        blend = patch_blend.plant(ground, rng)
        if blend is not None:
            _, _, wide, tall = blend.parameters["to_xywh"]
            assert 0.05 * 256 - 1 <= wide <= 0.3 * 256 + 1 and tall <= 0.2 * 192 + 1
        paste = cutpaste.plant(ground, rng)
        x, y = paste.parameters["centre_xy"]
        assert products[0][y, x] and abs(paste.parameters["degrees"]) <= 45


def test_perlin_noise_is_that_of_a_slow_plain_loop():
    cells = (3, 4)
    fast = perlin_noise((12, 20), cells, np.random.default_rng(7))
    angles = np.random.default_rng(7).uniform(0, 2 * np.pi, (4, 5))

    def fade(t):
        return t**3 * (t * (6 * t - 15) + 10)

    for py, px in ((0, 0), (3, 7), (11, 19), (4, 5), (5, 12)):
        y, x = py * 3 / 12, px * 4 / 20
        row, column = int(y), int(x)
        v, u = y - row, x - column
        dots = {
            (a, b): np.sin(angles[row + a, column + b]) * (v - a)
            + np.cos(angles[row + a, column + b]) * (u - b)
            for a in (0, 1)
            for b in (0, 1)
        }
        upper = dots[0, 0] + fade(u) * (dots[0, 1] - dots[0, 0])
        lower = dots[1, 0] + fade(u) * (dots[1, 1] - dots[1, 0])
        assert fast[py, px] == pytest.approx(
            np.sqrt(2) * (upper + fade(v) * (lower - upper)), abs=1e-5
        )
    assert fast[4, 5] == pytest.approx(0, abs=1e-6), "noise is zero where lattice lines meet"


def test_constants_are_data_and_any_other_product_is_estimated(biscuits):
    screw = traits_for("screw", "mvtec", [])
    assert (screw.height, screw.steepness, screw.middle) == ((0.03, 0.12), 1.0, 3)
    assert screw.background == (200, 60)
    assert traits_for("macaroni1", "visa", []).resize == (0.5, 2.0)
    assert traits_for("groove", "aebad", []).background == (200, 60)
    own = estimated(biscuits[0])
    assert own.height[1] < 0.4 and 5 <= own.middle <= 24
    with pytest.raises(AnomalystError, match="hold no product 'bolt'"):
        traits_for("bolt", "mvtec", [])
    with pytest.raises(AnomalystError, match="There are no constants 'coco'"):
        traits_for("bolt", "coco", [])
    with pytest.raises(AnomalystError, match="no method 'magic'"):
        make_anomaly("magic", biscuits[0], 0)


# Where the product is


def test_the_product_is_found_on_real_pictures_and_fills_a_surface(cookie):
    for path in list_pictures(cookie / "train/good")[:8]:
        product = product_mask(open_picture(path))
        assert 0.1 < product.mean() < 0.6
        assert not product[-1].any() and product[product.shape[0] // 2, product.shape[1] // 2]
    assert product_mask(noise(1, (100, 100))).all()


def test_the_outline_agrees_with_a_drawn_one():
    part = biscuit((80, 60), (50, 30), 20)
    found = product_mask(part.picture)
    assert (found & part.product).sum() / (found | part.product).sum() > 0.93


def test_sam_is_asked_for_the_middle_and_an_unknown_segmenter_is_refused(tmp_path):
    from transformers import (
        SamConfig,
        SamImageProcessor,
        SamMaskDecoderConfig,
        SamModel,
        SamProcessor,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    vision = SamVisionConfig(hidden_size=8, output_channels=8, num_hidden_layers=1, num_pos_feats=4,
                             num_attention_heads=1, image_size=64, patch_size=16, window_size=2,
                             global_attn_indexes=[0], mlp_dim=8)  # fmt: skip
    prompt = SamPromptEncoderConfig(hidden_size=8, image_size=64, patch_size=16)
    decoder = SamMaskDecoderConfig(hidden_size=8, mlp_dim=8, num_hidden_layers=1,
                                   num_attention_heads=1, iou_head_hidden_dim=8)  # fmt: skip
    config = SamConfig(vision_config=vision.to_dict(), prompt_encoder_config=prompt.to_dict(),
                       mask_decoder_config=decoder.to_dict())  # fmt: skip
    SamModel(config).save_pretrained(tmp_path)
    size = {"longest_edge": 64}
    SamProcessor(
        SamImageProcessor(size=size, pad_size={"height": 64, "width": 64})
    ).save_pretrained(tmp_path)
    found = segmenter_of(f"sam:{tmp_path}")(noise(1, (48, 64)))
    assert found.shape == (48, 64) and found.dtype == bool
    with pytest.raises(AnomalystError, match="no segmenter 'magic'"):
        segmenter_of("magic")
    with pytest.raises(AnomalystError, match="no SAM model"):
        segmenter_of(f"sam:{tmp_path / 'nowhere'}")


# Augmentation

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rotate_right"), st.sampled_from([90.0, 180.0, 270.0])),
        st.tuples(st.sampled_from(["flip_horizontal", "flip_vertical"]), st.just(1.0)),
        st.tuples(st.just("rotate"), st.floats(-180, 180)),
        st.tuples(st.just("zoom"), st.floats(1, 1.3)),
        st.tuples(st.just("brightness"), st.floats(0.8, 1.2)),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, fill=st.sampled_from(["reflect", "zoom"]))
@example(steps=[("zoom", 1.25), ("zoom", 1.25), ("zoom", 1.265625)], fill="reflect")
def test_no_corner_turns_black_and_the_mask_moves_with_the_defect(steps, fill):
    picture = np.full((60, 60, 3), 120, np.uint8)
    mask = disc((60, 60), (22, 35), 12)
    picture[mask] = 240
    turned, moved = augmented(picture, mask, steps, fill)
    assert turned.min() >= 0.8**5 * 120 - 3, "nothing is darker than the light makes it"
    light = np.prod([v for n, v in steps if n == "brightness"]) if steps else 1.0
    if 240 * light <= 255:
        bright = turned[..., 0] > 180 * light
        # At the outline, which may lie just outside, the picture is interpolated, the mask is not.
        around = np.pad(moved.astype(np.uint8), 9)
        edge = cv2.morphologyEx(around, cv2.MORPH_GRADIENT, np.ones((9, 9)))[9:-9, 9:-9] > 0
        assert not (bright ^ moved)[~edge].any()


def test_a_free_turn_is_that_of_opencv_with_mirrored_borders():
    picture = noise(3, (60, 90))
    turned, _ = augmented(picture, None, [("rotate", 25.0), ("zoom", 1.1)])
    matrix = cv2.getRotationMatrix2D((44.5, 29.5), 25.0, 1.1)
    expected = cv2.warpAffine(picture, matrix, (90, 60), borderMode=cv2.BORDER_REFLECT_101)
    assert np.abs(turned.astype(int) - expected).mean() < 0.6


def test_black_corners_are_found_as_defects_and_mirrored_ones_are_not(cookie, inspector, tmp_path):
    good = open_picture(list_pictures(cookie / "train/good")[1])
    ground = np.where(good.max(2, keepdims=True) < 110, 190, good).astype(np.uint8)  # a light one
    height, width = ground.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2 - 0.5, height / 2 - 0.5), 30.0, 1.0)
    black = cv2.warpAffine(ground, matrix, (width, height))
    mirrored, _ = augmented(ground, None, [("rotate", 30.0)])
    assert black[:8, :8].max() == 0 and mirrored[:8, :8].min() > 0
    paths = [tmp_path / f"{name}.png" for name in ("ground", "black", "mirrored")]
    for path, picture in zip(paths, (ground, black, mirrored), strict=True):
        cv2.imwrite(str(path), picture[..., ::-1])
    product = inspector.teach("biscuit", paths[:1], pose="fixed")
    maps = [inspector.inspect(path, product).map for path in paths[1:]]
    corners = [np.mean([m[:20, :20].mean(), m[-20:, -20:].mean()]) for m in maps]
    assert corners[0] > 2 * corners[1]


def test_steps_are_never_nothing_and_follow_their_chances():
    plan = Plan(operations=(Operation(do="flip_horizontal", chance=0.3),
                            Operation(do="rotate", low=-5, high=5, chance=0.6)))  # fmt: skip
    rng = np.random.default_rng(0)
    drawn = [draw_steps(plan, rng) for _ in range(2000)]
    assert all(drawn) and all(abs(v) <= 5 for steps in drawn for n, v in steps if n == "rotate")
    flips = np.mean([any(n == "flip_horizontal" for n, _ in steps) for steps in drawn])
    assert flips == pytest.approx(0.3 / (1 - 0.7 * 0.4), abs=0.04)


@pytest.mark.parametrize(
    ("plans", "says"),
    [
        ({"never": ["blur"], "default": {"operations": [{"do": "blur", "low": 1, "high": 2}]}},
         "default has blur, which the plan says never to do"),
        ({"categories": {"nut": {"never": ["flip_vertical"],
                                 "operations": [{"do": "flip_vertical"}]}}},
         "categories.nut: flip_vertical is in the plan, which also says never"),
        ({"default": {"operations": [{"do": "zoom", "low": 0.5, "high": 2}]}}, "within 1 and 4"),
        ({"default": {"operations": [{"do": "rotate", "low": 1, "high": 2, "chanc": 1}]}},
         "no key 'default.operations.0.chanc'; the nearest is 'default.operations.0.chance'"),
        ({"default": {"operations": [{"do": "rotate_right", "angles": [45]}]}}, "some of 90"),
        ({"default": {"operations": []}}, "without operations"),
    ],
)  # fmt: skip
def test_a_plan_that_would_spoil_good_parts_is_refused(plans, says):
    with pytest.raises(AnomalystError, match=says):
        from_mapping(Plans, plans)


def test_the_masks_of_real_defects_survive_a_transplant(cookie):
    bad = list_pictures(cookie / "test/cracked")[0]
    picture = open_picture(bad)
    mask = open_mask(cookie / f"ground_truth/cracked/{bad.stem}_mask.png", picture.shape[:2])
    source, done = Labelled(picture=picture, product=product_mask(picture), mask=mask), 0
    for path in list_pictures(cookie / "test/good")[:8]:
        good = open_picture(path)
        target = Labelled(picture=good, product=product_mask(good))
        try:
            made = transplant(source, target, np.random.default_rng(1))
        except AnomalystError:  # no good place on this one: nothing is forced
            continue
        done += 1
        assert not (made.picture != good).any(2)[~made.mask].any()
        assert (made.mask & target.product).sum() > 0.5 * made.mask.sum()
    assert done >= 4


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_thousand_made_pictures_have_no_empty_mask_and_every_centre_in_its_own_cell(
    method, biscuits
):
    pictures, products = biscuits
    traits, digests = estimated(pictures), []
    for _ in range(2):
        digest = hashlib.sha256()
        for seed in range(1000):
            made = make_anomaly(method, pictures, (11, seed), traits, products=products)
            assert made.mask.any()
            cells = [place_of(centre, made.mask.shape) for centre in made.centres_xy]
            assert all(f"at the {cell}" in made.description for cell in cells)
            assert made.description.count(" at the ") == len(cells)
            digest.update(made.picture)
            digest.update(made.mask)
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1], "the same seeds give the same bytes"
