"""Recordings are judged by their moments, at two time scales; drawn, and told in seconds."""

import numpy as np
import pytest

from anomalyst.detection.signals.nearest_frames import SignalMemory, smoothed
from anomalyst.errors import AnomalystError
from anomalyst.inspection.signal_view import LEFT_PX, view_of
from anomalyst.senses.recording import Recording
from anomalyst.senses.sense import SignalSense
from anomalyst.senses.spectra import SpectrumConfig, frames_of, mel_bands


def recording(values: np.ndarray, rate: float = 16_000.0, *names: str) -> Recording:
    values = values.reshape(len(values), -1).astype(np.float32)
    names = names or tuple(f"c{i}" for i in range(values.shape[1]))
    return Recording(values=values, rate_hz=rate, channels=names)


def good(rng, count: int = 6, samples: int = 80) -> list[np.ndarray]:
    return [rng.normal(size=(samples, 3)) * (1, 10, 0.1) + (0, 5, 2) for _ in range(count)]


def test_a_tone_lies_in_its_band_and_its_level_is_its_power():
    t = np.arange(16_000) / 16_000
    loud = frames_of(recording(np.sin(2 * np.pi * 1000 * t)))
    bank, centres = mel_bands(1025, 16_000, SpectrumConfig().bands)
    assert bank.sum(1) == pytest.approx(1)
    band = int(loud.values.mean(0).argmax())
    assert centres[band - 1] < 1000 < centres[band + 1]
    assert loud.channels[band] == f"{centres[band]:.0f} Hz"
    soft = frames_of(recording(0.1 * np.sin(2 * np.pi * 1000 * t)))
    assert (loud.values - soft.values)[:, band] == pytest.approx(20, abs=0.01)
    assert loud.rate_hz == pytest.approx(16_000 / 512)


@pytest.mark.parametrize("decibels", [True, False])
def test_distances_are_those_of_a_plain_loop(decibels):
    rng = np.random.default_rng(0)
    memory = SignalMemory.of(good(rng), decibels=decibels)
    query = good(rng, 1)[0]
    for scale in (memory.moment, memory.lasting):
        found, strays = scale.look(query)
        seen = (smoothed(query, scale.frames) - scale.mean) / scale.spread
        inverse = scale.whitening @ scale.whitening.T
        for t in range(0, len(seen), 9):
            gaps = [float((seen[t] - row) @ inverse @ (seen[t] - row)) for row in scale.bank]
            assert found[t] == pytest.approx(min(gaps) ** 0.5, rel=1e-3, abs=1e-3)
            nearest = scale.bank[int(np.argmin(gaps))]
            assert strays[t] == pytest.approx(np.abs(seen[t] - nearest), abs=1e-4)


def test_a_knock_and_a_lasting_shift_stand_out_where_they_are():
    rng = np.random.default_rng(1)
    memory = SignalMemory.of(good(rng, 12), decibels=False)
    usual = [memory.look(one).score for one in good(rng, 12)]
    knock, shifted = good(rng, 2)
    knock[40:43, 1] += 80
    shifted[:, 2] += 0.15
    found = memory.look(knock)
    assert found.score > max(usual) and memory.look(shifted).score > max(usual)
    assert found.map[39:44, 1].max() > 0.5 > found.map[:35, :].max()
    assert memory.look(shifted).map[:, 2].mean() > 3 * memory.look(shifted).map[:, :2].mean()


def test_order_of_good_recordings_does_not_matter_and_a_memory_is_kept():
    rng = np.random.default_rng(2)
    some, query = good(rng), good(rng, 1)[0]
    one = SignalMemory.of(some, decibels=False)
    other = SignalMemory.of(some[::-1], decibels=False)
    assert one.look(query).score == pytest.approx(other.look(query).score, abs=1e-3)
    again = SignalMemory.from_state(one.state())
    assert again.look(query).score == pytest.approx(one.look(query).score, abs=1e-4)
    assert np.allclose(again.look(query).map, one.look(query).map, atol=1e-5)


def test_a_channel_that_never_changes_shows_any_change():
    rng = np.random.default_rng(3)
    still = [np.concatenate([one, np.full((80, 1), 7.0)], 1) for one in good(rng)]
    memory = SignalMemory.of(still, decibels=False)
    query = np.concatenate([good(rng, 1)[0], np.full((80, 1), 7.0)], 1)
    before = memory.look(query).score
    query[30:50, 3] += 0.2
    assert memory.look(query).score > before + 5


def test_what_cannot_be_compared_is_refused():
    rng = np.random.default_rng(4)
    memory = SignalMemory.of(good(rng), decibels=False)
    with pytest.raises(AnomalystError, match="has 2 channels, the good ones have 3"):
        memory.look(np.zeros((40, 2)))
    with pytest.raises(AnomalystError, match="2 and 3 channels"):
        SignalMemory.of([*good(rng), np.zeros((80, 2))], decibels=False)
    with pytest.raises(AnomalystError, match="is 4 frames long"):
        SignalMemory.of(good(rng, 2, samples=4), decibels=False)
    alone = SignalMemory.of(good(rng, 1), decibels=False)  # compared half by half
    assert np.isfinite(alone.look(good(rng, 1)[0]).score)


@pytest.mark.parametrize(("rate", "channels"), [(16_000.0, 1), (400.0, 2), (10.0, 3)])
def test_a_drawing_shows_each_moment_at_its_time(rate, channels):
    rng = np.random.default_rng(5)
    heard = recording(rng.normal(size=(int(8 * rate), channels)), rate)
    sense = SignalSense(kind="series").fitted([heard])
    frames = sense.frames(heard)
    view = view_of(heard, frames, sense)
    assert len(view.strips) == channels and view.seconds == pytest.approx(8)
    found = np.zeros_like(frames.values)
    at, each = len(found) // 4, found.shape[1] // channels
    found[at - 1 : at + 2, -each:] = 1  # the last channel, a quarter of the way
    whole = view.laid(found)
    rows, columns = np.nonzero(whole > 0.5)
    share = (columns.mean() - LEFT_PX) / (whole.shape[1] - LEFT_PX)
    assert share == pytest.approx(0.25, abs=0.03)
    top, end = view.strips[-1]
    assert rows.min() >= top and rows.max() < end
    box = (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)
    words = view.where(box)
    assert float(words.split()[0]) == pytest.approx(2, abs=0.35) and " s" in words
    assert (heard.channels[-1] in words) == (channels > 1)
