"""The bench of several senses: its tables against records written by hand, and its command."""

import json

import cv2
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.benchmarks.several_senses.judged import SeveralSenses, judge_products
from anomalyst.evaluation.benchmarks.several_senses.report import by_condition, summary
from anomalyst.synthetic.senses.part import SensesConfig, sensed_product


def part(condition, heard, seen, together):
    """A judged part; an alarm where p is 0.05 or less, and the score is the higher the lower p."""
    told = {
        name: {"score": 1 - p, "p": p, "verdict": "anomalous" if p <= 0.05 else "normal"}
        for name, p in (("audio", heard), ("depth", seen), ("together", together))
    }
    return {"condition": condition, "together": told.pop("together"), "senses": told, "seconds": 1}


RECORDS = [
    {
        "held_out": False,
        "parts": [
            part("sound", 0.5, 0.04, 0.5),
            part("sound", 0.6, 0.9, 0.04),
            part("crack", 0.01, 0.5, 0.02),
            part("bent", 0.7, 0.01, 0.03),
        ],
    },
    {"held_out": True, "parts": [part("sound", 0.3, 0.3, 0.3), part("crack", 0.02, 0.4, 0.4)]},
]


def test_tables_say_what_the_records_hold():
    rows = {row.name: row for row in summary(RECORDS, 0.05)}
    assert list(rows) == ["audio", "depth", "together", "Bonferroni", "Cauchy"]
    assert (rows["audio"].auroc, rows["audio"].known, rows["audio"].held_out) == (0.75, 0.5, 1.0)
    assert rows["audio"].found == pytest.approx(2 / 3)
    assert rows["depth"].false_alarms == rows["together"].false_alarms == 0.25  # a half, and none
    assert rows["together"].false_alarms_error == pytest.approx(0.25)
    # Twice the smallest p is 0.08 for the sound part that depth alone calls faulty.
    assert rows["Bonferroni"].false_alarms == 0 and rows["Bonferroni"].found == 1
    assert by_condition(RECORDS, 0.05)["crack"] == {"audio": 1.0, "depth": 0.0, "together": 0.5}


def test_drawn_products_are_taught_and_judged_and_the_run_goes_on(tmp_path):
    words = ["bench", "senses", "--products", "2", "--good", "3", "--sound", "1", "--faulty", "2"]
    words += ["--only", "audio,series", "--out", str(tmp_path)]
    ended = CliRunner().invoke(app, words)
    assert ended.exit_code == 0, ended.output
    assert "2 products, 2 sound" in ended.stdout and (tmp_path / "senses.png").is_file()
    kept = tmp_path / "products" / "0000.json"
    changed = json.loads(kept.read_text()) | {"held_out": "as it was"}
    kept.write_text(json.dumps(changed))
    config = SeveralSenses(
        products=2, good=3, sound=1, faulty=2, senses=("audio", "series"), size_px=128, seed=7
    )
    assert judge_products(config, tmp_path)[0]["held_out"] == "as it was"
    with pytest.raises(AnomalystError, match="other settings"):
        judge_products(SeveralSenses(products=2, good=4), tmp_path)
    with pytest.raises(AnomalystError, match="two or more of"):
        SeveralSenses(senses=("audio", "smell"))


def test_a_drawn_line_is_written_as_files_of_five_senses(tmp_path):
    words = ["data", "senses", str(tmp_path / "line"), "--good", "2", "--new", "3", "--seed", "3"]
    assert CliRunner().invoke(app, words).exit_code == 0
    truth = json.loads((tmp_path / "line/truth.json").read_text())
    assert sum(one["condition"] == "sound" for one in truth.values()) == 1
    for sense in ("image", "depth", "thermal", "audio", "series"):
        assert [f.stem for f in sorted((tmp_path / "line/new" / sense).iterdir())] == list(truth)
        assert len(list((tmp_path / "line/good" / sense).iterdir())) == 2
    picture = cv2.imread(str(tmp_path / "line/good/image/p00.png"))
    part = sensed_product(3, SensesConfig(size_px=160), good=1, faulty=0)[0][0]
    assert (picture[..., ::-1] == part.picture).all()
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 1 and "is not empty" in str(again.exception)
