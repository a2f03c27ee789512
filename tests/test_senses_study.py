"""The study of six senses: its metrics against plain loops, and a tiny run of the command."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.synthetic.procedural.families import FAMILIES, HELD_OUT
from anomalyst.synthetic.senses import make_sensed_part
from anomalyst.synthetic.senses.conditions import CONDITIONS
from anomalyst.training.studies.senses.detection import by_distance, plain_patches, recordings
from anomalyst.training.studies.senses.retrieval import all_recalls, ranks, recall
from anomalyst.training.studies.senses.zero_shot import (
    condition_prompts,
    described,
    family_prompts,
    mean_recall,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def units(count: int, seed: int, width: int = 6) -> torch.Tensor:
    numbers = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, width, generator=numbers), dim=1)


def test_ranks_and_recall_are_what_a_loop_finds():
    queries, keys = units(40, 0), units(40, 1)
    plain_ranks = []
    for i in range(40):
        own = sum(float(a) * float(b) for a, b in zip(queries[i], keys[i], strict=True))
        others = [float(queries[i] @ keys[j]) for j in range(40) if j != i]
        plain_ranks.append(sum(one > own for one in others))
    assert ranks(queries, keys).tolist() == plain_ranks
    found = recall("image", "text", {"image": queries, "text": keys}, paired=True, gallery=40)
    assert found.found == {1: sum(r < 1 for r in plain_ranks), 5: sum(r < 5 for r in plain_ranks)}


def test_every_question_is_asked_in_its_own_gallery():
    queries = units(30, 2)
    keys = queries.clone()
    keys[20:] = units(10, 3)
    found = recall("a", "b", {"a": queries, "b": keys}, paired=False, gallery=10)
    assert found.asked == 30 and found.gallery == 10 and found.found[1] >= 20


def test_a_collapsed_space_finds_nothing():
    same = units(1, 4).expand(20, -1)
    assert recall("a", "b", {"a": same, "b": same}, paired=True, gallery=20).found == {1: 0, 5: 0}


def test_chance_is_not_beaten_by_chance_and_is_by_knowing():
    vectors = {"image": units(400, 5, 32), "depth": units(400, 6, 32)}
    vectors["imu"] = F.normalize(vectors["image"] + units(400, 7, 32), dim=1)
    cells = {(one.query, one.key): one for one in all_recalls(vectors)}
    assert len(cells) == 6 and not cells["depth", "imu"].paired and cells["image", "imu"].paired
    assert not cells["image", "depth"].beats_chance(5)
    assert cells["image", "imu"].beats_chance(1)
    low, high = cells["image", "imu"].interval(1)
    assert low < cells["image", "imu"].share(1) < high


def test_a_mean_over_classes_weighs_rare_ones_alike():
    answers, labels = torch.tensor([0, 0, 0, 0, 1, 0]), torch.tensor([0, 0, 0, 0, 1, 1])
    assert mean_recall(answers, labels) == pytest.approx((1.0 + 0.5) / 2)


def test_every_class_has_its_own_prompts():
    told = [tuple(condition_prompts(name)) for name in CONDITIONS]
    assert len({text for texts in told for text in texts}) == sum(map(len, told))
    assert len({tuple(family_prompts(name)) for name in FAMILIES}) == len(FAMILIES)
    assert len({tuple(described(name)) for name in HELD_OUT}) == len(HELD_OUT)


def test_plain_patches_of_a_vibration_show_its_orders():
    turn = np.arange(2000) / 400 * 30.0
    values = torch.zeros(9, 6, 2000)
    values[:, 0] = torch.from_numpy(np.cos(2 * np.pi * turn)).float()
    patches = plain_patches("imu", values)
    assert patches.shape == (9, 606, 1, 10)
    assert patches[8].mean(2)[:, 0].argmax() == 15  # 30 Hz in steps of 2 Hz
    assert recordings([make_sensed_part(1)], "imu")[0].shape == (2000, 6)


def test_beside_a_constant_the_bank_ranks_patches_as_their_distance_does():
    patches = torch.randn(20, 6, 1, 1, generator=torch.Generator().manual_seed(3))
    plain = by_distance(patches)[..., 0, 0]
    cosine = 1 - F.normalize(plain, dim=1) @ F.normalize(plain, dim=1).T
    straight = torch.cdist(patches[..., 0, 0], patches[..., 0, 0])
    order = [
        torch.corrcoef(torch.stack([a, b**2]))[0, 1] for a, b in zip(cosine, straight, strict=True)
    ]
    assert min(order) > 0.97


@pytest.mark.slow
def test_the_command_trains_judges_and_goes_on(tmp_path):
    root = Path(__file__).parents[1]
    words = [
        *("study", "senses", "--parts", "80", "--held-out", "12", "--bind-steps", "2"),
        *("--clip-steps", "2", "--way-steps", "2", "--probe-steps", "2", "--products", "1"),
        *("--out", str(tmp_path)),
    ]
    before = Path.cwd()
    os.chdir(root)
    try:
        first = CliRunner().invoke(app, words, catch_exceptions=False)
        stamps = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
        again = CliRunner().invoke(app, words, catch_exceptions=False)
    finally:
        os.chdir(before)
    assert first.exit_code == 0 and again.exit_code == 0
    assert stamps == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.safetensors")}
    page = (tmp_path / "senses.md").read_text()
    assert "How many labels CLIP saves" in page and (tmp_path / "senses.html").is_file()
    cells = json.loads((tmp_path / "retrieval.json").read_text())["unseen"]
    assert len(cells) == 30 and sum(not cell["paired"] for cell in cells) == 20
