"""Protocols, resumption, tables and the command, driven by a plain pixel comparison."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalyst.cli.evaluation import evaluate as command
from anomalyst.datasets import read_dataset
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.evaluation.protocols.protocol import ProtocolConfig, Results, evaluate
from anomalyst.evaluation.protocols.run_records import Run, read_rows
from anomalyst.evaluation.reports.cases import Extremes
from anomalyst.evaluation.reports.plots import draw_curves
from anomalyst.evaluation.reports.tables import as_markdown, summarise, write_tables
from anomalyst.io.pictures import open_picture, shrink_mask
from anomalyst.types import Inspection, Sample

DATA = Path(__file__).parents[1].parent / "shared" / "data"
SIZE_HW = (48, 64)


class PixelDifference:
    """A golden-sample comparison: how far each pixel is from the nearest reference picture."""

    name = "pixel difference"
    fingerprint = "mean over colours, nearest reference"

    def __init__(self):
        self.taught = []

    def untaught(self):
        return np.full((1, 1, 1, 3), 0.5, np.float32)

    def teach(self, name, good, *, adapted=True):  # noqa: ARG002
        self.taught.append(tuple(path.name for path in good))
        return np.stack([open_picture(path).astype(np.float32) / 255 for path in good])

    def named(self, category):  # noqa: ARG002
        return self

    def inspect_many(self, images, product, *, false_alarm_rate=0.05):
        for image in images:
            try:
                picture = open_picture(image).astype(np.float32) / 255
            except PictureError as error:
                yield error
                continue
            difference = np.abs(product - picture).mean(axis=3).min(axis=0)
            score = float(difference.max())
            yield Inspection(
                image=image,
                size_hw=picture.shape[:2],
                map=difference,
                score=score,
                p_value=max(1e-3, 1 - score),
                verdict="anomalous" if score > 0.3 else "unsure" if score > 0.2 else "normal",
                notes=(f"{false_alarm_rate:g} is not kept: the limits are fixed.",),
                regions=(),
                answer="",
                seconds={"look": 0.25, "compare": 0.5},
            )


def save(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
    return path


def grey(rng, level=120):
    return rng.integers(level - 10, level + 10, (*SIZE_HW, 3), dtype=np.uint8)


def make_category(root, name, *, masks=True, num=4, seed=0):
    """Grey noise; a defect is a white square of 8 x 8 pixels."""
    rng = np.random.default_rng(seed)
    folder = root / name
    for i in range(num):
        save(folder / "train" / "good" / f"{i}.png", grey(rng))
        save(folder / "test" / "good" / f"{i}.png", grey(rng))
        picture, mask = grey(rng), np.zeros(SIZE_HW, np.uint8)
        picture[8:16, 8 * i : 8 * i + 8] = 255
        mask[8:16, 8 * i : 8 * i + 8] = 255
        save(folder / "test" / "spot" / f"{i}.png", picture)
        if masks:
            save(folder / "ground_truth" / "spot" / f"{i}_mask.png", mask)
    return folder


@pytest.fixture
def two(tmp_path):
    make_category(tmp_path / "set", "nut")
    make_category(tmp_path / "set", "washer", masks=False, seed=1)
    return read_dataset(tmp_path / "set")


CONFIG = ProtocolConfig(shots=2, seeds=2, map_side_px=64)


def test_every_category_and_seed_is_run_and_kept(two, tmp_path):
    steps = []
    results = evaluate(PixelDifference(), two, CONFIG, out=tmp_path / "out", progress=steps.append)
    assert [(r.category, r.seed) for r in results.runs] == [
        ("nut", 0), ("nut", 1), ("washer", 0), ("washer", 1)
    ]  # fmt: skip
    nut = results.runs[0]
    assert (nut.pictures, nut.pixel_pictures, len(nut.references)) == (8, 8, 2)
    assert nut.metrics["image_auroc"] == nut.metrics["pixel_aupro_30"] == 1.0
    assert (nut.metrics["false_alarm_rate"], nut.metrics["miss_rate"]) == (0.0, 0.0)
    assert nut.metrics["seconds_per_picture"] == 0.75
    rows = read_rows(tmp_path / "out", nut)
    assert [row.label for row in rows] == ["normal"] * 4 + ["anomalous"] * 4
    assert rows[-1].defect == "spot"
    assert rows[-1].path.endswith("nut/test/spot/3.png")
    assert rows[-1].verdict == "anomalous"
    assert (steps[-1].pictures_done, steps[-1].pictures_total) == (32, 32)
    assert (tmp_path / "out" / "sheets" / "washer.png").stat().st_size > 10_000
    assert [p.name for p in draw_curves(results.runs, tmp_path / "out")] == [
        "nut.png", "washer.png"
    ]  # fmt: skip


def test_a_category_without_masks_has_picture_metrics_only(two, tmp_path):
    washer = evaluate(PixelDifference(), two, CONFIG, out=tmp_path / "out").runs[2]
    assert washer.metrics["image_auroc"] == 1.0
    assert washer.metrics["pixel_auroc"] is washer.metrics["pixel_aupro_05"] is None
    assert washer.pixel_pictures == 4


def test_an_interrupted_evaluation_goes_on_and_ends_the_same(two, tmp_path):
    whole = evaluate(PixelDifference(), two, CONFIG, out=tmp_path / "whole")

    def pull_the_plug(step):
        if (step.category, step.seed, step.pictures_done) == ("washer", 0, 20):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(PixelDifference(), two, CONFIG, out=tmp_path / "cut", progress=pull_the_plug)
    steps = []
    again = PixelDifference()
    resumed = evaluate(again, two, CONFIG, out=tmp_path / "cut", progress=steps.append)
    assert {(s.category, s.seed) for s in steps} == {("washer", 0), ("washer", 1)}
    assert steps[-1].pictures_total == 16
    assert len(again.taught) == 2
    still = [replace(run, teach_seconds=0.0) for run in whole.runs]
    assert [replace(run, teach_seconds=0.0) for run in resumed.runs] == still
    assert not list((tmp_path / "cut").rglob(".part-*"))


def test_another_protocol_or_other_pictures_are_refused_in_the_same_folder(two, tmp_path):
    out = tmp_path / "out"
    evaluate(PixelDifference(), two, CONFIG, out=out)
    with pytest.raises(AnomalystError, match=r"evaluation with shots = 2, this one has 4; choose"):
        evaluate(PixelDifference(), two, replace(CONFIG, shots=4), out=out)
    other = PixelDifference()
    other.fingerprint = "farthest reference"
    with pytest.raises(AnomalystError, match="fingerprint = .* this one has 'farthest reference'"):
        evaluate(other, two, CONFIG, out=out)
    with pytest.raises(AnomalystError, match="made on other pictures of 'nut'"):
        evaluate(PixelDifference(), two[1:], CONFIG, out=out)


def test_a_damaged_record_is_named(two, tmp_path):
    evaluate(PixelDifference(), two, CONFIG, out=tmp_path)
    (tmp_path / "runs" / "nut" / "seed-0.json").write_text("{")
    with pytest.raises(AnomalystError, match=r"seed-0.json: cannot be read .* delete it"):
        evaluate(PixelDifference(), two, CONFIG, out=tmp_path)


def paired_samples(folder):
    """Two layouts of one product; each picture is like its own reference only."""
    rng = np.random.default_rng(0)
    samples = []
    for level in (60, 200):
        reference = save(folder / f"golden-{level}.png", grey(rng, level))
        for i, label in enumerate(("normal", "normal", "anomalous")):
            picture = grey(rng, level)
            if label == "anomalous":
                picture[20:28, 20:28] = 255 - level
            samples.append(
                Sample(
                    image=save(folder / f"{level}-{i}.png", picture),
                    label=label,
                    category="board",
                    reference=reference,
                )
            )
    return samples


def test_paired_pictures_are_compared_with_their_own_reference_once(tmp_path):
    inspector = PixelDifference()
    samples = paired_samples(tmp_path)
    results = evaluate(inspector, samples, replace(CONFIG, seeds=5), out=tmp_path / "out")
    (run,) = results.runs
    assert run.paired
    assert sorted(inspector.taught) == [("golden-200.png",), ("golden-60.png",)]
    assert run.metrics["image_auroc"] == 1.0
    rows = read_rows(tmp_path / "out", run)
    assert [row.label for row in rows] == ["normal"] * 4 + ["anomalous"] * 2
    (line,), _ = summarise(results)
    assert line.metrics["image_auroc"].std == 0
    assert "board (paired)" in as_markdown(results)
    assert as_markdown(results).count("0.05 is not kept: the limits are fixed.") == 1


def test_a_half_paired_category_is_refused(tmp_path):
    samples = paired_samples(tmp_path)
    samples[0] = replace(samples[0], reference=None)
    with pytest.raises(AnomalystError, match="1 of the 6 test pictures of 'board' have no ref"):
        evaluate(PixelDifference(), samples, CONFIG, out=tmp_path / "out")


def test_a_broken_reference_costs_its_own_pictures_only(tmp_path):
    samples = paired_samples(tmp_path)
    (tmp_path / "golden-60.png").write_bytes(b"")
    steps = []
    (run,) = evaluate(
        PixelDifference(), samples, CONFIG, out=tmp_path / "out", progress=steps.append
    ).runs
    assert run.pictures == 3
    assert [Path(s.path).name for s in run.skipped] == [
        "golden-60.png", "60-0.png", "60-1.png", "60-2.png"
    ]  # fmt: skip
    assert steps[-1].pictures_done == 6


def test_broken_pictures_and_masks_are_listed_and_skipped(two, tmp_path):
    folder = tmp_path / "set" / "nut"
    (folder / "test" / "spot" / "1.png").write_bytes(b"not a picture")
    save(folder / "ground_truth" / "spot" / "2_mask.png", np.zeros((9, 9), np.uint8))
    results = evaluate(PixelDifference(), two, CONFIG, out=tmp_path / "out")
    assert results.runs[0].pictures == 6
    assert results.runs[0].metrics["image_auroc"] == 1.0
    listed = {Path(s.path).name: s.reason for s in results.skipped}
    assert set(listed) == {"1.png", "2_mask.png"}
    assert "not a picture" in listed["1.png"]
    assert "9x9 pixels, its picture is 64x48" in listed["2_mask.png"]
    assert "1.png: is not a picture" in as_markdown(results)


def test_a_broken_training_picture_is_replaced_by_another_draw(two, tmp_path):
    for i in (0, 1):
        (tmp_path / "set" / "nut" / "train" / "good" / f"{i}.png").write_bytes(b"")
    nuts = [s for s in two if s.category == "nut"]
    results = evaluate(PixelDifference(), nuts, CONFIG, out=tmp_path / "out")
    for run in results.runs:
        assert {Path(path).name for path in run.references} == {"2.png", "3.png"}
    (tmp_path / "set" / "nut" / "train" / "good" / "2.png").write_bytes(b"")
    with pytest.raises(AnomalystError, match="2 normal training pictures were asked for"):
        evaluate(PixelDifference(), nuts, CONFIG, out=tmp_path / "more")


def test_all_shots_make_one_run_with_every_reference(two, tmp_path):
    results = evaluate(PixelDifference(), two, replace(CONFIG, shots="all"), out=tmp_path)
    assert [(r.category, r.seed, len(r.references)) for r in results.runs] == [
        ("nut", 0, 4), ("washer", 0, 4)
    ]  # fmt: skip


def test_fewer_pictures_keep_both_labels_and_unlabelled_ones_are_left_out(two, tmp_path):
    unknown = replace(two[0], split="test", label=None)
    config = replace(CONFIG, max_pictures=3, seeds=1)
    run = evaluate(PixelDifference(), [*two, unknown], config, out=tmp_path).runs[0]
    labels = [row.label for row in read_rows(tmp_path, run)]
    assert labels == ["normal", "anomalous", "anomalous"] or labels == ["normal"] * 2 + [
        "anomalous"
    ]


def test_a_category_that_cannot_be_run_is_refused_before_anything_is_written(two, tmp_path):
    train_only = [s for s in two if s.split == "train"]
    with pytest.raises(AnomalystError, match="'nut' has no test pictures whose label is known"):
        evaluate(PixelDifference(), train_only, CONFIG, out=tmp_path / "out")
    twins = [replace(two[0], category=name, split="test") for name in ("a b", "a/b")]
    with pytest.raises(AnomalystError, match="2 categories would both be kept as 'a_b'"):
        evaluate(PixelDifference(), twins, CONFIG, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"shots": -1}, "shots is -1"),
        ({"seeds": 0}, "seeds is 0"),
        ({"map_side_px": 8}, "map_side_px is 8"),
        ({"false_alarm_rate": 1.0}, "false_alarm_rate is 1.0"),
        ({"max_pictures": 1}, "max_pictures is 1"),
    ],
)
def test_a_protocol_that_makes_no_sense_is_refused(values, sentence):
    with pytest.raises(AnomalystError, match=sentence):
        ProtocolConfig(**values)


def test_a_shrunk_mask_needs_more_than_half_but_a_thin_one_does_not_vanish():
    mask = np.zeros((8, 8), bool)
    mask[:4, :6] = True
    wanted = np.array([[True, True, True, False]] * 2 + [[False] * 4] * 2)
    assert np.array_equal(shrink_mask(mask, (4, 4)), wanted)
    assert np.array_equal(shrink_mask(mask, (2, 2)), [[True, False], [False, False]])
    line = np.zeros((8, 8), bool)
    line[3] = True
    assert np.array_equal(shrink_mask(line, (2, 2)), [[True, True], [False, False]])
    assert not shrink_mask(np.zeros((8, 8), bool), (2, 2)).any()


def test_the_sheet_keeps_the_extremes_in_whatever_order_they_come(tmp_path):
    path = save(tmp_path / "a.png", grey(np.random.default_rng(0)))
    answer = next(PixelDifference().inspect_many([path], np.zeros((1, *SIZE_HW, 3), np.float32)))
    for scores in ([5, 1, 4, 2, 3, 0], [0, 1, 2, 3, 4, 5]):
        extremes = Extremes(num_each=2, side_px=16)
        for score in scores:
            sample = Sample(image=path, label="anomalous" if score % 2 else "normal")
            extremes.offer(sample, replace(answer, score=float(score)), None)
        found = {title: [c.score for c in cases] for title, cases in extremes.groups().items()}
        assert found == {
            "Defects scored lowest": [1, 3],
            "Good pictures scored highest": [4, 2],
            "Defects scored highest": [5],
            "Good pictures scored lowest": [0],
        }


def run_with(category, seed, value, *, paired=False):
    return Run(
        category=category,
        seed=seed,
        paired=paired,
        references=(),
        pictures=10,
        pixel_pictures=10,
        metrics={"image_auroc": value, "pixel_ap": None},
        teach_seconds=0.0,
        digest="",
    )


def test_means_and_spreads_are_those_worked_out_by_hand(tmp_path):
    runs = (
        run_with("bolt", 0, 0.8),
        run_with("bolt", 1, 1.0),
        run_with("nut", 0, 0.5, paired=True),
    )
    results = Results(inspector="hand", config=replace(CONFIG, seeds=2), runs=runs)
    (bolt, nut), mean = summarise(results)
    assert bolt.metrics["image_auroc"].mean == pytest.approx(0.9)
    assert bolt.metrics["image_auroc"].std == pytest.approx(0.02**0.5)
    assert nut.metrics["image_auroc"].std == 0.0
    assert bolt.metrics["pixel_ap"].mean is None
    # Seed 0: (0.8 + 0.5) / 2 = 0.65; seed 1: (1.0 + 0.5) / 2 = 0.75.
    assert mean.metrics["image_auroc"].mean == pytest.approx(0.7)
    assert mean.metrics["image_auroc"].std == pytest.approx(0.005**0.5)
    write_tables(results, tmp_path)
    assert "| bolt | 2 | 10 | 90.0 ± 14.1 | - |" in (tmp_path / "results.md").read_text()
    record = json.loads((tmp_path / "results.json").read_text())
    assert record["mean"]["metrics"]["image_auroc"]["mean"] == pytest.approx(0.7)
    lines = (tmp_path / "results.csv").read_text().splitlines()
    assert lines[0].startswith("category,runs,paired,pictures,image_auroc_mean,image_auroc_std")
    assert lines[2].startswith("nut,1,True,10,0.5,0.0,,,")


def test_the_command_prints_json_alone_or_a_table_and_the_folder(two, tmp_path, capsys):
    command.run(PixelDifference(), two, CONFIG, out=tmp_path, as_json=True)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == json.loads((tmp_path / "results.json").read_text())
    command.run(PixelDifference(), two, CONFIG, out=tmp_path, as_json=False)
    printed = capsys.readouterr().out
    assert "washer" in printed and "mean" in printed
    assert str(tmp_path) in printed.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--shots", "none"], "--shots is 'none'; a number from 0, or all, is needed"),
        (["--shots", "few"], "--shots is 'few'; a number from 0, or all, is needed"),
        (["--category", "screw"], "has no category 'screw'; it has 'nut', 'washer'"),
    ],
)
def test_the_command_refuses_with_a_sentence_and_exit_code_2(
    two, tmp_path, refused, arguments, sentence
):
    assert two
    assert sentence in refused("evaluate", tmp_path / "set", *arguments)


def test_real_boards_are_told_apart_by_their_own_template(tmp_path):
    if not (DATA / "pcb_bare").is_dir():
        pytest.skip("needs ../shared/data/pcb_bare beside the project")
    samples = read_dataset(DATA, category="pcb_bare")
    config = replace(CONFIG, shots=1, seeds=1, max_pictures=24, map_side_px=128)
    alone = [replace(sample, reference=None) for sample in samples]
    (own,) = evaluate(PixelDifference(), samples, config, out=tmp_path / "own").runs
    (any_,) = evaluate(PixelDifference(), alone, config, out=tmp_path / "any").runs
    assert own.paired
    assert not any_.paired
    assert own.pictures == own.pixel_pictures == any_.pictures == 24
    # Boards lie up to a pixel beside their template, so that plain differences find little; but
    # what they find, they find only against the right template.
    assert own.metrics["pixel_ap"] > 4 * any_.metrics["pixel_ap"]


def test_zero_shot_teaches_nothing_and_pairs_nothing(two, tmp_path):
    method = PixelDifference()
    config = ProtocolConfig(shots=0, seeds=3)
    results = evaluate(method, two, config, out=tmp_path)
    assert method.taught == []
    assert [(run.seed, run.paired, run.references) for run in results.runs] == [(0, False, ())] * 2
