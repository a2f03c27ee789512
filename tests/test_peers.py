"""Others' scoring, against plain versions of their formulas."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from anomalyst.data import read_dataset
from anomalyst.detection.peers import PaDiM, PatchCore, _patches
from anomalyst.encoders.embedded import EmbeddedConfig, EmbeddedEncoder
from anomalyst.evaluation.peers import compare_peers, untrained
from anomalyst.evaluation.protocols import ProtocolConfig
from anomalyst.types import Features

SMALL = EmbeddedConfig(widths=(8, 8, 8), levels=(8, 8, 8), blocks=1)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return EmbeddedEncoder(SMALL).eval()


def features(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = ((8, 16, 16), (8, 8, 8), (8, 4, 4))
    levels = [torch.randn(count, *size, generator=generator) for size in sizes]
    return Features(levels, torch.zeros(count, 4))


def test_patchcores_score_is_equation_7_by_a_plain_loop(encoder):
    core = PatchCore(encoder)
    memory, query = core.remember(features(2)), features(1, seed=1)
    rows, patches = memory.rows.numpy(), _patches(query)[0].numpy()
    each = np.array([[np.linalg.norm(p - r) for r in rows] for p in patches])
    worst = each.min(1).argmax()
    nearest = each[worst].argmin()
    from_it = np.array([np.linalg.norm(rows[nearest] - r) for r in rows])
    around = [math.exp(np.linalg.norm(rows[i] - patches[worst])) for i in from_it.argsort()[:9]]
    largest = each[worst, nearest]
    plain = (1 - math.exp(largest) / sum(around)) * largest
    assert core.judge(query, memory, None).score == pytest.approx(plain, rel=1e-4)


def test_padim_is_the_mahalanobis_distance_at_each_place(encoder):
    padim = PaDiM(encoder)
    good, query = features(6), features(1, seed=1)
    memory = padim.remember(good)
    rows, patch = padim._rows(good).numpy(), padim._rows(query)[0].numpy()
    for place in (0, 17, 63):
        covariance = np.cov(rows[:, place].T) + 0.01 * np.eye(rows.shape[2])
        plain = mahalanobis(patch[place], rows[:, place].mean(0), np.linalg.inv(covariance))
        gap = torch.from_numpy(patch[place]) - memory.means[place]
        assert math.sqrt(gap @ memory.precisions[place] @ gap) == pytest.approx(plain, rel=1e-3)
    sound = padim.judge(good.rows([2]), memory, None).score
    assert padim.judge(query, memory, None).score > sound


def test_untrained_backbones_are_the_same_every_time():
    pixels = torch.rand(1, 3, 64, 64)
    for kind in ("resnet", "vit"):
        one, other = untrained(kind)(pixels), untrained(kind)(pixels)
        assert torch.equal(one.levels[0], other.levels[0]), kind


@pytest.mark.slow
def test_all_are_compared_on_the_same_draws(cookie, tmp_path):
    samples = [s for s in read_dataset(cookie.parent) if s.category == "cookie"]
    config = ProtocolConfig(seeds=1, max_pictures=6)
    found = compare_peers(samples, config, out=tmp_path)
    assert len(found) == 10
    assert all(0 <= line.metrics["image_auroc"].mean <= 1 for _, line in found)
    assert (tmp_path / "peers.md").read_text().count("\n") == 12
