"""Sensed parts: the same bytes from a seed, and physics that a measuring engineer would find."""

from dataclasses import replace

import numpy as np
import pytest

from anomalyst.backbones.drawn_senses import split_words
from anomalyst.synthetic.procedural.defects import DEFECTS
from anomalyst.synthetic.procedural.families import FAMILIES, draw_product
from anomalyst.synthetic.procedural.faults import _OF_LAYOUTS, _OF_PARTS
from anomalyst.synthetic.procedural.render import draw
from anomalyst.synthetic.senses import SensesConfig, make_sensed_part, sensed_product
from anomalyst.synthetic.senses.conditions import CONDITION_OF, CONDITIONS
from anomalyst.synthetic.senses.heat import contact_xy, heat_c
from anomalyst.synthetic.senses.machine import WORKED_BY, machine_of, running, strikes, turns
from anomalyst.synthetic.senses.relief import as_seen, heights_mm
from anomalyst.synthetic.senses.sound import RATE_HZ, impulses, ring, sound_of
from anomalyst.synthetic.senses.vibration import vibration_of

SMALL = SensesConfig(size_px=64)


def run_of(family: str, condition: str, severity: float = 1.0, seed: int = 0):
    spec = draw_product(np.random.default_rng(seed), only=[family])
    level = 0.0 if condition == "sound" else severity
    return running(machine_of(spec), condition, level, np.random.default_rng(5))


def level_at(values: np.ndarray, rate_hz: int, hz: float, share: float = 0.02) -> float:
    """Largest amplitude near a frequency."""
    spectrum = np.abs(np.fft.rfft(values * np.hanning(len(values)))) / len(values) * 4
    at = np.fft.rfftfreq(len(values), 1 / rate_hz)
    return float(spectrum[np.abs(at - hz) <= max(share * hz, 0.6)].max())


def test_the_same_seed_gives_the_same_bytes_and_another_one_others():
    first, again, other = (make_sensed_part(seed, SMALL) for seed in (3, 3, 4))
    for name in ("picture", "depth_mm", "heat_c", "sound", "imu"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes()
        assert getattr(first, name).tobytes() != getattr(other, name).tobytes()
    assert first.sentences == again.sentences and first.truth.kind == again.truth.kind


def test_every_sense_has_its_shape_and_range():
    for seed in range(6):
        part = make_sensed_part(seed, SMALL)
        assert part.picture.shape == (64, 64, 3) and part.picture.dtype == np.uint8
        assert part.depth_mm.shape == part.heat_c.shape == (64, 64)
        assert part.sound.shape == (32_000,) and np.abs(part.sound).max() <= 1
        assert part.imu.shape == (2_000, 6)
        for values in (part.depth_mm, part.heat_c, part.sound, part.imu):
            assert values.dtype == np.float32
        assert np.isfinite(part.heat_c).all() and np.isfinite(part.imu).all()
        assert np.isnan(part.depth_mm).mean() < 0.3
        assert part.heat_c.min() > 5 and part.heat_c.max() < 80
        assert (part.truth.condition == "sound") == (part.truth.kind == "")
        words = [split_words(text) for text in part.sentences]
        noun = split_words(part.truth.seen.noun)
        assert len(words) == 4 and all(set(noun) <= set(one) for one in words)


def test_every_kind_of_the_world_has_a_consequence_and_every_family_a_machine_of_its_own():
    assert set(CONDITION_OF) == {*DEFECTS, *_OF_LAYOUTS, *_OF_PARTS}
    assert set(CONDITION_OF.values()) == set(CONDITIONS) - {"sound"}
    assert set(WORKED_BY) == set(FAMILIES) - {"surface", "assembly"}
    assert len(set(WORKED_BY.values())) == len(WORKED_BY)


@pytest.mark.parametrize("family", ["machined part", "bottle", "wood"])
def test_a_crack_lowers_every_mode_and_makes_it_die_sooner(family):
    whole, cracked = run_of(family, "sound"), run_of(family, "cracked")
    answers = [ring(run) for run in (whole, cracked)]
    spectra = [np.abs(np.fft.rfft(answer)) for answer in answers]
    strongest = [spectrum.argmax() * RATE_HZ / 32_000 for spectrum in spectra]
    assert strongest[1] / strongest[0] == pytest.approx(0.78, abs=0.03)
    late = [np.square(a[800:]).sum() / np.square(a).sum() for a in answers]
    assert late[1] < 0.7 * late[0]


def test_a_broken_piece_strikes_once_a_turn():
    run = run_of("machined part", "broken")  # whose machine makes no strikes of its own
    turn = turns(run, 32_000, RATE_HZ, 0.2)
    at = np.flatnonzero(impulses(run, turn, np.random.default_rng(0)))
    assert len(at) == pytest.approx(2 * run.shaft_hz, abs=1.5)
    assert np.diff(at) == pytest.approx(RATE_HZ / run.shaft_hz, rel=0.02)
    whole = run_of("machined part", "sound")
    assert not impulses(whole, turn, np.random.default_rng(0)).any()


def test_events_of_a_turn_are_counted_as_a_loop_counts_them():
    turn = np.linspace(0.1, 7.3, 5_000)
    brute = [i for i in range(1, 5_000) if int(turn[i] * 3 + 0.25) > int(turn[i - 1] * 3 + 0.25)]
    assert strikes(turn, 3, 0.25).tolist() == brute


@pytest.mark.parametrize("order", [0.5, 1.5, 2.5])
def test_looseness_raises_half_orders_in_sound_and_vibration(order):
    whole, loose = run_of("seal", "sound"), run_of("seal", "loose")
    heard = [level_at(sound_of(r), 16_000, order * r.shaft_hz) for r in (whole, loose)]
    felt = [level_at(vibration_of(r)[:, 2], 400, order * r.shaft_hz) for r in (whole, loose)]
    assert heard[1] > 3 * heard[0]
    assert felt[1] > 3 * felt[0]


def test_imbalance_raises_the_first_order_and_rubbing_the_noise():
    whole, bent, worn = (run_of("screw", c) for c in ("sound", "deformed", "worn"))
    first = [level_at(vibration_of(r)[:, 0], 400, r.shaft_hz) for r in (whole, bent)]
    assert first[1] == pytest.approx(3.5 * first[0], rel=0.3)
    high = [np.abs(np.fft.rfft(sound_of(r)))[5_000:8_000].mean() for r in (whole, worn)]
    assert high[1] > 2 * high[0]


def test_a_worn_bearing_bursts_at_the_outer_race():
    run = run_of("seal", "foreign")
    turn = turns(run, 32_000, RATE_HZ, 0.0)
    at = np.flatnonzero(impulses(run, turn, np.random.default_rng(0)))
    assert len(at) == pytest.approx(2 * run.shaft_hz * 0.4 * 8, rel=0.02)


def test_the_gear_mesh_has_sidebands_one_order_away():
    run = run_of("machined part", "sound")
    mesh = run.machine.teeth * run.shaft_hz
    heard = sound_of(run)
    for hz in (mesh, mesh - run.shaft_hz, mesh + run.shaft_hz):
        between = hz + 0.5 * run.shaft_hz
        assert level_at(heard, 16_000, hz, 0.006) > 2 * level_at(heard, 16_000, between, 0.006)


def test_larger_parts_ring_lower_and_turn_slower():
    spec = draw_product(np.random.default_rng(0), only=["machined part"])
    small, large = (machine_of(replace(spec, body_half=half)) for half in (0.28, 0.46))
    assert small.modes_hz[0] > large.modes_hz[0] and small.shaft_hz > large.shaft_hz


def test_depth_changes_exactly_where_a_missing_part_was():
    spec = draw_product(np.random.default_rng(2), only=["circuit module"])
    gone = next(i for i, part in enumerate(spec.parts) if part.name == "screw")
    whole = draw(spec, 7, 96)
    lacking = draw(spec, 7, 96, [(i, part) for i, part in enumerate(spec.parts) if i != gone])
    before, after = (heights_mm(scene, spec, 1, None) for scene in (whole, lacking))
    outline = next(lines for part, lines in whole.placed if part is spec.parts[gone])[0]
    rows, columns = np.nonzero(before != after)
    assert len(rows) > 0 and (before >= after).all()
    assert outline[:, 0].min() - 1 <= columns.min() and columns.max() <= outline[:, 0].max() + 1
    assert outline[:, 1].min() - 1 <= rows.min() and rows.max() <= outline[:, 1].max() + 1


def test_depth_is_blind_at_steep_edges_only():
    heights = np.zeros((40, 40), np.float32)
    heights[:, 20:] = 12.0
    depth = as_seen(heights, np.random.default_rng(0))
    assert np.isnan(depth[:, 19:21]).mean() == pytest.approx(0.5, abs=0.2)
    assert np.isfinite(np.delete(depth, (19, 20), axis=1)).all()
    assert np.nanmean(depth[:, 25:]) == pytest.approx(388.0, abs=0.1)


def test_it_is_warmest_where_it_rubs_and_a_worn_part_more_so():
    spec = draw_product(np.random.default_rng(0), only=["metal sheet"])
    spec = replace(spec, parts=())
    scene = draw(spec, 3, 96)
    fields = []
    for condition, severity in (("sound", 0.0), ("worn", 1.0)):
        run = running(machine_of(spec), condition, severity, np.random.default_rng(1))
        fields.append(heat_c(scene, spec, 11, run, None))
    numbers = np.random.default_rng((11, 3))
    numbers.uniform(-1, 1), numbers.uniform(4, 10)  # ambient and body come first
    x, y = contact_xy(scene, numbers)
    for field in fields:
        hottest = np.unravel_index(field.argmax(), field.shape)
        assert np.hypot(hottest[1] - x, hottest[0] - y) < 8
    assert fields[1].max() > fields[0].max() + 3


def test_instances_of_a_product_share_its_machine_and_differ_in_themselves():
    good, bad = sensed_product(1, SMALL, good=2, faulty=7)
    assert good[0].truth.machine == good[1].truth.machine == bad[0].truth.machine
    assert not np.array_equal(good[0].sound, good[1].sound)
    assert all(part.truth.mask.any() and part.truth.kind for part in bad)
    assert len({part.truth.condition for part in bad}) >= 5
