"""The procedural inspection world: deterministic, broad, true to its masks."""

import numpy as np
import pytest

from anomalyst.errors import AnomalystError
from anomalyst.io.colours import colour_name
from anomalyst.synthetic.procedural import WorldConfig, make_episode
from anomalyst.synthetic.procedural.camera import photograph
from anomalyst.synthetic.procedural.defects import DEFECTS, apply_defect
from anomalyst.synthetic.procedural.families import FAMILIES, draw_product
from anomalyst.synthetic.procedural.faults import alter_layout
from anomalyst.synthetic.procedural.noise import KINDS, field, tile
from anomalyst.synthetic.procedural.render import draw
from anomalyst.types import place_of

SMALL = WorldConfig(size_px=96, references=(1, 2))


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not():
    first, again, other = make_episode(7, SMALL), make_episode(7, SMALL), make_episode(8, SMALL)
    assert np.array_equal(first.query, again.query)
    assert np.array_equal(first.references, again.references)
    assert np.array_equal(first.mask, again.mask) and first.truth == again.truth
    assert not np.array_equal(first.query, other.query)


def test_truth_and_mask_tell_the_same_story():
    anomalous = 0
    for seed in range(40):
        episode = make_episode(seed, SMALL)
        assert episode.mask.any() == bool(episode.truth.defects)
        for defect in episode.truth.defects:
            x0, y0, x1, y1 = defect.box_xyxy
            assert episode.mask[y0:y1, x0:x1].sum() >= defect.area_px > 0
            assert defect.place in defect.sentence and defect.kind in defect.sentence
            assert 0 < defect.severity <= 1
            anomalous += 1
    assert anomalous > 15


def test_a_sound_query_has_no_mask():
    world = WorldConfig(size_px=96, references=(1, 1), anomalous_share=0.0)
    assert not any(make_episode(seed, world).mask.any() for seed in range(10))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_draws_products_that_differ_more_than_their_instances(name):
    specs = [FAMILIES[name](np.random.default_rng(seed)) for seed in range(6)]
    assert FAMILIES[name](np.random.default_rng(3)) is not specs[3]
    pictures = [draw(spec, 1, 96).image for spec in specs]
    assert all(p.dtype == np.float32 and np.isfinite(p).all() for p in pictures)
    assert min(float(p.std()) for p in pictures) > 0.002
    between = np.mean([np.abs(pictures[i] - pictures[i - 1]).mean() for i in range(6)])
    inside = np.mean(
        [np.abs(draw(s, 2, 96).image - p).mean() for s, p in zip(specs, pictures, strict=True)]
    )
    assert inside < between


@pytest.mark.parametrize("kind", DEFECTS)
def test_every_defect_changes_the_picture_where_its_mask_says(kind):
    hits = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        scene = draw(draw_product(rng), seed, 96)
        before = scene.image.copy()
        mask = apply_defect(scene, rng, kind)
        change = np.abs(scene.image - before).max(2)
        if mask.any():
            assert change[mask].mean() > 0.02
            hits += 1
        else:
            assert not change.any(), "a defect that cannot be seen must leave the scene unharmed"
    assert hits >= 4


def test_a_layout_fault_alters_only_the_parts_it_names():
    found = set()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        spec = draw_product(rng, only=["circuit module", "tray", "label"])
        fault = alter_layout(spec, rng)
        assert fault is not None
        kind, layout = fault
        found.add(kind)
        normal = dict(enumerate(spec.parts))
        changed = [k for k, part in layout if normal.get(k) is not part]
        missing = set(normal) - {k for k, _ in layout}
        assert 1 <= len(changed) + len(missing) <= 2
    assert {"missing part", "extra part", "misplaced part", "swapped parts", "wrong print"} <= found


def test_noise_tiles_are_periodic_and_standard():
    for kind in KINDS:
        values = tile(kind, 0)
        assert abs(values.mean()) < 1e-3 and abs(values.std() - 1) < 1e-2
    smooth = tile("smooth", 1)
    seam = np.abs(smooth[:, 0] - smooth[:, -1]).mean()
    assert seam < 3 * np.abs(np.diff(smooth, axis=1)).mean()
    rng = np.random.default_rng(0)
    assert field(rng, (10, 20), "cloud", scale=2, stretch=3).shape == (10, 20)


def test_a_binary_camera_gives_two_levels():
    spec = FAMILIES["bare board"](np.random.default_rng(1))
    rng = np.random.default_rng(0)
    from dataclasses import replace

    camera = replace(spec.camera, binary=True, noise=0.0, jpeg_quality=0)
    picture = photograph(draw(spec, 1, 96).image, camera, rng)
    assert set(np.unique(picture)) <= {0, 255}


def test_colours_and_places_have_plain_names():
    assert colour_name((0.9, 0.1, 0.1)) == "red"
    assert colour_name((0.02, 0.02, 0.02)) == "black"
    assert place_of((1, 1), (90, 90)) == "upper left"
    assert place_of((80, 10), (90, 90)) == "upper right"
    assert place_of((45, 45), (90, 90)) == "centre"
    assert place_of((45, 89), (90, 90)) == "lower centre"


def test_an_unknown_family_is_refused_by_name():
    with pytest.raises(AnomalystError, match="no family 'sofa'"):
        draw_product(np.random.default_rng(0), only=["sofa"])


def test_families_can_be_kept_out():
    rng = np.random.default_rng(0)
    without = [n for n in FAMILIES if n not in ("pill", "seal")]
    assert {draw_product(rng, without=without).family for _ in range(12)} <= {"pill", "seal"}
