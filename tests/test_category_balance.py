"""Categories of unequal size: how they are drawn, and the two losses that weigh them, by hand."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset
from anomalyst.teaching.losses import focal_loss
from anomalyst.training.studies import imbalance
from anomalyst.training.studies.imbalance import ARMS, ArmRun, ImbalanceConfig, run_imbalance
from anomalyst.training.studies.imbalance_page import write_imbalance_page
from anomalyst.training.task import Share
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.anomalygpt import AnomalyGPTTask, weighted_cross_entropy
from anomalyst.training.tasks.category_balance import (
    drawing_shares,
    inverse_frequency_weights,
)

pytestmark = pytest.mark.usefixtures("one_thread")
COUNTS = {"toothbrush": 60, "bottle": 120, "cable": 220, "hazelnut": 400}  # 800 pictures


@pytest.fixture(scope="module")
def uneven(tiny: Path, tmp_path_factory) -> Path:
    """tiny.yaml over two drawn categories of 2 and 6 good pictures."""
    folder = tmp_path_factory.mktemp("uneven")
    for family, train in (("cap", 2), ("seal", 6)):
        config = SetConfig(family=family, size_px=96, train=train, test_good=1, test_bad=1)
        write_dataset(folder / "set" / family, config)
    single = SetConfig(family="lens", size_px=96, train=1, test_good=0, test_bad=1)
    write_dataset(folder / "single" / "lens", single)
    values = yaml.safe_load((tiny / "tiny.yaml").read_text()) | {"data": [str(folder / "set")]}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    return folder / "tiny.yaml"


def test_a_category_weighs_by_its_inverse_frequency_and_pictures_one_in_the_mean():
    weights = inverse_frequency_weights(COUNTS)
    # 800 / (4 x 60), 800 / (4 x 120), 800 / (4 x 220), 800 / (4 x 400)
    assert list(weights.values()) == pytest.approx([10 / 3, 5 / 3, 10 / 11, 0.5])
    assert sum(COUNTS[name] * w for name, w in weights.items()) / 800 == pytest.approx(1)


def test_cross_entropy_is_weighted_by_category_even_where_a_batch_has_only_one():
    logits = torch.zeros(2, 2, 4)
    logits[1] = torch.tensor([9.0, 0, 0, 0])
    labels = torch.tensor([[1, -100], [1, 2]])
    wrong = -math.log(1 / (math.e**9 + 3))
    plain = weighted_cross_entropy(logits, labels, None)
    assert float(plain) == pytest.approx((math.log(4) + 2 * wrong) / 3)
    weighted = weighted_cross_entropy(logits, labels, torch.tensor([10 / 3, 0.5]))
    assert float(weighted) == pytest.approx((10 / 3 * math.log(4) + 0.5 * 2 * wrong) / 3)
    alone = weighted_cross_entropy(logits[:1], labels[:1], torch.tensor([10 / 3]))
    assert float(alone) == pytest.approx(10 / 3 * math.log(4))


def test_focal_loss_takes_a_gamma_of_each_picture():
    # Two pictures of one anomalous pixel each, given the probabilities 3/4 and 1/2.
    logits = torch.tensor([math.log(3), 0.0]).reshape(2, 1, 1, 1)
    mask = torch.ones(2, 1, 1, 1)
    rare, frequent = 2 / (10 / 3), 2 / 0.5  # gamma 2 over the weights above: 0.6 and 4
    found = focal_loss(logits, mask, torch.tensor([rare, frequent]))
    expected = (0.25**0.6 * math.log(4 / 3) + 0.5**4 * math.log(2)) / 2
    assert float(found) == pytest.approx(expected, rel=1e-5)
    assert float(focal_loss(logits, mask, torch.tensor([2.0, 2.0]))) == pytest.approx(
        float(focal_loss(logits, mask, 2.0))
    )


def test_a_certain_pixel_has_a_finite_slope_at_a_gamma_below_one():
    logits = torch.tensor([20.0, -20.0]).reshape(2, 1, 1, 1).requires_grad_()
    focal_loss(logits, torch.ones(2, 1, 1, 1), torch.tensor([0.6, 0.6])).backward()
    assert bool(logits.grad.isfinite().all())


def test_each_sampling_draws_categories_as_often_as_it_says():
    assert drawing_shares(COUNTS, "by_picture") == pytest.approx([0.075, 0.15, 0.275, 0.5])
    assert drawing_shares(COUNTS, "uniform") == pytest.approx([0.25] * 4)
    # 1/60 : 1/120 : 1/220 : 1/400 = 220 : 110 : 60 : 33
    assert drawing_shares(COUNTS, "inverse") == pytest.approx(
        [220 / 423, 110 / 423, 60 / 423, 33 / 423]
    )


@pytest.mark.parametrize(
    ("sampling", "share"), [("by_picture", 0.25), ("uniform", 0.5), ("inverse", 0.75)]
)
def test_a_run_draws_the_rare_category_by_its_sampling(uneven, tmp_path, sampling, share):
    recipe = load_recipe(uneven, [f"sampling={sampling}"])
    samples = AnomalyGPTTask(recipe, tmp_path).inspections
    rng = np.random.default_rng(0)
    drawn = Counter(samples.category(rng) for _ in range(2000))
    assert drawn["cap"] / 2000 == pytest.approx(share, abs=0.03)  # 3 standard deviations
    assert samples.weights == pytest.approx({"cap": 2.0, "seal": 2 / 3})  # 8 / (2 x 2), 8 / (2 x 6)


def test_a_run_lowers_the_two_losses_it_was_asked_for(uneven, tmp_path):
    parts = {}
    for name in ("plain", "both"):
        words = ["language_loss=weighted", "map_loss=adaptive_focal"] if name == "both" else []
        torch.manual_seed(0)  # the same new layers
        task = AnomalyGPTTask(load_recipe(uneven, [*words, "few_shot_share=0"]), tmp_path)
        task.model.eval()  # no dropout: the same sums
        batch = next(task.batches(0, Share()))
        batch["weight"] = torch.full_like(batch["weight"], 2.0)
        with torch.no_grad():
            parts[name] = task.loss(dict(batch), torch.device("cpu"))[1]
    plain, both = parts["plain"], parts["both"]
    assert float(both["language"]) == pytest.approx(2 * float(plain["language"]), rel=1e-5)
    assert float(both["focal"]) > float(plain["focal"])  # gamma 1 in place of 2
    assert float(both["dice"]) == pytest.approx(float(plain["dice"]))


def test_one_picture_drawn_again_and_again_is_refused(uneven, refused):
    both = f"data=[{uneven.parent / 'set'}, {uneven.parent / 'single'}]"
    said = refused("train", uneven, "sampling=inverse", both)
    # 1/2 : 1/6 : 1/1 = 3 : 1 : 6
    assert "category 'lens' has one good picture, which would be 60 % of all" in said
    assert "sampling: uniform" in said
    assert load_recipe(uneven, ["sampling=uniform", both]).resolved()


def test_unknown_words_name_the_nearest_and_old_keys_the_new():
    recipe = Path(__file__).parents[1] / "recipes" / "anomalygpt.yaml"
    for override, said in (
        ("sampling=inverze", "perhaps 'inverse'"),
        ("language_loss=weigthed", "perhaps 'weighted'"),
        ("map_loss=adaptiv_focal", "perhaps 'adaptive_focal'"),
        ("yes_weight=2", "no key 'yes_weight' any more; language_loss: weighted"),
        ("adaptive_gamma=0.5", "no key 'adaptive_gamma' any more; map_loss: adaptive_focal"),
    ):
        with pytest.raises(AnomalystError, match=said):
            load_recipe(recipe, [override])


def test_the_page_sets_each_arm_beside_the_plain_one_seed_by_seed(tmp_path):
    right = {"by_picture": (10, 14), "inverse": (12, 16)}  # of 20, with two seeds
    runs = [
        ArmRun(arm, seed, {
            "rare": {"asked": 20, "right": right.get(arm, (9, 9))[seed], "learnt_pixel_auroc": 0.5},
            "common": {"asked": 20, "right": 20, "learnt_pixel_auroc": 0.75},
        })
        for seed in range(2) for arm in ARMS
    ]  # fmt: skip
    counts = {"rare": 60, "common": 391}
    text = write_imbalance_page(tmp_path, ImbalanceConfig(seeds=2), counts, runs)
    assert "| drawn inverse, % | 86.7 | 13.3 |" in text  # 391/451, 60/451
    assert "| weight w | 3.76 | 0.58 |" in text and "| gamma 2 / w | 0.53 | 3.47 |" in text
    # 50 % and 70 %: the mean is 60, and t(0.975, 1) = 12.706 times a standard error of 10.
    assert "| by_picture | 60.0 ± 127.1 | 100.0 ± 0.0 |" in text
    assert "| inverse | +10.0 ± 0.0 | +0.0 ± 0.0 | +5.0 ± 0.0 |" in text
    html = (tmp_path / "imbalance.html").read_text()
    assert "data:image/png;base64," in html and "://" not in html


@pytest.mark.slow
def test_the_study_runs_all_arms_and_adds_seeds_but_mixes_nothing(tmp_path, monkeypatch, refused):
    monkeypatch.setattr(imbalance, "COUNTS", (2, 3, 4, 5))
    monkeypatch.setattr(imbalance, "TESTED", 1)
    config = ImbalanceConfig(
        recipe=Path(__file__).parents[1] / "recipes" / "anomalygpt.yaml", tiny=True, seeds=1,
        overrides=("steps=2", "warmup_steps=1"),
    )  # fmt: skip
    counts, runs = run_imbalance(config, tmp_path)
    assert list(counts.values()) == [2, 3, 4, 5] and [one.arm for one in runs] == list(ARMS)
    assert all(row["asked"] == 2 for one in runs for row in one.figures.values())
    seen: list[dict] = []
    again = run_imbalance(config, tmp_path, on_log=lambda *_: seen.append)
    assert again == (counts, runs) and not seen  # nothing was trained twice
    said = refused("study", "imbalance", "--tiny", "steps=9", "--out", tmp_path)
    assert "holds a study with" in said and "--out" in said
