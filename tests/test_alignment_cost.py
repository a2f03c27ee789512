"""The cost of alignment: the arithmetic by hand, the claims as printed, the stages measured."""

import json
import re

import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.training.studies.alignment_cost.measuring import (
    CostStudy,
    StageCost,
    generation_efficiency,
    measure_costs,
)
from anomalyst.training.studies.alignment_cost.page import write_cost_page
from anomalyst.training.studies.alignment_cost.projection import (
    CLAIMS,
    SIZES,
    ActorSize,
    Cluster,
    ProjectionConfig,
    arithmetic,
    by_assumption,
    by_measurement,
    fits,
    implied_utilisation,
    memory_gb,
)

# As the reports print them, typed a second time; days as days.
PRINTED = {
    "8 x A100-40": "6.7B 5.7; 13B 10.8; 30B 1.85 days",
    "8 x A100-80": "6.7B 4.1 ($132); 13B 9 ($290); 30B 18 ($580); 66B 2.1 days ($1,620)",
    "64 x A100-80": "13B 1.25 ($320); 30B 4 ($1,024); 66B 7.5 ($1,920); 175B 20 ($5,120)",
}
SMALL = ProjectionConfig(
    queries=1000, prompt_tokens=100, answer_tokens=50, critic=0.5e9, training_utilisation=0.5,
    generation_utilisation=0.1, dollars_per_gpu_hour=4.0,
)  # fmt: skip
EIGHT = Cluster(8, 40)


def test_claims_are_those_of_the_reports():
    read = {}
    for cluster, printed in PRINTED.items():
        for one in printed.split("; "):
            size, hours, days, price = re.fullmatch(
                r"(\S+) ([\d.]+)( days)?(?: \(\$([\d,]+)\))?", one
            ).groups()
            dollars = float(price.replace(",", "")) if price else None
            read[cluster, size] = (float(hours) * (24 if days else 1), dollars)
    held = {(cluster.name, size): (c.hours, c.dollars) for (cluster, size), c in CLAIMS.items()}
    assert held == read


def test_every_claimed_price_is_about_four_dollars_a_gpu_hour():
    for (cluster, _), claim in CLAIMS.items():
        if claim.dollars:
            assert claim.dollars / (claim.hours * cluster.gpus) == pytest.approx(4.0, rel=0.01)
    assert ProjectionConfig().dollars_per_gpu_hour == pytest.approx(4.03, abs=0.005)


def test_the_arithmetic_is_that_worked_by_hand():
    work = arithmetic(1e9, SMALL)
    assert (work.reading, work.saying) == (2e11, 1e11)  # 2 * 1e9 * 100, 2 * 1e9 * 50
    assert (work.scoring, work.training) == (9e11, 1.35e12)  # 4 and 6 * 1.5e9 * 150
    # (2e11 + 9e11) / 0.5 + 1e11 / 0.1 = 3.2e12 and 1.35e12 / 0.5 = 2.7e12, of 8 * 312e12 a second.
    seconds = 1000 * 5.9e12 / 2.496e15
    found = by_assumption(1e9, EIGHT, SMALL)
    assert found.hours == pytest.approx(seconds / 3600)
    assert found.generation_share == pytest.approx(3.2 / 5.9)
    assert found.dollars == pytest.approx(seconds / 3600 * 8 * 4)
    # 1.2e12 / (0.8 * 0.5) = 3e12.
    measured = by_measurement(1e9, EIGHT, SMALL, 0.8)
    assert measured.hours == pytest.approx(1000 * 5.7e12 / 2.496e15 / 3600)
    assert measured.generation_share == pytest.approx(3.0 / 5.7)


def test_eight_times_the_gpus_take_an_eighth_and_cost_the_same():
    few, many = (by_assumption(13e9, Cluster(n, 80), ProjectionConfig()) for n in (8, 64))
    assert many.hours == pytest.approx(few.hours / 8)
    assert many.dollars == pytest.approx(few.dollars)


def test_a_claim_implies_the_utilisation_at_which_its_hours_come_out():
    cluster, claim = Cluster(8, 80), CLAIMS[Cluster(8, 80), "13B"]
    used = implied_utilisation(claim, 13e9, cluster, ProjectionConfig())
    same = ProjectionConfig(training_utilisation=used, generation_utilisation=used)
    assert by_assumption(13e9, cluster, same).hours == pytest.approx(9)


def test_memory_is_that_worked_by_hand():
    # 18 * 13.35e9 / 8 = 30.0375e9; 4 * 40 * 5120 * 16 * 512 = 6.7109e9; offloaded 6 * 13.35e9 / 8.
    config = ProjectionConfig()
    assert memory_gb(SIZES["13B"], EIGHT, config) == pytest.approx(36.748, abs=0.001)
    assert memory_gb(SIZES["13B"], EIGHT, config, offloaded=True) == pytest.approx(
        16.723, abs=0.001
    )
    assert fits(SIZES["13B"], EIGHT, config) == "optimizer on the host"  # 36 GB are usable
    assert fits(SIZES["13B"], Cluster(8, 80), config) == "yes"
    assert fits(ActorSize(175e9, 96, 12288), EIGHT, config) == "no"


def cost(stage: str, parameters: int, seconds: float, generating: float) -> StageCost:
    return StageCost(
        actor="a", stage=stage, parameters=parameters, seconds=seconds, generating=generating,
        samples=1.0, tokens=2.0, memory_mb=3.0, cpu_percent=99.0,
    )  # fmt: skip


def test_efficiency_of_generation_counts_the_reward_model():
    # (6 + 2 / 3) / 6 of the work of training, in 4 seconds against 6.
    costs = [cost("reward", 2_000_000, 1, 0), cost("ppo", 6_000_000, 10, 4)]
    assert generation_efficiency(costs, "a") == pytest.approx((20 / 18) * 6 / 4)


def test_the_page_says_what_is_measured_and_what_is_not(tmp_path):
    costs = [cost("sft", 6_000_000, 1, 0), cost("reward", 2_000_000, 1, 0),
             cost("ppo", 6_000_000, 10, 4)]  # fmt: skip
    text = write_cost_page(tmp_path, costs, ProjectionConfig())
    assert text.count("Projected, not measured") == 4
    row = next(line for line in text.splitlines() if line.startswith("| 66B") and "1,620" in line)
    assert "| 50.4 |" in row
    assert (tmp_path / "alignment-cost.html").is_file()


@pytest.mark.parametrize(("words", "said"), [
    (["--width", "100"], "a multiple of 64"),
    (["--steps", "2"], "3"),
    (["--recipes", "nowhere"], "nowhere"),
    (["ppo=3"], "STAGE.key=value"),
    (["reward.layer=3"], "layers"),
])  # fmt: skip
def test_wrong_words_are_refused(words, said, tmp_path):
    found = CliRunner().invoke(app, ["study", "alignment-cost", *words, "--out", str(tmp_path)])
    told = str(found.exception) if isinstance(found.exception, AnomalystError) else found.output
    assert found.exit_code != 0
    assert said in told


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_every_stage_is_measured_once(tmp_path):
    study = CostStudy(
        steps=3, widths=(64,), questions=60, episodes=10,
        overrides=("sft.batch=2", "reward.batch=2", "ppo.batch=4", "ppo.micro_batch=4",
                   "ppo.answer_tokens=12"),
    )  # fmt: skip
    said = []
    costs = measure_costs(study, tmp_path, say=said.append)
    assert [(one.actor, one.stage) for one in costs] == [
        (actor, stage) for actor in ("width-64", "shipped") for stage in ("sft", "reward", "ppo")
    ]
    for one in costs:
        assert 0 <= one.generating < one.seconds
        assert (one.generating > 0) == (one.stage == "ppo")
        assert min(one.samples, one.tokens) > 0
        assert one.memory_mb > 100
    assert json.loads((tmp_path / "costs.json").read_text())[0]["actor"] == "width-64"
    assert "width-64" in write_cost_page(tmp_path, costs, ProjectionConfig())
    assert measure_costs(study, tmp_path) == costs  # nothing is run twice
    with pytest.raises(AnomalystError, match="choose another folder"):
        measure_costs(CostStudy(steps=4), tmp_path)
