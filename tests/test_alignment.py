"""Alignment: SFT, reward model, PPO, GRPO and DPO on the one loop."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.training.alignment.objectives import masked_mean
from anomalyst.training.alignment.preferences import load_preferences
from anomalyst.training.alignment.prompts import DrawnPrompts
from anomalyst.training.alignment.rewards import (
    HackingConfig,
    RewardConfig,
    Rewards,
    RewardWatch,
    RoundMeans,
)
from anomalyst.training.alignment.rollouts import (
    answer_states,
    sample,
    texts_of,
    token_logprobs,
    with_answers,
)
from anomalyst.training.alignment.stages import AlignConfig, Stage, plan_stages, to_be_run
from anomalyst.training.data.dialogues.answers import Intent
from anomalyst.training.data.feature_cache import fill_cache, read_features
from anomalyst.training.loop import train
from anomalyst.training.monitor.log import read_log
from anomalyst.training.monitor.training_monitor import TrainingStopped
from anomalyst.training.studies.alignment import AlignmentStudy, run_alignment_study
from anomalyst.training.studies.alignment_page import write_alignment_page
from anomalyst.training.tasks.alignment.dpo import DPORecipe
from anomalyst.training.tasks.alignment.policy_recipe import PolicyRecipe
from anomalyst.training.tasks.alignment.reward_model import RewardRecipe, calibration
from anomalyst.training.tasks.alignment.sft import SFTRecipe
from anomalyst.training.tasks.language import LanguageModelConfig, LanguageRecipe
from anomalyst.vlm.huggingface.loading import load_model
from anomalyst.vlm.preferences import Ranking, read_rankings, write_rankings

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[1]
WORLD = WorldConfig(size_px=96, references=(1, 1), anomalous_share=0.9)
SMALL = LanguageModelConfig(width=32, layers=2, heads=2, kv_heads=1, hidden=64, vocabulary=400)
RUN = {"warmup_steps": 1, "log_every": 1, "precision": "float32", "workers": 0, "seed": 3}


@pytest.fixture(scope="module")
def looks(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("looks")
    fill_cache(folder, WORLD, 8)
    return folder


@pytest.fixture(scope="module")
def actor(looks: Path, tmp_path_factory) -> Path:
    """A language model of 40 thousand parameters that has begun to speak."""
    recipe = LanguageRecipe(
        **RUN, steps=40, batch=8, learning_rate=4e-3, model=SMALL, looks=str(looks), episodes=8,
        world=WORLD, turns=1,
    )  # fmt: skip
    return train(recipe, tmp_path_factory.mktemp("actor"))


@pytest.fixture
def prompts(looks: Path):
    drawn = DrawnPrompts(read_features(looks), size_px=96, turns=2)
    return [drawn.draw(np.random.default_rng(index)) for index in range(5)]


def policy(looks: Path, actor: Path, **changes) -> PolicyRecipe:
    given = {"steps": 4, "batch": 8, "checkpoint_every": 2, "answer_tokens": 8,
             "learning_rate": 1e-3, "initial": str(actor), "looks": str(looks), "episodes": 8,
             "world": WORLD, "ema_decay": 0.0}  # fmt: skip
    return PolicyRecipe(**RUN | given | changes)


def rankings_file(folder: Path, looks: Path, count: int = 30) -> Path:
    """Each prefers the short one of two answers, about pictures of its own."""
    drawn = DrawnPrompts(read_features(looks), size_px=96)
    made = []
    for index in range(count):
        prompt = drawn.draw(np.random.default_rng(100 + index))
        save_file(prompt.shown, folder / f"{index}.safetensors")
        made.append(
            Ranking(
                id=str(index),
                kind="ranking",
                inspection=f"picture {index}",
                product="p",
                by="a",
                time="2026-01-01T00:00:00+00:00",
                model="m",
                question=prompt.question,
                facts=prompt.facts,
                shown=f"{index}.safetensors",
                answers=("Yes.", "Yes, there is one defect, as far as I can see.", "Yes, it is."),
                ranks=(1, 3, 2),
            )  # fmt: skip
        )
    path = folder / "rankings.jsonl"
    write_rankings(path, made)
    return path


def test_prompts_of_unlike_length_are_answered_as_each_alone(actor: Path, prompts):
    model, processor = load_model(actor)
    together = sample(model, processor, prompts, tokens=12, temperature=0)
    assert texts_of(together, processor) == [
        texts_of(sample(model, processor, [one], tokens=12, temperature=0), processor)[0]
        for one in prompts
    ]


def test_what_was_sampled_has_the_log_probabilities_that_training_sees(actor: Path, prompts):
    model, processor = load_model(actor)
    made = sample(model, processor, prompts, tokens=12, temperature=0)
    logprobs, entropy = token_logprobs(model, answer_states(model, made.inputs), made.inputs)
    assert (logprobs[made.said] <= 0).all() and (entropy[made.said] > 0).all()
    # The likeliest token is at least as likely as one of all.
    assert (logprobs[made.said] >= -np.log(len(processor.tokenizer))).all()
    ended = [i for i in range(len(prompts)) if made.said[i].sum() < 12]
    given = with_answers(prompts, texts_of(made, processor), processor, "llama")
    again, _ = token_logprobs(model, answer_states(model, given.inputs), given.inputs)
    for i in ended:
        one, other = logprobs[i][made.said[i]], again[i][given.said[i]]
        assert len(one) == len(other)
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_a_run_killed_between_rounds_goes_on_to_the_same_weights(
    looks: Path, actor: Path, tmp_path: Path, algorithm: str
):
    recipe = policy(looks, actor, algorithm=algorithm, pretraining_weight=0.1, turns=2)
    killed_after_two_of_four(recipe, tmp_path)
    lines = read_log(tmp_path / "part" / "log.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert {"kl", "entropy", "verifiable_reward", "clipped"} <= lines[-1].keys()
    assert lines[0]["kl"] == pytest.approx(0, abs=1e-5)  # it begins as its reference


@pytest.mark.parametrize("stage", ["sft", "reward", "dpo"])
def test_the_other_steps_go_on_to_the_same_weights(looks, actor, tmp_path, stage):
    given = {"steps": 4, "batch": 4, "checkpoint_every": 2, "initial": str(actor),
             "preferences": str(rankings_file(tmp_path, looks)), "learning_rate": 1e-3}  # fmt: skip
    made = {
        "sft": lambda: SFTRecipe(**RUN | given, looks=str(looks), episodes=8, world=WORLD, turns=1),
        "reward": lambda: RewardRecipe(**RUN | given, layers=1),
        "dpo": lambda: DPORecipe(**RUN | given, sft_weight=0.1),
    }
    killed_after_two_of_four(made[stage](), tmp_path)


def killed_after_two_of_four(recipe, folder: Path) -> None:
    """A run that goes on from its checkpoint ends as one that was never killed."""
    whole = train(recipe, folder / "whole")
    train(replace(recipe, steps=2), folder / "part")
    state = folder / "part" / "checkpoints" / "step-00000002" / "state.json"
    held = json.loads(state.read_text())
    held["recipe"]["steps"] = 4
    state.write_text(json.dumps(held))
    assert_same_weights(whole, train(recipe, folder / "part"))


def test_a_round_is_kept_together_whenever_a_checkpoint_is_due(looks, actor, tmp_path):
    recipe = policy(looks, actor, steps=6, epochs=3, checkpoint_every=2, keep_checkpoints=9)
    train(recipe, tmp_path)
    kept = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert kept == ["step-00000003", "step-00000006"]


def test_the_reward_model_learns_a_taste_and_ppo_follows_it(looks, actor, tmp_path):
    path = rankings_file(tmp_path, looks)
    reward = train(
        RewardRecipe(**RUN, steps=40, batch=8, learning_rate=3e-3, preferences=str(path),
                     initial=str(actor), layers=1, checkpoint_every=40), tmp_path / "reward"
    )  # fmt: skip
    told = json.loads((reward / "reward.json").read_text())
    assert told["accuracy"] > 0.9 and told["held_out_pairs"] > 0
    recipe = policy(
        looks, actor, steps=24, batch=16, preferences=str(path), own_questions=0.5,
        reward=RewardConfig(verifiable=0.0, floor=None, model=str(reward)),
    )  # fmt: skip
    train(recipe, tmp_path / "ppo")
    lines = read_log(tmp_path / "ppo" / "log.jsonl")
    assert lines[-1]["reward"] == pytest.approx(lines[-1]["learned_reward"], abs=1e-5)
    assert lines[-1]["learned_reward"] > lines[0]["learned_reward"]


def test_dpo_and_sft_learn_from_the_same_rankings(looks, actor, tmp_path):
    path = rankings_file(tmp_path, looks)
    dpo = DPORecipe(**RUN, steps=30, batch=6, learning_rate=2e-3, preferences=str(path),
                    initial=str(actor), checkpoint_every=40, validate_every=30)  # fmt: skip
    train(dpo, tmp_path / "dpo")
    lines = read_log(tmp_path / "dpo" / "log.jsonl")
    assert lines[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)  # it begins as its reference
    assert lines[-1]["loss"] < 0.5 and lines[-1]["validation_loss"] < 0.6
    sft = SFTRecipe(**RUN, steps=40, batch=8, learning_rate=4e-3, preferences=str(path),
                    initial=str(actor), looks=str(looks), episodes=8, world=WORLD, turns=1,
                    checkpoint_every=40)  # fmt: skip
    model, processor = load_model(train(replace(sft, ema_decay=0.0), tmp_path / "sft"))
    drawn = DrawnPrompts(read_features(looks), size_px=96)
    asked = [drawn.draw(np.random.default_rng(100 + index)) for index in range(6)]
    made = with_answers(asked, ["Yes."] * 6, processor, "llama")
    before, _ = load_model(actor)
    likely = [
        masked_mean(token_logprobs(m, answer_states(m, made.inputs), made.inputs)[0], made.said)
        for m in (before, model)
    ]
    assert likely[1] > likely[0] + 0.5


def test_what_is_liked_counts_only_where_all_that_was_asked_is_said(looks, actor, tmp_path):
    path = rankings_file(tmp_path, looks)
    reward = train(
        RewardRecipe(**RUN, steps=2, batch=4, preferences=str(path), initial=str(actor), layers=1),
        tmp_path / "reward",
    )
    model, processor = load_model(actor)
    prompt = replace(
        DrawnPrompts(read_features(looks), size_px=96).draw(np.random.default_rng(0)),
        intent=Intent(name="declined"),
    )
    said = ["The picture cannot tell that.", "Yes."]
    answers = with_answers([prompt] * 2, said, processor, "llama")
    found = Rewards(RewardConfig(model=str(reward)), model).judge([prompt] * 2, said, answers)
    true, liked, total = (found[f"{n}reward"] for n in ("verifiable_", "learned_", ""))
    assert true[0] == 1 and total[0] == true[0] + liked[0].clamp(min=-3)
    assert true[1] < 1 and total[1] == true[1] - 3


def test_a_learned_reward_that_rises_while_the_verifiable_one_falls_ends_the_run():
    sure = 0.02**2  # standard errors of 0.02
    watch = RewardWatch(HackingConfig(rounds=2))
    for learned, verifiable in ((0.0, 0.8), (0.1, 0.8), (0.4, 0.7)):
        watch.rounds.append(RoundMeans(verifiable, sure, learned, sure))
        assert watch.trouble() == ""
    watch.rounds.append(RoundMeans(0.6, sure, 0.5, sure))
    assert watch.trouble().startswith("reward hacking: over the last 4 rounds the learned reward")
    restored = RewardWatch(HackingConfig(rounds=2))
    restored.restore(json.loads(json.dumps(watch.note())))
    assert restored.trouble() == watch.trouble()
    # The same means of few answers: a fall of 0.15 with an error of 0.1 may be chance.
    unsure = RewardWatch(HackingConfig(rounds=2))
    unsure.rounds = [replace(one, verifiable_error2=0.1**2) for one in watch.rounds]
    assert unsure.trouble() == ""
    # Both rise: no hacking.
    calm = RewardWatch(HackingConfig(rounds=1), [RoundMeans(v, sure, v, sure) for v in (0, 1)])
    assert calm.trouble() == ""


def test_the_loop_stops_on_reward_hacking_and_says_so(looks, actor, tmp_path):
    path = rankings_file(tmp_path, looks)
    reward = train(
        RewardRecipe(**RUN, steps=2, batch=4, preferences=str(path), initial=str(actor), layers=1),
        tmp_path / "reward",
    )
    # What any change of rewards is called hacking: less than nothing must rise or fall.
    recipe = policy(
        looks, actor, steps=8, reward=RewardConfig(model=str(reward)),
        hacking=HackingConfig(rounds=1, rise=-9.0, fall=-9.0, errors=-99.0),
    )  # fmt: skip
    with pytest.raises(TrainingStopped, match="Step 3: reward hacking: over the last 2 rounds"):
        train(recipe, tmp_path / "ppo")
    end = json.loads((tmp_path / "ppo" / "end.json").read_text())
    assert end["how"] == "stopped" and "reward hacking" in end["why"]


def test_too_few_pairs_are_counted(looks, actor, tmp_path):
    path = rankings_file(tmp_path, looks, count=3)
    recipe = RewardRecipe(**RUN, preferences=str(path), initial=str(actor))
    with pytest.raises(AnomalystError, match="a reward model needs 40"):
        train(recipe, tmp_path / "reward")


def test_groups_must_fit_into_micro_batches(looks, actor, tmp_path):
    recipe = policy(looks, actor, algorithm="grpo", group=4, micro_batch=2)
    with pytest.raises(AnomalystError, match="micro-batches of 2 answers hold no whole groups"):
        train(recipe, tmp_path)


def test_calibration_of_worked_differences():
    found = calibration(np.array([3.0, 3.0, -3.0, 0.1]))
    assert found["accuracy"] == 0.75
    # Three at a chance of 0.9526, of which two right; one at 0.525, right.
    expected = (3 * abs(0.95257 - 2 / 3) + abs(0.52498 - 1)) / 4
    assert found["calibration_error"] == pytest.approx(expected, abs=1e-4)


def assert_same_weights(one: Path, other: Path) -> None:
    a, b = (load_file(path / "model.safetensors") for path in (one, other))
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ddp", "fsdp", "deepspeed"])
@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_two_processes_sample_and_learn_as_one(looks, actor, tmp_path, engine, algorithm):
    """Answers, rewards and losses: every process samples its share, with whole weights."""
    recipe = policy(looks, actor, algorithm=algorithm, micro_batch=4, batch=8)
    train(recipe, tmp_path / "one")
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(to_mapping(recipe)))
    two = ["--out", str(tmp_path / "two"), "--engine", engine, "--nproc", "2"]
    words = [sys.executable, "-m", "anomalyst", "train", str(path), *two]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    single, spread = (read_log(tmp_path / name / "log.jsonl") for name in ("one", "two"))
    for name in ("loss", "reward", "kl", "answer_tokens", "kl_coefficient"):
        assert [line[name] for line in spread] == pytest.approx(
            [line[name] for line in single], abs=2e-4
        ), name


def test_two_rounds_of_collecting_reward_and_ppo(looks, actor, tmp_path):
    """A simulated inspector corrects, ranks, and ranks again what came of it."""
    few = {"steps": 4, "batch": 8, "warmup_steps": 1, "micro_batch": 0, "workers": 0,
           "log_every": 1, "watch.probe_every": 0, "validate_every": 0}  # fmt: skip
    changes = [f"{stage}.{k}={v}" for stage in ("sft", "reward", "ppo", "dpo")
               for k, v in few.items()]  # fmt: skip
    study = AlignmentStudy(
        tastes=("short",), methods=("ppo", "dpo"), corrections=24, rankings=24, rounds=2,
        questions=10, initial=str(actor), looks=str(looks), episodes=8, recipes=ROOT / "recipes",
        overrides=(*changes, "reward.layers=1", "ppo.answer_tokens=8"),
    )  # fmt: skip
    said: list[str] = []
    [result] = run_alignment_study(study, tmp_path, say=said.append)
    assert list(result.models) == ["before", "sft", "ppo", "dpo", "ppo, round 2"]
    assert 0 <= result.wins["ppo, round 2"] <= 1 and result.reward["held_out_pairs"] > 0
    first, second = (read_rankings(tmp_path / "short" / f"rankings-{n}.jsonl") for n in (1, 2))
    assert second[: len(first)] == first and len(second) > len(first)
    reward = json.loads((tmp_path / "short/round-2/reward/recipe.json").read_text())
    assert reward["preferences"].endswith("rankings-2.jsonl")
    assert reward["initial"].endswith("round-1/ppo/model")
    page = write_alignment_page(study, [result], tmp_path)
    assert "Wins against SFT" in page and (tmp_path / "alignment.html").is_file()
    # Asked again, nothing is done again.
    assert run_alignment_study(study, tmp_path) == [result] and len(said) == 1


def test_a_study_of_a_taste_that_nobody_has_names_the_nearest():
    with pytest.raises(AnomalystError, match="nearest is 'short'"):
        AlignmentStudy(tastes=("shorter",))


def test_what_align_does_follows_from_what_there_is_to_learn_from(looks, tmp_path):
    config = AlignConfig(recipes=ROOT / "recipes")
    alone = plan_stages(config, None, tmp_path)
    assert [one.name for one in alone.stages] == ["ppo"] and "left out" in alone.notes[0]
    assert alone.stages[0].recipe.reward.model == ""  # the verifiable reward needs nobody
    few = plan_stages(config, rankings_file(tmp_path, looks, count=5), tmp_path)
    assert [one.name for one in few.stages] == ["sft"]
    assert "15 pairs of answers where 40 are needed" in few.notes[0]
    enough = rankings_file(tmp_path, looks, count=30)
    plan = plan_stages(replace(config, method="grpo"), enough, tmp_path)
    assert [one.name for one in plan.stages] == ["sft", "reward", "grpo"]
    assert plan.stages[1].recipe.initial == str(plan.stages[0].model)
    assert plan.stages[2].recipe.reward.model == str(plan.stages[1].model)
    assert plan.stages[2].recipe.reward.verifiable == 1.0
    learned = plan_stages(replace(config, reward="learned"), enough, tmp_path)
    assert learned.stages[2].recipe.reward.verifiable == 0.0
    dpo = plan_stages(replace(config, method="dpo"), enough, tmp_path)
    assert [one.name for one in dpo.stages] == ["sft", "dpo"]
    with pytest.raises(AnomalystError, match="no STORE; --method dpo needs 40 pairs"):
        plan_stages(replace(config, method="dpo"), None, tmp_path)
    with pytest.raises(AnomalystError, match=r"write STAGE\.key=value"):
        plan_stages(replace(config, overrides=("steps=3",)), None, tmp_path)


def test_a_step_is_done_anew_only_where_what_it_is_made_of_changed(looks, actor, tmp_path):
    path = rankings_file(tmp_path, looks)
    recipe = RewardRecipe(**RUN, steps=2, batch=4, preferences=str(path), initial=str(actor),
                          layers=1, checkpoint_every=1)  # fmt: skip
    stages = [Stage("reward", recipe, tmp_path / "reward"), Stage("dpo", recipe, tmp_path / "dpo")]

    def done(*some: Stage, killed_after: int = 9) -> list[tuple[str, bool]]:
        found = []
        for stage, anew in to_be_run(some):
            if len(found) == killed_after:
                break
            train(stage.recipe, stage.folder, resume=not anew)
            found.append((stage.name, anew))
        return found

    assert done(*stages) == [("reward", True), ("dpo", True)]
    assert done(*stages) == []
    logged = replace(recipe, log_every=2, workers=0)  # nothing that is learnt by
    assert done(Stage("reward", logged, tmp_path / "reward")) == []
    rankings_file(tmp_path, looks, count=31)  # somebody ranked one more
    assert done(*stages, killed_after=1) == [("reward", True)]
    # Killed before the next one began: what that had was of the old data, and is gone.
    assert not (tmp_path / "dpo" / "checkpoints").exists()
    assert done(*stages) == [("dpo", False)]


def test_a_few_rankings_are_all_learnt_from_and_pictures_are_not_split(looks, tmp_path):
    few = load_preferences(rankings_file(tmp_path, looks, count=5), 0.5)
    assert len(few.train) == 5 and not few.held_out
    many = load_preferences(rankings_file(tmp_path, looks, count=40), 0.5)
    seen = [{float(p.shown["image_embedding"].sum()) for _, p in part}
            for part in (many.train, many.held_out)]  # fmt: skip
    assert seen[0] and seen[1] and not seen[0] & seen[1]


def test_of_answers_that_are_liked_alike_none_is_learnt_from(looks, tmp_path):
    one = read_rankings(rankings_file(tmp_path, looks, count=1))[0]
    assert one.best() == "Yes."
    assert replace(one, ranks=(1, 1, 1)).best() is None
    assert replace(one, ranks=(1, 1, 2), contradictions=("wrong", "", "")).best() == one.answers[1]
