"""The scorers of SKAB and NAB against numbers of their own code, and the command that uses them.

Outputs and labels are invented; the reference's numbers come from waico/SKAB b2c0d46 and
numenta/NAB ea702d7, run on them.
"""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.detection.series.alarms import beside_the_past, once_each
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.benchmarks.series.drawn import FAULTS, draw_cases
from anomalyst.evaluation.benchmarks.series.nab import PROFILES, NabFile, read_nab, score_corpus
from anomalyst.evaluation.benchmarks.series.skab import Rates, rates, read_skab
from anomalyst.evaluation.benchmarks.series.surprises import for_choosing

# Two windows close together, one that reaches into the probation, none, one all within it.
INVENTED = [
    (400, ((100, 139), (150, 170))),
    (200, ((20, 50),)),
    (300, ()),
    (250, ((5, 20), (240, 249))),
]


def invented_files():
    return [
        NabFile(name=str(i), values=np.zeros(rows, np.float32), windows=windows)
        for i, (rows, windows) in enumerate(INVENTED)
    ]


def invented_values(number, rows):
    at = np.arange(rows)
    values = ((at * 37 + number * 11) % 101) ** 3 / 1e6 / 1.1 + 0.3 * (at % 67 < 2)
    return values.round(6)


@pytest.mark.parametrize(
    ("profile", "best", "threshold", "alarms", "at_half"),
    [
        ("standard", 34.20924540208532, 0.88209, 21, -120.4584632749307),
        ("reward low FP", 9.131256861407334, 0.88209, 21, -328.5317348419451),
        ("reward low FN", 53.39175246452484, 0.829703, 38, -52.6250899595674),
    ],
)
def test_nab_scores_are_those_of_its_own_code(profile, best, threshold, alarms, at_half):
    files = invented_files()
    values = [invented_values(i, len(f.values)) for i, f in enumerate(files)]
    found = score_corpus(files, values, PROFILES[profile])
    assert found.score == pytest.approx(best, abs=1e-9)
    assert found.threshold == pytest.approx(threshold) and found.alarms == alarms
    assert found.windows == 4  # the fifth can be found by nobody, yet counts as perfection
    kept = score_corpus(files, values, PROFILES[profile], threshold=0.5)
    assert kept.score == pytest.approx(at_half, abs=1e-9) and kept.alarms == 173
    order = [2, 0, 3, 1]
    again = score_corpus([files[i] for i in order], [values[i] for i in order], PROFILES[profile])
    assert again.score == pytest.approx(best, abs=1e-9)


def test_nab_gives_0_to_silence_and_nearly_100_to_the_first_row_of_each_window():
    files = [one for one in invented_files() if one.name in "02"]
    silent = [np.zeros(len(one.values)) for one in files]
    assert score_corpus(files, silent, PROFILES["standard"]).score == 0
    early = [one.copy() for one in silent]
    for values, file in zip(early, files, strict=True):
        for first, _ in file.windows:
            values[first] = 1
    found = score_corpus(files, early, PROFILES["standard"])
    assert found.score == pytest.approx(100) and (found.found, found.alarms) == (2, 0)


def test_skab_rates_are_those_of_its_own_code():
    at = np.arange(60)
    truth = [at // 20 % 2 == 1, at > 45]
    called = [at * 7 % 11 < 4, at * 5 % 13 < 5]
    assert rates(truth, called) == Rates(0.3, 38.37, 64.71)
    assert rates(truth, truth) == Rates(1.0, 0.0, 0.0)
    assert rates(truth, [at < 0, at < 0]) == Rates(0.0, 0.0, 100.0)


def test_an_alarm_is_given_once_while_it_lasts():
    values = np.array([1, 5, 5, 3, 6, 2, 2, 2, 2, 3.0])
    assert once_each(values, 3).tolist() == [1, 5, 0, 0, 6, 0, 0, 0, 0, 3]
    assert once_each(values, 0).tolist() == values.tolist()
    drawn = np.random.default_rng(0).random(60)
    for quiet in (1, 2, 7, 100):
        before = [max([*drawn[max(0, t - quiet) : t], 0.0]) for t in range(60)]
        assert (once_each(drawn, quiet) == np.where(drawn > before, drawn, 0)).all()


def test_what_was_surprising_all_along_is_less_so():
    values = np.array([2, 2, 2, 8.0])
    expected = [2 / 0.5, 2 / 2.5, 2 / 2.5, 8 / 2.5]
    assert beside_the_past(values, 2) == pytest.approx(expected)
    assert beside_the_past(values, 0).tolist() == values.tolist()


def test_drawn_signals_differ_only_where_the_fault_is_said_to_be():
    cases = list(draw_cases(16, seed=3))
    assert {case.fault for case in cases} == set(FAULTS)
    again = list(draw_cases(1, seed=3, first=5))[0]
    assert (again.faulty == cases[5].faulty).all()
    for case in cases:
        assert case.wrong.any() and not case.wrong[:100].any()
        assert case.faulty.shape == case.more.shape == case.good[0].shape


@pytest.fixture
def folders(tmp_path):
    """Copies of SKAB and NAB with invented files: noise, and a step in it that is labelled."""
    rng = np.random.default_rng(0)
    skab, nab = tmp_path / "SKAB", tmp_path / "NAB"
    windows = {}
    for number in range(4):
        values = rng.normal(size=(500, 2))
        values[450:] += 8
        lines = ["datetime;a;b;anomaly;changepoint"]
        lines += [f"t;{a};{b};{float(i >= 450)};0.0" for i, (a, b) in enumerate(values)]
        path = skab / "data" / "valve1" / f"{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines))
        name = f"art/{number}.csv"
        times = [
            f"2020-01-{1 + i // 96:02} {i // 4 % 24:02}:{i % 4 * 15:02}:00" for i in range(960)
        ]
        values = rng.normal(size=960)
        values[700:730] += 9
        path = nab / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [f"{t},{v}" for t, v in zip(times, values, strict=True)]
        path.write_text("\n".join(["timestamp,value", *rows]))
        windows[name] = [[f"{times[690]}.000000", f"{times[740]}.000000"]]
    (nab / "labels").mkdir()
    (nab / "labels" / "combined_windows.json").write_text(json.dumps(windows))
    return skab, nab


def test_the_command_scores_both_and_goes_on_where_it_stopped(folders, tmp_path):
    skab, nab = folders
    out = tmp_path / "out"
    command = ["bench", "series", "--skab", skab, "--nab", nab, "--drawn", 2, "--out", out]
    command = [*map(str, command), "--methods", "limits,ewma"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "series.json").read_text())
    by_name = {(row["benchmark"], row["method"]): row for row in found["rows"]}
    assert by_name["SKAB", "limits"]["figures"]["testing"]["f1"] > 0.9
    assert by_name["NAB", "ewma"]["figures"]["testing"]["standard"]["score"] > 90
    assert by_name["SKAB", "all called anomalous"]["figures"]["whole"]["far"] == 100
    assert by_name["NAB", "random values"]["figures"]["testing"]["standard"]["score"] < 90
    assert len(by_name) == 8 and {c["method"] for c in found["costs"]} == {"limits", "ewma"}
    assert "Conv-AE (published)" in result.output and (out / "series.png").stat().st_size > 10_000
    kept = sorted(out.rglob("*.npz"))
    before = [path.stat().st_mtime_ns for path in kept]
    kept[0].unlink()
    assert CliRunner().invoke(app, command).exit_code == 0
    after = [path.stat().st_mtime_ns for path in kept]
    assert after[0] > before[0] and after[1:] == before[1:] and len(kept) == 16
    assert json.loads((out / "series.json").read_text())["rows"] == found["rows"]


def test_folders_that_are_no_benchmark_are_refused(folders, tmp_path):
    skab, nab = folders
    with pytest.raises(AnomalystError, match="valve1/0.csv is needed"):
        read_skab(tmp_path / "nothing")
    with pytest.raises(AnomalystError, match="combined_windows.json"):
        read_nab(skab)
    (nab / "data" / "art" / "0.csv").unlink()
    with pytest.raises(AnomalystError, match="labelled, but not there"):
        read_nab(nab)
    names = [f"valve1/{i}" for i in range(4)]
    assert {for_choosing(name) for name in names} == {True, False}
    for path in (skab / "data" / "valve1").iterdir():
        if for_choosing(f"valve1/{path.stem}"):
            path.unlink()
    result = CliRunner().invoke(app, ["bench", "series", "--skab", str(skab)])
    assert isinstance(result.exception, AnomalystError) and "one half" in str(result.exception)
    result = CliRunner().invoke(app, ["bench", "series"])
    assert "nothing to measure on" in str(result.exception)
    result = CliRunner().invoke(app, ["bench", "series", "--drawn", "1", "--methods", "emwa"])
    assert "the nearest is 'ewma'" in str(result.exception)
