"""The study of networks: every arm trained at a tiny size, its tables, its paper."""

import json
import sys
from dataclasses import replace
from html import unescape

import cv2
import numpy as np
import pytest

from anomalyst.cli.main import main
from anomalyst.training.studies.networks import findings, tables
from anomalyst.training.studies.networks.plan import GROUPS, NETWORKS, arms_of
from anomalyst.training.studies.networks.results import read_results, write_results

TINY = ("size=32", "params=12k", "epochs=1", "batch=8", "precision=float32", "warmup_steps=1")


@pytest.fixture(scope="module")
def dots(tmp_path_factory):
    """Grey noise, with a bright dot or without: 24 pictures to learn from, 16 to test."""
    root, random = tmp_path_factory.mktemp("dots"), np.random.default_rng(0)
    for number in range(40):
        picture = random.integers(60, 120, (32, 32), dtype=np.uint8)
        name = ("good", "dot")[number % 2]
        if name == "dot":
            x, y = random.integers(6, 26, 2)
            cv2.circle(picture, (int(x), int(y)), 4, 250, -1)
        folder = root / ("train" if number < 24 else "test") / name
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:03d}.png"), picture)
    return root


@pytest.fixture(scope="module")
def studied(dots, tmp_path_factory):
    """A study of both kinds of learning with two seeds, by the command."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("study")
    words = ["anomalyst", "study", "networks", str(dots), *TINY, "--seeds", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [*words, "--groups", "scratch,distilled", "--out", str(out)])
        with pytest.raises(SystemExit) as stop:
            main()
    torch.set_num_threads(threads)
    assert not stop.value.code
    return out


def test_every_arm_is_trained_and_told(studied):
    results = read_results(studied)
    arms = arms_of(("scratch", "distilled"))
    assert [one.arm for one in results.trained] == [arm.name for arm in arms] * 2
    assert results.counts == {"train": {"good": 12, "dot": 12}, "test": {"good": 8, "dot": 8}}
    for one in results.trained:
        assert 0.8 * 12_000 < one.parameters < 1.25 * 12_000, one.arm
        assert one.figures.count == 16 and one.curve[-1]["step"] == 3
    taught = json.loads((studied / "runs" / "deit-of-vgg-hard-1" / "recipe.json").read_text())
    assert taught["teacher"] == str(studied / "runs" / "vgg-1") and taught["distil"] == "hard"
    assert [one.name for one in results.costs] == list(NETWORKS)
    text = (studied / "networks.md").read_text(encoding="utf-8")
    assert all(arm.name in text for arm in arms) and "0.9988" in text
    paper = unescape((studied / "vit-vs-cnn.html").read_text(encoding="utf-8"))
    assert all(sentence in paper for sentence in findings.conclusions(results))


def test_differences_are_those_of_the_predictions(studied):
    """DeLong's difference of two arms is the difference of their areas."""
    results = read_results(studied)
    best = results.best()
    for arm, found in results.against_best.items():
        wanted = [a - b for a, b in zip(results.aurocs(arm), results.aurocs(best), strict=True)]
        assert [one.value for one in found] == pytest.approx(wanted, abs=1e-4)  # six decimals kept


def test_the_same_command_trains_nothing_anew(studied, dots, monkeypatch):
    before = (studied / "runs" / "vit-0" / "model" / "model.safetensors").stat().st_mtime_ns
    words = ["study", "networks", dots, *TINY, "--seeds", "2", "--out", studied]
    monkeypatch.setattr(sys, "argv", ["anomalyst", *map(str, words), "--groups", "scratch"])
    with pytest.raises(SystemExit):
        main()
    after = (studied / "runs" / "vit-0" / "model" / "model.safetensors").stat().st_mtime_ns
    assert before == after


def test_another_study_and_no_group_are_refused(studied, dots, refused):
    said = refused("study", "networks", dots, "size=48", "--out", studied)
    assert "holds a study with overrides" in said
    said = refused("study", "networks", dots, "--groups", "scratch,ablations")
    assert "there is no 'ablations'" in said


def test_sentences_follow_the_figures(studied):
    """Better, worse or undecided, by the interval over seeds."""
    results = read_results(studied)

    def with_areas(values):
        """Three seeds of vit and resnet with these areas."""
        rows = []
        for arm, areas in values.items():
            [model, *_] = results.of(arm)
            for seed, value in enumerate(areas):
                area = replace(model.figures.area, value=value)
                rows.append(replace(model, seed=seed, figures=replace(model.figures, area=area)))
        return replace(results, trained=tuple(rows))

    clear = with_areas({"vit": [0.7, 0.71, 0.72], "resnet": [0.8, 0.81, 0.83]})
    assert "worse over 3 seeds" in findings.comparison(clear, "vit", "resnet")
    assert "better over 3 seeds" in findings.comparison(clear, "resnet", "vit")
    unclear = with_areas({"vit": [0.7, 0.9, 0.8], "resnet": [0.8, 0.81, 0.83]})
    assert "undecided" in findings.comparison(unclear, "vit", "resnet")
    assert tables.quality(clear, ["vit"]).rows[0][3].startswith("0.7100 ± 0.0248")  # t(2) 4.303


def test_results_come_back_as_they_were(studied, tmp_path):
    results = read_results(studied)
    write_results(tmp_path, results)
    assert read_results(tmp_path) == results


def test_arms_differ_in_more_than_their_names(dots, tmp_path):
    from anomalyst.training.studies.networks.study import NetworksConfig, recipe_of

    config = NetworksConfig(data=dots, overrides=TINY)
    arms = [arm for arm in arms_of(GROUPS) if arm.group in ("scratch", "normalised")]
    recipes = [recipe_of(config, arm, tmp_path) for arm in arms]
    assert len({arm.name for arm in arms}) == len(set(map(repr, recipes))) == len(arms)
