"""Files of other senses are read as they are, or refused in a sentence; changes are noted."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyst.errors import AnomalystError, PictureError, RecordingError
from anomalyst.senses.audio import read_audio
from anomalyst.senses.fields import FieldView, read_field
from anomalyst.senses.series import SeriesReading, read_series


def tone(path: Path, rate: int, channels: int = 1, subtype: str = "PCM_16", hz: float = 440.0):
    t = np.arange(rate) / rate
    sound = 0.5 * np.sin(2 * np.pi * hz * t)
    soundfile.write(path, np.repeat(sound[:, None], channels, 1), rate, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("rate", "channels", "subtype", "notes"),
    [
        (16_000, 1, "PCM_16", []),
        (16_000, 1, "PCM_24", []),
        (8_000, 1, "PCM_16", ["resampled from 8 to 16 kHz; nothing above 4 kHz was recorded"]),
        (48_000, 2, "PCM_24", ["2 channels were averaged to one", "resampled from 48 to 16 kHz"]),
        (44_100, 1, "FLOAT", ["resampled from 44.1 to 16 kHz"]),
    ],
)
def test_a_sound_is_one_channel_at_16_khz_and_what_changed_is_told(
    tmp_path, rate, channels, subtype, notes
):
    found = read_audio(tone(tmp_path / "tone.wav", rate, channels, subtype))
    assert list(found.notes) == notes
    assert found.values.shape == (16_000, 1) and found.rate_hz == 16_000
    truth = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert np.abs(found.values[200:-200, 0] - truth[200:-200]).max() < 0.005


def test_a_sound_that_is_none_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(tmp_path / "short.wav", np.full(200, 0.1), 16_000)
    soundfile.write(tmp_path / "slow.wav", np.full(2000, 0.1), 1000)
    against = np.sin(np.arange(16_000) / 10)
    soundfile.write(tmp_path / "against.wav", np.stack([against, -against], 1) / 2, 16_000)
    for name, said in {
        "empty": "is an empty file", "text": "is not a sound we can read", "silent": "is silent",
        "short": "at least 0.1 s", "slow": "give it with --series", "against": "cancel each other",
        "gone": "there is no such file",
    }.items():  # fmt: skip
        with pytest.raises(RecordingError, match=said):
            read_audio(tmp_path / f"{name}.wav")
    clipped = np.clip(3 * against, -0.99, 0.99)
    soundfile.write(tmp_path / "clipped.wav", clipped, 16_000)
    assert any("clipped" in note for note in read_audio(tmp_path / "clipped.wav").notes)


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


ROWS = [f"2026-01-01 00:00:{s:02d},{s}.5,{10 - s},ok" for s in range(10)]
HEAD = "timestamp,torque,speed,state"


def test_a_table_is_read_and_what_was_mended_is_told(tmp_path):
    plain = read_series(table(tmp_path / "a.csv", "\n".join([HEAD, *ROWS])))
    assert plain.channels == ("torque", "speed") and plain.rate_hz == 1
    assert plain.values[3].tolist() == [3.5, 7] and plain.began.isoformat().startswith("2026-01-01")
    assert plain.notes == ("left out, for it holds text: state",)

    mixed = [ROWS[4], *ROWS[:4], ROWS[2].replace("2.5", "9"), *ROWS[5:6], *ROWS[8:]]
    found = read_series(table(tmp_path / "b.csv", "\n".join([HEAD, *mixed])))
    assert found.notes[:2] == (
        "rows were not in the order of their times, and were sorted",
        "1 doubled times: the last row of each is kept",
    )
    assert found.values[2, 0] == 9 and found.values[6].tolist() == [6.5, 4]  # by a line
    assert "4 missing values were filled by straight lines" in found.notes

    german = "t;Druck;Ventil\n" + "\n".join(f"{k / 4};{k},25;1" for k in range(12))
    found = read_series(table(tmp_path / "c.csv", german.replace("0.", "0.")))
    assert found.rate_hz == 4 and found.values[2, 0] == 2.25
    assert found.notes == ("decimal commas in Druck", "constant: Ventil")


def test_times_are_read_as_machines_write_them(tmp_path):
    commas = "time;force\n" + "\n".join(f"{k // 4},{k % 4 * 25:02d};{k}" for k in range(12))
    found = read_series(table(tmp_path / "a.csv", commas))
    assert found.rate_hz == 4 and found.notes == ("decimal commas in time",)
    # isoformat() leaves the fraction out where it is none
    stamps = [f"2026-01-01T00:00:{k // 2:02d}" + ".500000" * (k % 2) for k in range(12)]
    iso = "\n".join(["time,force", *(f"{stamp},{k}" for k, stamp in enumerate(stamps))])
    assert read_series(table(tmp_path / "b.csv", iso)).rate_hz == 2
    days = "\n".join(["time,force", *(f"03.01.2026 00:00:{k:02d},{k}" for k in range(12))])
    found = read_series(table(tmp_path / "c.csv", days))
    assert found.began is not None and found.began.day == 3 and found.rate_hz == 1
    known = SeriesReading(channels=("force",), rate_hz=1)
    bare = "force,extra\n" + "\n".join(f"{k},{k}" for k in range(12))
    assert read_series(table(tmp_path / "d.csv", bare), known).notes == (
        "left out, for the product was not taught with it: extra",
        "no column of times: read as 1 samples a second, as was said",
    )


def test_a_table_that_cannot_be_mended_is_refused_in_a_sentence(tmp_path):
    gap = [*ROWS, *(r.replace("00:00:", "00:01:") for r in ROWS)]
    for name, text, said in [
        ("gap", "\n".join([HEAD, *gap]), "has a gap of 51 s after 9 s"),
        ("text", "a,b\nx,y\nz,w\n" * 5, "has no column of numbers"),
        ("still", "t,a\n" + "\n".join(f"{k},5" for k in range(20)), "no channel that ever changes"),
        ("short", "t,a\n0,1\n1,2\n", "has 2 rows"),
        ("time", "\n".join([HEAD, *ROWS, "soon,1,2,ok"]), "holds 'soon' in row 12"),
        ("word", "\n".join([HEAD, *ROWS]).replace("3.5", "err"), "'torque' holds 'err' in row 5"),
        ("number", "t,a\n" + "\n".join(f"{k},{k}" for k in range(9)) + "\nx,1", "'x' in row 11"),
        ("rows", HEAD, "holds no rows"),
        ("rate", "a,b\n" + "\n".join(f"{k},{k * k}" for k in range(20)), "say with --rate"),
        ("empty", "", "is an empty file"),
    ]:
        with pytest.raises(RecordingError, match=said):
            read_series(table(tmp_path / f"{name}.csv", text))
    good = table(tmp_path / "good.csv", "\n".join([HEAD, *ROWS]))
    with pytest.raises(RecordingError, match="no column of numbers 'force', which the product"):
        read_series(good, SeriesReading(channels=("torque", "force")))
    with pytest.raises(AnomalystError, match="--rate"):
        SeriesReading(rate_hz=0)
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    with pytest.raises(RecordingError, match=r"numbers \(samples, channels\)"):
        read_series(tmp_path / "words.npy")


@given(
    values=st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2), min_size=12, max_size=30
    ),
    lost=st.sets(st.integers(1, 6), max_size=3),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_whatever_order_rows_come_in_they_are_read_alike(tmp_path_factory, values, lost, seed):
    folder = tmp_path_factory.mktemp("t")
    values = np.array(values, np.float32)
    values[0] += (1, 2)
    values[-1] -= (1, 2)
    rows = [f"{k * 0.5},{a!r},{b!r}" for k, (a, b) in enumerate(values.tolist()) if k not in lost]
    straight = table(folder / "a.csv", "\n".join(["time,a,b", *rows]))
    shuffled = [rows[i] for i in np.random.default_rng(seed).permutation(len(rows))]
    mixed = table(folder / "b.csv", "\n".join(["time,a,b", *shuffled]))
    try:
        one = read_series(straight)
    except RecordingError as error:
        assert "ever changes" in error.reason
        return
    assert one.values.shape == values.shape and one.rate_hz == 2
    kept = [k for k in range(len(values)) if k not in lost]
    assert np.array_equal(one.values[kept], values[kept])
    assert np.array_equal(one.values, read_series(mixed).values)


def test_parquet_and_npy_are_read_as_csv_is(tmp_path):
    import pandas

    frame = pandas.DataFrame({"time": np.arange(20) / 10, "a": np.arange(20.0) ** 2})
    frame.to_parquet(tmp_path / "a.parquet")
    found = read_series(tmp_path / "a.parquet")
    assert found.rate_hz == pytest.approx(10) and found.values[3, 0] == 9
    np.save(tmp_path / "a.npy", frame["a"].to_numpy())
    found = read_series(tmp_path / "a.npy", SeriesReading(rate_hz=10))
    assert found.channels == ("channel 1",) and found.values[3, 0] == 9


def test_depth_has_its_holes_filled_and_heat_its_unit(tmp_path):
    depth = np.full((20, 30), 500, np.uint16)
    depth[:, 15:] = 520
    depth[4:6, 3:5] = 0
    cv2.imwrite(str(tmp_path / "d.png"), depth)
    found = read_field(tmp_path / "d.png", "depth", "mm")
    assert found.values[4, 3] == 500 and found.values[0, 29] == 520 and found.holes.sum() == 4
    assert found.notes == ("holes on 0.7% of the area were filled from their surroundings",)
    view = FieldView(kind="depth", unit="mm").fitted([found])
    assert (view.low, view.high) == (495, 525)
    assert view.shown(view.read(tmp_path / "d.png").values)[0, [0, 29], 0].tolist() == [42, 212]

    heat = np.full((20, 30), 29_815, np.uint16)
    cv2.imwrite(str(tmp_path / "h.tif"), heat)
    assert read_field(tmp_path / "h.tif", "thermal", "cK").values[0, 0] == pytest.approx(25)
    with pytest.raises(PictureError, match="would be 29542 to 29542 degrees"):
        read_field(tmp_path / "h.tif", "thermal", "K")
    with pytest.raises(AnomalystError, match="say which one they hold"):
        FieldView(kind="thermal", unit="")
    with pytest.raises(AnomalystError, match="all good depth files show"):
        FieldView(kind="depth", unit="mm").fitted([read_field(tmp_path / "h.tif", "depth", "mm")])


def test_a_field_that_is_none_is_refused_in_a_sentence(tmp_path):
    cv2.imwrite(str(tmp_path / "rgb.png"), np.zeros((20, 20, 3), np.uint8))
    holes = np.full((20, 20), np.nan, np.float32)
    holes[:9] = 5
    np.save(tmp_path / "holes.npy", holes)
    (tmp_path / "text.npy").write_text("nothing")
    for name, said in {
        "rgb.png": "holds 20x20x3 numbers", "holes.npy": "has holes on 55%",
        "text.npy": "cannot be read", "gone.npy": "there is no such file",
    }.items():  # fmt: skip
        with pytest.raises(PictureError, match=said):
            read_field(tmp_path / name, "depth", "mm")
