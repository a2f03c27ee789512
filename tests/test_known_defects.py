"""Known defects: the arithmetic against slow or foreign versions, the choice, the refusals."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from anomalyst.calibration.figures import figures_of
from anomalyst.calibration.operating_rule import Costs, Findings, Head, Rule
from anomalyst.cli.main import app
from anomalyst.config import from_mapping, to_mapping
from anomalyst.deployment.folder import export_product
from anomalyst.detection.scoring import (
    FROZEN_TOP_SHARE,
    FROZEN_WEIGHT,
    PEAK_WEIGHT,
    evidence_of,
    mixed_logits,
    top_mean,
)
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.protocols.plans import plan_runs
from anomalyst.inspector import Inspector
from anomalyst.io.deep_pictures import AS_FILES_SAY
from anomalyst.io.pictures import open_picture
from anomalyst.product import Product
from anomalyst.teaching.duplicates import product_groups, remarks
from anomalyst.teaching.known_defects.choice import ChoiceConfig, choose_shares, learn_rule
from anomalyst.teaching.known_defects.defects import KnownDefects, masks_of, open_defects
from anomalyst.teaching.known_defects.left_out import LeftOutScores, candidate_shares
from anomalyst.teaching.known_defects.operating_point import (
    best_threshold,
    called_anomalous,
    cost_of,
)
from anomalyst.teaching.known_defects.ranking import (
    auroc,
    auroc_gain,
    average_precision,
    resampled_gain,
)
from anomalyst.teaching.known_defects.regression import balanced, even_odds, fit_head, fit_logistic
from anomalyst.teaching.known_defects.summary import told
from anomalyst.types import Sample

LABELS = np.array([0] * 12 + [1] * 8)


def drawn(seed: int, shift: float = 1.0) -> np.ndarray:
    """Scores of 12 good and 8 defective pictures."""
    return np.random.default_rng(seed).normal(size=20) + shift * LABELS


def looks(scores: np.ndarray, figures: np.ndarray | None = None) -> LeftOutScores:
    count, n = scores.shape
    labels = LABELS if n == 20 else np.array([0] * (n // 2) + [1] * (n - n // 2))
    shares = [(0.7, 0.3), (0.5, 0.5), (0.9, 0.1)][:count]
    if figures is None:
        figures = np.zeros((n, 0))
    nothing = np.full((count, n), np.nan)
    return LeftOutScores(shares, scores, np.stack([figures] * count), nothing, labels)


def names(n: int) -> list[str]:
    return [f"{i}.png" for i in range(n)]


@given(
    st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=12),
    st.sampled_from([(1, 1), (20, 1), (1, 20), (2.5, 1)]),
)
@settings(max_examples=100, deadline=None)
def test_no_threshold_costs_less(pictures, paid):
    labels = np.array([int(bad) for bad, _ in pictures])
    scores = np.array([float(score) for _, score in pictures])
    costs = Costs(missed=paid[0], alarm=paid[1])
    found = cost_of(labels, scores, best_threshold(labels, scores, costs), costs)
    everywhere = np.arange(-7, 7, 0.25)
    assert found == min(cost_of(labels, scores, t, costs) for t in everywhere)


def test_the_threshold_lies_in_the_middle_of_the_widest_gap_that_costs_least():
    labels, scores = np.array([0, 0, 1, 0, 1]), np.array([0.0, 1.0, 1.5, 2.0, 6.0])
    assert best_threshold(labels, scores, Costs()) == 4.0  # 1.25 costs one, too
    assert best_threshold(labels, scores, Costs(missed=20)) == 1.25


def test_each_picture_is_called_by_the_threshold_of_the_others():
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 3.0, 10.0])
    # Without the 3 the threshold is 5.5: it is missed, though 2 would have parted them all.
    assert called_anomalous(labels, scores, Costs()).tolist() == [False, False, False, True]


@pytest.mark.parametrize("seed", range(5))
def test_ranking_figures_are_those_of_scikit_learn(seed):
    metrics = pytest.importorskip("sklearn.metrics")
    scores = drawn(seed).round(1)  # with ties
    assert auroc(LABELS, scores) == pytest.approx(metrics.roc_auc_score(LABELS, scores))
    expected = metrics.average_precision_score(LABELS, scores)
    assert average_precision(LABELS, scores) == pytest.approx(expected)


def test_the_error_of_a_gain_is_delongs_by_a_plain_loop():
    one, other = drawn(0), drawn(1, 2.0)

    def won(scores, b, g):
        return 1.0 if scores[b] > scores[g] else 0.5 if scores[b] == scores[g] else 0.0

    bad, good = range(12, 20), range(12)
    of_bad = [np.mean([won(other, b, g) - won(one, b, g) for g in good]) for b in bad]
    of_good = [np.mean([won(other, b, g) - won(one, b, g) for b in bad]) for g in good]
    gain = auroc_gain(LABELS, one, other)
    assert gain.mean == pytest.approx(auroc(LABELS, other) - auroc(LABELS, one))
    expected = np.var(of_bad, ddof=1) / 8 + np.var(of_good, ddof=1) / 12
    assert gain.error**2 == pytest.approx(expected)


def test_overlapping_folds_are_no_independent_evidence():
    gains = np.random.default_rng(0).normal(size=50)
    found = resampled_gain(gains, 1 / 5)
    # Nadeau and Bengio 2003: (1 / J + tested / trained) s^2; 1/5 tested is 1/4 of the trained.
    assert found.error == pytest.approx(gains.std(ddof=1) * (1 / 50 + 1 / 4) ** 0.5)


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_logistic_regression_is_scikit_learns(penalty):
    linear = pytest.importorskip("sklearn.linear_model")
    figures = np.random.default_rng(0).normal(size=(20, 30)) + LABELS[:, None]
    weights, bias = fit_logistic(figures, LABELS.astype(float), balanced(LABELS), penalty)
    theirs = linear.LogisticRegression(C=1 / penalty, class_weight="balanced", tol=1e-10)
    theirs.fit(figures, LABELS)
    assert weights == pytest.approx(theirs.coef_[0], abs=1e-4)
    assert bias == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_odds_stay_finite_where_the_kinds_do_not_overlap_and_never_turn_round():
    apart = LABELS * 10.0 + drawn(0, 0) * 0.01
    slope, middle = even_odds(LABELS, apart)
    assert 0 < slope < 100 and 1 < middle < 9
    assert even_odds(LABELS, -apart)[0] == 0


def test_shares_are_changed_only_where_that_clearly_pays():
    config = ChoiceConfig()
    noise = np.random.default_rng(1)
    plain = drawn(0)
    clearly = np.stack([plain, plain + 3 * LABELS])
    assert choose_shares(looks(clearly), config)[0] == 1
    for _ in range(10):  # as good, give or take a little noise: stay with what is shipped
        other = plain + noise.normal(size=20) * 0.05
        chosen, why = choose_shares(looks(np.stack([plain, other])), config)
        assert chosen == 0 and "shipped" in why[0]


def test_candidates_begin_with_the_shipped_shares_and_leave_no_size_out():
    found = candidate_shares((0.7, 0.3))
    assert found[0] == (0.7, 0.3) and len(found) == 5
    assert all(sum(one) == pytest.approx(1) and min(one) > 0 for one in found)
    assert candidate_shares((1.0,)) == [(1.0,)]


def test_a_head_is_kept_from_ten_defects_on_and_only_where_it_tells():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 15 + [1] * 15)
    plain = rng.normal(size=30) + 0.5 * labels
    telling = np.stack([plain, rng.normal(size=30), rng.normal(size=30) + 3 * labels], 1)
    silent = np.stack([plain, *rng.normal(size=(5, 30))], 1)
    rule, scores = learn_rule(looks(plain[None], telling), names(30), Costs())
    assert rule.head is not None and rule.findings.auroc > rule.findings.auroc_plain + 0.1
    assert auroc(labels, scores) == rule.findings.auroc
    without, _ = learn_rule(looks(plain[None], silent), names(30), Costs())
    assert without.head is None and without.findings.auroc == without.findings.auroc_plain
    few = looks(drawn(0)[None], np.stack([drawn(0), 5.0 * LABELS], 1))
    assert learn_rule(few, names(20), Costs())[0].head is None  # eight defects


def test_a_left_out_head_never_saw_its_picture():
    figures = np.random.default_rng(0).normal(size=(20, 40))  # more figures than pictures
    seen = np.array([fit_head(figures, LABELS).log_odds(one) for one in figures])
    rule, scores = learn_rule(
        looks(figures[:, 0][None], figures), names(20), Costs(), ChoiceConfig(head_least=3)
    )
    assert auroc(LABELS, seen) > 0.9  # noise learnt by heart
    assert rule.head is None or auroc(LABELS, scores) < 0.9


def test_dear_misses_lower_the_threshold_and_what_is_missed_is_named():
    scores = drawn(3)
    cheap, _ = learn_rule(looks(scores[None]), names(20), Costs())
    dear, _ = learn_rule(looks(scores[None]), names(20), Costs(missed=20))
    assert dear.threshold < cheap.threshold
    assert set(dear.findings.missed) < set(cheap.findings.missed) <= set(names(20)[12:])
    lines = "\n".join(told(cheap))
    assert all(name in lines for name in cheap.findings.missed)


def test_a_good_picture_among_the_defective_ones_is_named_and_kept():
    scores = 5.0 * LABELS + drawn(0, 0) * 0.1
    scores[4] = 9.0
    rule, _ = learn_rule(looks(scores[None]), names(20), Costs())
    assert rule.findings.doubtful == ("4.png",) and rule.findings.good == 12
    assert any("4.png. Kept as good; is that right?" in line for line in told(rule))


def made_rule(**changes) -> Rule:
    found = Findings(good=4, bad=3, masked=0, auroc_plain=0.9, auroc=0.9, missed=("a.png",))
    values = {"threshold": 1.0, "slope": 2.0, "middle": 0.5, "findings": found} | changes
    return Rule(**values)


def test_unsure_is_where_the_odds_are_at_least_half_of_those_at_the_threshold():
    rule = made_rule()
    edge = 1.0 - np.log(2) / 2
    assert rule.verdict(1.01) == "anomalous" and rule.verdict(1.0) == "unsure"
    assert rule.verdict(edge + 1e-6) == "unsure" and rule.verdict(edge - 1e-6) == "normal"
    odds = [rule.chance(s) / (1 - rule.chance(s)) for s in (edge, 1.0)]
    assert odds[0] == pytest.approx(odds[1] / 2) and rule.chance(0.5) == 0.5


def test_a_rule_survives_json_and_refuses_what_is_no_number():
    head = fit_head(np.random.default_rng(0).normal(size=(20, 3)), LABELS)
    rule = made_rule(head=head, shares=(0.6, 0.4), costs=Costs(missed=20))
    assert from_mapping(Rule, json.loads(json.dumps(to_mapping(rule)))) == rule
    with pytest.raises(AnomalystError, match="no number"):
        made_rule(threshold=float("nan"))
    with pytest.raises(AnomalystError, match="--cost-missed is 0; a number above 0"):
        Costs(missed=0)


def test_products_mixed_in_one_folder_are_told_apart_and_named():
    rng = np.random.default_rng(0)
    centres = torch.tensor(rng.normal(size=(2, 64)))
    around = torch.tensor(rng.normal(size=(12, 64))) * 0.1
    mixed = around + centres[[0, 1] * 6]
    evens, odds = list(range(0, 12, 2)), list(range(1, 12, 2))
    assert product_groups(mixed) == [evens, odds]
    named = [(f"{i}.png", np.full((4, 4, 3), i, np.uint8)) for i in range(12)]
    (said,) = remarks(named, mixed)
    assert "2 different products" in said and "0.png, 2.png" in said and "1.png, 3.png" in said
    assert remarks(named, around + centres[[0] * 12]) == []
    odd = around + centres[[0] * 11 + [1]]  # one odd picture is no product of its own
    assert len(product_groups(odd)) == 1
    assert len(product_groups(mixed[:1])) == 1


def saved(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 20, 3), value, np.uint8)).save(path)
    return path


def test_what_cannot_be_learnt_from_is_refused_by_name(tmp_path):
    def opened(good, bad):
        pictures = {p: np.array(Image.open(p).convert("RGB")) for p in good}
        return open_defects(
            KnownDefects(pictures=tuple(bad)), pictures, AS_FILES_SAY, lambda _: None
        )

    good = [saved(tmp_path / "good" / f"{i}.png", i) for i in range(4)]
    bad = [saved(tmp_path / "bad" / f"{i}.bmp", 100 + i) for i in range(3)]
    assert list(opened(good, bad).pictures) == bad
    twin = saved(tmp_path / "bad" / "twin.bmp", 2)  # the pixels of good/2.png
    with pytest.raises(AnomalystError, match=r"bad/twin.bmp is the same picture as .*good/2.png"):
        opened(good, [*bad, twin])
    again = saved(tmp_path / "bad" / "again.png", 101)
    with pytest.raises(AnomalystError, match=r"again.png is the same picture as .*1.bmp"):
        opened(good, [*bad, again])
    with pytest.raises(AnomalystError, match="3 to 50 defective pictures are needed; 2 are given"):
        opened(good, bad[:2])
    with pytest.raises(AnomalystError, match="at least 4 good ones beside them"):
        opened(good[:3], bad)
    alike = [saved(tmp_path / "alike" / f"{i}.png", 7) for i in range(4)]
    with pytest.raises(AnomalystError, match="all 4 good pictures are the same picture"):
        opened(alike, bad)
    broken = tmp_path / "bad" / "broken.png"
    broken.write_bytes(b"no picture")
    assert "broken.png" in opened(good, [*bad, broken]).notes[0]
    with pytest.raises(AnomalystError, match="only 2 can be read"):
        opened(good, [*bad[:2], broken])


def test_masks_are_found_by_name_and_a_lone_one_is_refused(tmp_path):
    bad = tuple(saved(tmp_path / "bad" / f"{name}.jpg", 9) for name in "abc")
    masks = [saved(tmp_path / "masks" / name, 255) for name in ("a.png", "c_mask.png")]
    found = masks_of(bad, tmp_path / "masks")
    assert found == {bad[0]: masks[0], bad[2]: masks[1]}
    stray = saved(tmp_path / "masks" / "z.png", 255)
    with pytest.raises(AnomalystError, match=f"{stray.name}: is the mask of no defective"):
        masks_of(bad, tmp_path / "masks")


def test_defects_drawn_to_teach_are_not_tested():
    def sample(i, label, split):
        return Sample(image=Path(f"{split}/{label}/{i}.png"), label=label, split=split)

    train = [sample(i, "normal", "train") for i in range(6)]
    test = [sample(i, label, "test") for i in range(8) for label in ("normal", "anomalous")]
    plans = plan_runs([*train, *test], 4, 3, bad_shots=3)
    for plan in plans:
        assert len(plan.bad) == 3 and {one.label for one in plan.bad} == {"anomalous"}
        assert len(plan.test) == 13 and not {s.image for s in plan.bad} & {
            s.image for s in plan.test
        }
    drawn_ones = [tuple(s.image.name for s in plan.bad) for plan in plans]
    assert len(set(drawn_ones)) > 1
    assert plan_runs([*train, *test], 4, 3, bad_shots=3) == plans
    with pytest.raises(AnomalystError, match="8 defective test pictures; .* none would be left"):
        plan_runs([*train, *test], 4, 1, bad_shots=8)


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def shipped(inspector, monkeypatch):
    """Commands in this process share one inspector, loaded once."""
    monkeypatch.setattr(Inspector, "load", classmethod(lambda *_: inspector))


def test_costs_without_defects_and_masks_without_pictures_are_refused(cookie, tmp_path):
    good, where = cookie / "train" / "good", ("--products", tmp_path)
    said = run("teach", "cookie", good, "--cost-missed", 20, *where).exception
    assert isinstance(said, AnomalystError) and "--bad" in str(said)
    said = run("teach", "cookie", good, "--bad-masks", tmp_path, *where).exception
    assert isinstance(said, AnomalystError) and "goes with --bad" in str(said)


@pytest.mark.usefixtures("shipped")
def test_teaching_with_real_defects_says_what_was_chosen_and_inspections_keep_to_it(
    inspector, cookie, tmp_path
):
    good = sorted((cookie / "train" / "good").glob("*"))[:5]
    cracked = sorted((cookie / "test" / "cracked").glob("*.jpg"))
    masks = tmp_path / "masks"
    masks.mkdir()
    for one in cracked[:2]:  # the third has none, which is fine
        mask = cookie / "ground_truth" / "cracked" / f"{one.stem}_mask.png"
        (masks / mask.name).write_bytes(mask.read_bytes())
    words = [word for one in cracked[:3] for word in ("--bad", one)]
    done = run("teach", "cookie", *good, *words, "--bad-masks", masks, "--cost-missed", 20,
               "--products", tmp_path)  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "3 defective pictures (2 with a mask) beside 5 good ones" in done.output
    assert "pixel AP" in done.output and "No head: it takes 10" in done.output
    product = Product.load(tmp_path / "cookie")
    rule = product.rule
    assert rule is not None and rule.costs == Costs(missed=20) and rule.findings.masked == 2
    assert rule.findings.auroc >= 0.5 and product.bad is not None
    assert [product.bad.called(p) for p in product.bad.pictures] == [p.name for p in cracked[:3]]
    found = inspector.inspect(cracked[5], product)
    assert found.verdict == rule.verdict(found.score) and not found.guaranteed
    assert any("threshold that 5 good and 3 defective pictures set" in n for n in found.notes)
    # Taught a picture more, it chooses again with the defects it keeps.
    more = inspector.teach("cookie", [sorted((cookie / "train" / "good").glob("*"))[5]],
                           product=product)  # fmt: skip
    assert more.rule is not None and more.rule.findings.good == 6
    older = json.loads((tmp_path / "cookie" / "product.json").read_text())
    del older["rule"], older["defective"]
    (tmp_path / "cookie" / "product.json").write_text(json.dumps(older))
    assert Product.load(tmp_path / "cookie").rule is None  # as products were before


def test_a_products_own_shares_and_head_make_its_scores_before_and_after_saving(
    inspector, cookie, tmp_path
):
    good = sorted((cookie / "train" / "good").glob("*"))[:4]
    query = sorted((cookie / "test" / "cracked").glob("*.jpg"))[0]
    product = inspector.teach("cookie", good)
    views = product.frame.cut(open_picture(query))
    features, memory = inspector.detector.encode(views.canvases), product.memories[0]
    logits, detail = inspector.detector.scale_logits(features, memory)
    mixed = mixed_logits(logits, (0.2, 0.8))
    frozen = inspector.detector.frozen_distances(features, memory)
    figures = figures_of(evidence_of(mixed, mixed.sigmoid(), detail, frozen, views.placements[0]))
    # A mean of probabilities is linear in the shares; so is the expected anomalous share.
    both = [one.double().sigmoid().mean() for one in logits]
    by_hand = (0.2 * both[0] + 0.8 * both[1]).log() + PEAK_WEIGHT * mixed.max()
    by_hand += FROZEN_WEIGHT * math.log(top_mean(frozen, FROZEN_TOP_SHARE))
    assert figures[0] == pytest.approx(float(by_hand), abs=1e-4)
    head = Head(weights=tuple(np.linspace(-0.2, 0.2, len(figures)).tolist()), bias=0.5)
    product.rule = made_rule(shares=(0.2, 0.8), head=head)
    product.bad, product.memories = KnownDefects(pictures=(query,) * 3), []
    found = inspector.inspect(query, product)
    assert found.score == pytest.approx(float(figures @ np.array(head.weights)) + 0.5, abs=1e-3)
    product.save(tmp_path / "cookie")
    loaded = Product.load(tmp_path / "cookie")
    assert loaded.rule == product.rule and loaded.bad == product.bad
    assert inspector.inspect(query, loaded).score == pytest.approx(found.score, abs=0.05)
    with pytest.raises(AnomalystError, match="taught with defective pictures, and an export"):
        export_product(inspector, loaded, tmp_path / "line")


def test_good_pictures_that_are_all_the_same_count_as_one(inspector, cookie, tmp_path):
    one = sorted((cookie / "train" / "good").glob("*"))[0]
    twins = [tmp_path / f"{name}{one.suffix}" for name in "ab"]
    for twin in twins:
        twin.write_bytes(one.read_bytes())
    product = inspector.teach("cookie", twins)
    assert product.calibration.scores == ()  # each would have been its own reference
    assert "All 2 good pictures are the same picture" in product.notes[0]
