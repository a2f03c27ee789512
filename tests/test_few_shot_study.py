"""The few-shot table: published figures apart from ours unless the set is theirs; cells marked."""

import csv
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.evaluation.baselines.comparison import ComparisonConfig
from anomalyst.evaluation.baselines.report import Contest, Entry
from anomalyst.evaluation.protocols.run_records import METRICS
from anomalyst.evaluation.reports.tables import Line, Spread
from anomalyst.evaluation.studies.few_shot_report import as_markdown, draw
from anomalyst.evaluation.studies.few_shot_tables import METHODS, Setting, sections
from anomalyst.evaluation.studies.published import Figure, published_sets
from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset
from anomalyst.types import Sample
from test_baselines_text import save_clip

SHOTS = (1, 2, 4)
# Image / pixel AUROC as the reports print them, typed a second time: SPADE, PaDiM, PatchCore,
# WinCLIP and AnomalyGPT, by set and number of good pictures.
PRINTED = {
    ("MVTec-AD", 1): "81.0/91.2, 76.6/89.3, 83.4/92.0, 93.1/95.2, 94.1/95.3",
    ("MVTec-AD", 2): "82.9/92.0, 78.9/91.3, 86.3/93.3, 94.4/96.0, 95.5/95.6",
    ("MVTec-AD", 4): "84.8/92.7, 80.4/92.6, 88.8/94.3, 95.2/96.2, 96.3/96.2",
    ("VisA", 1): "79.5/95.6, 62.8/89.9, 79.9/95.4, 83.8/96.4, 87.4/96.2",
    ("VisA", 4): "81.7/96.6, 72.8/93.2, 85.3/96.8, 87.3/97.2, 90.6/96.7",
}


def test_published_figures_are_those_of_the_reports():
    known = {one.name: one for one in published_sets()}
    assert (len(known["MVTec-AD"].categories), len(known["VisA"].categories)) == (15, 12)
    for (name, shots), printed in PRINTED.items():
        rows = [known[name].figures[method][shots] for method in list(METHODS)[:5]]
        assert ", ".join(f"{i.mean}/{p.mean}" for i, p in rows) == printed
    assert known["MVTec-AD"].accuracy["AnomalyGPT"][1] == Figure(86.1, 1.1)
    assert [f.mean for f in known["VisA"].accuracy["AnomalyGPT"].values()] == [77.4, 77.5, 77.7]


def contests(shots=SHOTS, only=tuple(METHODS)):
    """Made results: image AUROC 0.9, pixel AUROC 0.8 for every method, spread 0.01 over 5 draws."""
    spreads = dict.fromkeys(METRICS, Spread(mean=None, std=None))
    spreads |= {name: Spread(mean=mean, std=0.01) for name, mean in
                (("image_auroc", 0.9), ("pixel_auroc", 0.8))}  # fmt: skip
    line = Line(title="mean", runs=5, paired=False, pictures=9, metrics=spreads)
    entries = [Entry(METHODS[name], "lite", (line,)) for name in only]
    return [Contest(shots=one, halves=False, entries=entries) for one in shots]


def setting(categories, tmp_path, **changes):
    samples = [Sample(image=tmp_path / "a.png", label="normal", category=c) for c in categories]
    return Setting.of(samples, ComparisonConfig(shots=SHOTS, **changes), "mine")


def test_published_figures_stand_beside_ours_only_on_their_own_set(tmp_path):
    mvtec, visa = published_sets()
    for known, other in ((mvtec, visa), (visa, mvtec)):
        both, apart = sections(contests(), setting(known.categories, tmp_path))
        assert both.title == f"Measured and reported on {known.name}"
        assert apart.title == f"Reported on {other.name}"
        origins = [(row.method, row.origin) for row in both.rows]
        assert origins[:3] == [("SPADE", "measured"), ("SPADE", "quoted"), ("PaDiM", "measured")]
        assert len(origins) == 6 + 5
    for categories in (["bolt"], list(mvtec.categories)[:14], [*mvtec.categories, "bolt"]):
        mine, *apart = sections(contests(), setting(categories, tmp_path))
        assert {row.origin for row in mine.rows} == {"measured"}
        assert [one.title for one in apart] == ["Reported on MVTec-AD", "Reported on VisA"]
        assert all(row.origin == "quoted" for one in apart for row in one.rows)


def test_every_cell_says_where_it_is_from_or_why_it_is_empty(tmp_path):
    found = sections(contests((1, 2), ("SPADE", "ours")), setting(["bolt"], tmp_path))
    text = as_markdown(found, SHOTS)
    rows = {}
    for line in text.splitlines():
        if line.startswith("| ") and "---" not in line and "method" not in line:
            method, _, *cells = line.strip("| ").split(" | ")
            rows.setdefault(method, []).append(cells)
    measured = "90.0 ± 1.0 / 80.0 ± 1.0 (measured)"
    assert rows["ours"] == [[measured, measured, "not measured yet"]]
    assert all("--clip DIR" in cell for cell in rows["WinCLIP"][0])
    assert rows["WinCLIP"][1][0] == "93.1 / 95.2 (quoted)"
    assert rows["SPADE"][2][1] == "not in the source"
    every = [cell for method in rows.values() for cells in method for cell in cells]
    assert len(every) == 3 * (6 + 5 + 5)
    assert all(re.search(r"\((measured|quoted)\)$|^not ", cell) for cell in every)
    given = sections(contests((1,), ("ours",)), setting(["bolt"], tmp_path, clip="there"))
    assert given[0].rows[3].text(1) == "not measured yet"


def test_what_a_reader_must_know_of_the_measured_figures_is_said(tmp_path):
    picture, mask = tmp_path / "a.png", tmp_path / "m.png"
    samples = [
        Sample(image=picture, label="anomalous", category="bolt", mask=mask),
        Sample(image=picture, label="anomalous", category="board", reference=picture),
    ]
    config = ComparisonConfig(seeds=1, max_pictures=20)
    said = Setting.of(samples, config, "mine").said()
    assert "over 2 categories" in said and "one draw of" in said and "at most 20 test" in said
    assert "pixel AUROC over the 1 whose defects have masks" in said
    assert "board: each picture has a reference of its own" in said


def test_lines_are_drawn_of_what_is_known_only(tmp_path):
    found = sections(contests((1, 2), ("SPADE", "ours")), setting(["bolt"], tmp_path))
    image, pixel, quoted, *_ = draw(found, SHOTS).axes
    assert [len(one.containers) for one in (image, pixel, quoted)] == [2, 2, 5]
    line = image.containers[0].lines[0]
    assert np.allclose(line.get_ydata(), [90, 90]) and line.get_linestyle() == "-"
    assert quoted.containers[0].lines[0].get_linestyle() == "--"


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_study_goes_on_and_its_page_holds_everything(tmp_path):
    drawn = SetConfig(family="pill", size_px=96, train=3, test_good=2, test_bad=2)
    write_dataset(tmp_path / "set" / "pills", drawn)
    assert len(list(csv.reader((tmp_path / "set" / "pills" / "index.csv").open()))) == 8
    clip = save_clip(tmp_path / "clip")
    command = ["study", "few-shot", str(tmp_path / "set"), "--shots", "1,2", "--seeds", "2",
               "--clip", str(clip), "--out", str(tmp_path / "out")]  # fmt: skip
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "few-shot.md").read_text()
    mine = text.split("## ")[1]
    assert mine.startswith("Measured on set") and mine.count("(measured)") == 2 * 6
    assert "not measured" not in mine
    page = (tmp_path / "out" / "few-shot.html").read_text()
    assert "data:image/png;base64," in page and "://" not in page
    runs = {run: run.stat().st_mtime_ns for run in (tmp_path / "out").rglob("seed-*.json")}
    assert len(runs) == 2 * 2 * 6
    again = CliRunner().invoke(app, command, catch_exceptions=False)
    assert text in again.output
    assert runs == {run: run.stat().st_mtime_ns for run in runs}  # nothing was measured again
