"""Why a picture fails, on maps made by hand."""

import json
from pathlib import Path

import numpy as np

from anomalyst.datasets import read_dataset
from anomalyst.evaluation.protocols.protocol import ProtocolConfig, evaluate
from anomalyst.evaluation.reports.failures import Judged, reason, worst
from anomalyst.evaluation.reports.results_page import write_results_page

CELLS = (24, 24)


def look(score, *spots, label="anomalous", mask=None, level=0.0, name="a.png"):
    """A map with spots (y, x, height) and a mask of one 4 x 4 square."""
    heat = np.full(CELLS, level, np.float16)
    for y, x, height in spots:
        heat[y, x] = height
    covered = None if mask is None else np.zeros(CELLS, bool)
    if mask is not None:
        covered[mask[0] : mask[0] + 4, mask[1] : mask[1] + 4] = True
    if label == "normal":
        covered = np.zeros(CELLS, bool)
    share = 0.0 if covered is None else float(covered.mean())
    return Judged(name, label, "" if label == "normal" else "dent", score, heat, covered, share)


def test_a_defect_that_is_found_not_seen_or_outshone():
    found = look(1, (3, 3, 0.8), (20, 20, 0.4), mask=(2, 2))
    assert reason(found, [], 0.25).startswith("Found: 0.80 there, 0.40 elsewhere; 25% of the good")
    assert "no good picture scores higher" in reason(found, [], 0.0)
    outshone = look(1, (3, 3, 0.2), (20, 20, 0.6), mask=(2, 2))
    assert reason(outshone, [], 0.5).startswith("Outshone: 0.60 at the lower right, 0.20 in the")
    unseen = look(1, mask=(2, 2), level=0.3)
    unseen.map[2:6, 2:6] = 0.1
    assert reason(unseen, [], 0.5).startswith("Not seen: the map reaches 0.10 in the defect")


def test_a_defect_of_a_few_pixels_is_said_to_be_small():
    tiny = look(1, (3, 3, 0.8), mask=(2, 2))
    small = Judged(tiny.image, "anomalous", "dent", 1, tiny.map, tiny.mask, (6 / 256) ** 2)
    assert reason(small, [], 0.5).endswith("It is small: 6 px across on the canvas.")
    assert "small" not in reason(tiny, [], 0.5)


def test_a_sound_picture_alarms_by_a_restless_place_a_raised_map_or_a_spot_of_its_own():
    def normal(*spots, level=0.0):
        return look(0, *spots, label="normal", level=level)

    one = normal((2, 20, 0.9))
    restless = [normal((3, 21, 0.7)), normal((1, 19, 0.6)), normal()]
    assert reason(one, restless, 0.4).startswith("A restless place: 67% of the good pictures")
    assert "upper right" in reason(one, restless, 0.4)
    assert reason(one, [normal(), normal()], 0.4).startswith("Only here: 0.90 at the upper right")
    raised = normal((2, 20, 0.9), level=0.5)
    assert reason(raised, [normal(level=0.1)] * 3, 0.4).startswith("The whole map is raised")


def test_without_a_mask_the_sentence_says_so():
    assert reason(look(1, (12, 12, 0.5)), [], 0.5).endswith("No mask says where the defect is.")


def test_the_worst_lose_most_pairs_then_point_elsewhere():
    normal = [look(s, label="normal", name=f"g{s}") for s in (1, 2, 3)]
    bad = [
        look(0, mask=(2, 2), name="below all"),
        look(2.5, mask=(2, 2), name="above two"),
        look(9, (3, 3, 0.9), mask=(2, 2), name="right"),
        look(9, (20, 3, 0.9), mask=(2, 2), name="elsewhere"),
    ]
    found = worst([*normal, *bad], 20)
    assert found[0].judged.image == "below all" and found[0].pairs_lost == 1
    assert [f.pairs_lost for f in found] == sorted((f.pairs_lost for f in found), reverse=True)
    assert "elsewhere" in [f.judged.image for f in found]
    assert len(worst([*normal, *bad], 2)) == 2 and worst([*normal, *bad], 0) == []


def test_an_evaluation_leaves_a_page_of_real_failures(cookie: Path, inspector, tmp_path: Path):
    samples = [s for s in read_dataset(cookie.parent) if s.category == "cookie"]
    config = ProtocolConfig(seeds=1, max_pictures=12, worst=5)
    results = evaluate(inspector, samples, config, out=tmp_path)
    write_results_page(results, tmp_path)
    kept = json.loads((tmp_path / "worst" / "cookie.json").read_text())
    assert 0 < len(kept) <= 5 and all(one["reason"].endswith(".") for one in kept)
    page = (tmp_path / "results.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2 * len(kept)
    assert f"{100 * results.runs[0].metrics['image_auroc']:.1f}" in page
