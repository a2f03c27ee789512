"""Methods for recordings against formulas, plain loops and processes of known best forecast."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from anomalyst.config import from_mapping
from anomalyst.detection.series.base import LARGEST
from anomalyst.detection.series.config import METHOD_NAMES, ChannelLimits, SeriesConfig
from anomalyst.detection.series.methods import fit_untrained, read_method
from anomalyst.detection.series.scoring import (
    Combiner,
    SeriesScoring,
    combined,
    score,
    unusual,
)
from anomalyst.errors import AnomalystError
from anomalyst.teaching.series import fit_series

# Montgomery, Introduction to Statistical Quality Control, table 9.1: level 10, spread 1.
BOOK = np.array(
    [9.45, 7.99, 9.29, 11.66, 12.16, 10.18, 8.04, 11.46, 9.20, 10.34, 9.03, 11.47, 10.51, 9.40,
     10.08, 9.37, 10.62, 10.31, 8.52, 10.84, 10.90, 9.33, 12.29, 11.50, 10.60, 11.08, 10.38, 11.62,
     11.31, 10.52]
)  # fmt: skip
SHORT = {"window": 8, "steps": 4}


def noise(seed, length=300, channels=3):
    return np.random.default_rng(seed).normal(size=(length, channels)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted():
    good = [noise(0), noise(1, 120)]
    return {name: fit_series(good, SeriesConfig(method=name, **SHORT)) for name in METHOD_NAMES}


def test_limits_are_at_258_and_each_side_has_its_own():
    good = np.random.default_rng(0).exponential(size=(20_000, 1)).astype(np.float32)
    method = fit_untrained([good], SeriesConfig(method="limits", quantile=0.02))
    low, high = np.quantile(good, [0.01, 0.99])
    found = method.surprise(np.array([[low], [high], [np.median(good)]], np.float32))[:, 0]
    assert found == pytest.approx([2.5758, 2.5758, 0], abs=1e-3)


def test_limits_set_by_hand_go_before_those_of_the_good_recordings():
    limits = (ChannelLimits(channel=1, low=-10, high=20), ChannelLimits(channel=2, high=5))
    method = fit_untrained([noise(0)], SeriesConfig(method="limits", hand_limits=limits))
    values = np.array([[0, -10, -900], [0, 20, 5], [0, 35, 5]], np.float32)
    found = method.surprise(values)
    assert found[:, 1] == pytest.approx([2.5758, 2.5758, 2 * 2.5758], rel=1e-3)
    assert found[0, 2] == 0 and found[1, 2] == pytest.approx(2.5758, rel=1e-3)
    with pytest.raises(AnomalystError, match="channels 0 to 2"):
        far = (ChannelLimits(channel=3, low=0),)
        fit_untrained([noise(0)], SeriesConfig(method="limits", hand_limits=far))


def test_ewma_is_the_formula_of_roberts(fitted):
    running = replace(
        fitted["ewma"], config=SeriesConfig(method="ewma", ewma_weight=0.1), unit=np.ones(1)
    ).running()
    found = running.step((BOOK - 10)[:, None])[:, 0]
    z, expected = 10.0, []
    for t, x in enumerate(BOOK, start=1):
        z = 0.1 * x + 0.9 * z
        spread = np.sqrt(0.1 / 1.9 * (1 - 0.9 ** (2 * t)))
        expected.append(abs(z - 10) / spread)
    assert found == pytest.approx(expected)
    # The book's z_1 and z_2, 9.945 and 9.7495.
    assert found[:2] == pytest.approx([0.055 / 0.1, 0.2505 / np.sqrt(0.01 * 1.81)])


@pytest.mark.parametrize("reset", [False, True])
def test_cusum_is_the_table_of_the_book(fitted, reset):
    config = SeriesConfig(method="cusum", cusum_reset=reset)
    running = replace(fitted["cusum"], config=config, unit=np.ones(1)).running()
    found = running.step((BOOK - 10)[:, None])[:, 0]
    assert found[3:6] == pytest.approx([1.16, 2.82, 2.50])
    assert found[27:29] == pytest.approx([4.47, 5.28])  # beyond h = 5 for the first time
    assert found[29] == pytest.approx(0.02 if reset else 5.30)
    assert found[1] == pytest.approx(1.56)  # C-


def test_matrix_profile_is_the_nearest_window():
    query = noise(5, 40)
    for shape_only in (False, True):
        config = SeriesConfig(method="matrix_profile", window=8, normalised=shape_only)
        method = replace(fit_untrained([noise(0, 60), noise(1, 50)], config), unit=np.ones(3))
        windows = [one[i : i + 8] for one in method.good for i in range(len(one) - 7)]
        for channel in range(3):
            for end in (7, 20, 39):
                own = method.scale.standardised(query)[end - 7 : end + 1, channel]
                distances = [
                    np.linalg.norm(shape(own, shape_only) - shape(w[:, channel], shape_only))
                    for w in windows
                ]
                assert method.surprise(query)[end, channel] == pytest.approx(
                    min(distances), rel=1e-5
                )
        assert (method.surprise(query)[:7] == 0).all()


def shape(window, wanted):
    return (window - window.mean()) / window.std() if wanted else window


@pytest.mark.slow
def test_matrix_profile_is_that_of_stumpy():
    stumpy = pytest.importorskip("stumpy")
    good, query = noise(0, 60, 1), noise(1, 30, 1)
    for shape_only, normalize in ((True, True), (False, False)):
        config = SeriesConfig(method="matrix_profile", window=8, normalised=shape_only)
        method = replace(fit_untrained([good], config), unit=np.ones(1))
        z = [method.scale.standardised(one)[:, 0] for one in (good, query)]
        expected = [
            stumpy.mass(z[1][end - 7 : end + 1], z[0], normalize=normalize).min()
            for end in range(7, 30)
        ]
        assert method.surprise(query)[7:, 0] == pytest.approx(np.array(expected, float), rel=1e-4)


def autoregressive(seed, length):
    return lfilter([1.0], [1, -1.5, 0.75], np.random.default_rng(seed).normal(size=length))[:, None]


@pytest.mark.parametrize(("name", "horizon"), [("lstm", 1), ("transformer", 1), ("lstm", 3)])
def test_a_forecaster_comes_near_the_best_forecast_of_a_known_process(name, horizon):
    good = [autoregressive(seed, 1500).astype(np.float32) for seed in (1, 2)]
    config = SeriesConfig(method=name, window=16, horizon=horizon, steps=250)
    method = fit_series(good, config)
    asked = autoregressive(3, 1500)
    missed = (asked - method.forecast(asked))[config.silent :]
    # x_t = 1.5 x_{t-1} - 0.75 x_{t-2} + e: psi weights 1, 1.5, 1.5 of e.
    best = np.sqrt(np.sum(np.array([1, 1.5, 1.5])[:horizon] ** 2))
    nothing_changes = (asked[horizon:] - asked[:-horizon]).std()
    assert best * 0.93 < missed.std() < best * 1.12 < nothing_changes
    sound = method.surprise(asked.astype(np.float32))[config.silent :]
    assert 0.002 < (sound > 2.5758).mean() < 0.03  # the unit says one in a hundred


def test_forecasters_are_small():
    for channels in (1, 64):
        for name in ("lstm", "transformer"):
            method = fit_series([noise(0, 200, channels)], SeriesConfig(method=name, **SHORT))
            assert sum(p.numel() for p in method.network.parameters()) < 100_000


@pytest.mark.parametrize("name", METHOD_NAMES)
@given(cuts=st.lists(st.integers(0, 70), max_size=12), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_stream_tells_the_same_as_the_whole_recording(fitted, name, cuts, seed):
    values = 2 * noise(seed, 70)
    whole = fitted[name].surprise(values)
    stream, bounds = fitted[name].stream(), [0, *sorted(cuts), 70]
    parts = [stream.step(values[a:b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    assert np.concatenate(parts) == pytest.approx(whole, rel=1e-3, abs=1e-4)
    combiner = Combiner(SeriesScoring())
    together = np.concatenate([combiner.step(part) for part in parts])
    assert together == pytest.approx(combined(whole), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_what_comes_later_changes_nothing_before(fitted, name):
    values = noise(7, 60)
    other = values.copy()
    other[40:] += 9
    before, after = (fitted[name].surprise(one) for one in (values, other))
    assert before[:40] == pytest.approx(after[:40], rel=1e-4, abs=1e-5)
    assert (after[40:44] > before[40:44] + 1).any()
    assert before.dtype == np.float32 and (before >= 0).all()


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_units_and_levels_of_channels_do_not_matter(name):
    good, asked = noise(0), noise(1, 50)
    unit, level = np.array([1e-3, 1, 1e3], np.float32), np.array([-5, 0, 1e4], np.float32)
    config = SeriesConfig(method=name, **SHORT)
    plain = fit_series([good], config).surprise(asked)
    scaled = fit_series([good * unit + level], config).surprise(asked * unit + level)
    assert plain == pytest.approx(scaled, rel=0.02, abs=0.02)


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_constant_channel_is_watched_for_any_change(name):
    good = noise(0)
    good[:, 1] = 7.0
    method = fit_series([good], SeriesConfig(method=name, **SHORT))
    asked = noise(1, 60)
    asked[:, 1] = 7.0
    assert (method.surprise(asked)[:, 1] < 0.1).all()
    assert "channel 2" in method.notes[0]
    asked[30:, 1] = 7.01
    found = method.surprise(asked)
    assert found[30:34, 1].max() > 9 and np.isfinite(found).all() and found.max() <= LARGEST
    assert (found[:30, 1] < 0.1).all()


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_method_judges_the_same_after_saving(fitted, name):
    method = fitted[name]
    data = safetensors.torch.save(method.state())
    again = read_method(method.config, safetensors.torch.load(data))
    assert (again.surprise(noise(9)) == method.surprise(noise(9))).all()
    assert again.notes == method.notes
    with pytest.raises(AnomalystError, match="teach the product again"):
        read_method(method.config, {"centre": method.state()["centre"]})


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_what_cannot_be_judged_is_refused(fitted, name):
    config = SeriesConfig(method=name, **SHORT)
    with pytest.raises(AnomalystError, match="no good recording"):
        fit_series([], config)
    with pytest.raises(AnomalystError, match="has 3 samples"):
        fit_series([noise(0, 3)], config)
    gap = noise(0)
    gap[5, 2] = np.nan
    with pytest.raises(AnomalystError, match="sample 6 of channel 3 is nan"):
        fit_series([gap], config)
    stream = fitted[name].stream()
    stream.step(noise(0, 40))
    with pytest.raises(AnomalystError, match="sample 46 of channel 3 is nan"):
        stream.step(gap)
    assert stream.step(noise(1, 9)) == pytest.approx(
        fitted[name].surprise(np.concatenate([noise(0, 40), noise(1, 9)]))[40:], abs=1e-3
    )
    with pytest.raises(AnomalystError, match=r"\(samples, 3\) is needed"):
        stream.step(noise(0, 9, 2))
    if config.silent:
        with pytest.raises(AnomalystError, match="needs"):
            fitted[name].surprise(noise(0, config.silent))


def test_an_unknown_method_names_the_nearest():
    with pytest.raises(AnomalystError, match="perhaps 'matrix_profile'"):
        SeriesConfig(method="matrixprofile")
    with pytest.raises(AnomalystError, match="window is 2; 4 or more"):
        SeriesConfig(window=2)
    with pytest.raises(AnomalystError, match="perhaps 'ewma'"):
        from_mapping(SeriesConfig, {"method": "emwa"})
    read = from_mapping(SeriesConfig, {"hand_limits": [{"channel": 0, "low": 1}]})
    assert read.hand_limits == (ChannelLimits(channel=0, low=1.0),)
    with pytest.raises(AnomalystError, match="low must be below high"):
        ChannelLimits(channel=0, low=2, high=1)
    with pytest.raises(AnomalystError, match="smoothing is 0"):
        SeriesScoring(smoothing=0)


def test_unusual_stretches_tell_where_and_which_channel():
    surprise = np.ones((200, 3), np.float32)
    surprise[50:60, 1] = 20
    surprise[64:70, 1] = 40  # a short way on: the same stretch
    surprise[150:155, 2] = 30
    scoring = SeriesScoring(smoothing=2, pooling=100)
    first, second = unusual(surprise, 10, scoring, gap=8)
    assert (first.first, first.end, first.peak) == (50, 71, 65)
    assert first.value == pytest.approx(40, rel=0.02)
    assert first.channels[0][0] == 1 and first.channels[0][1] > 0.99
    assert (second.first, second.end, second.channels[0][0]) == (150, 155 + 1, 2)
    assert unusual(surprise, 50, scoring) == []


def test_a_score_is_the_mean_of_the_highest_hundredth():
    values = np.arange(300, dtype=np.float32)
    assert score(values[::-1]) == pytest.approx((299 + 298 + 297) / 3)
    assert score(values[:5]) == 4
