"""PPO by our task, on our loop, is TRL's where both are given the same answers and scores."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig

from anomalyst.training import setup
from anomalyst.training.alignment.objectives import AdaptiveKL
from anomalyst.training.alignment.rewards import RewardWatch
from anomalyst.training.alignment.rollouts import Answers
from anomalyst.training.loop import train
from anomalyst.training.recipe import WatchConfig
from anomalyst.training.tasks.alignment import policy as module
from anomalyst.training.tasks.alignment.policy import PolicyTask
from anomalyst.training.tasks.alignment.policy_recipe import KLConfig, PolicyRecipe
from anomalyst.vlm.huggingface import AnomalystConfig, AnomalystModel
from anomalyst.vlm.huggingface.modeling import SHOWN
from trl_case import RecordedPPO, fill, recorded_ppo

# Our names and TRL's.
ROLLOUT = {
    "old": "logprobs",
    "reference": "ref_logprobs",
    "old_values": "values",
    "returns": "returns",
    "advantages": "whitened_advantages",
}
PARTS = {"policy_loss": "pg_loss", "value_loss": "vf_loss", "clipped": "pg_clipfrac"}


def actor(recorded: RecordedPPO, llama: Any) -> AnomalystModel:
    """A tiny LLaMA as an `AnomalystModel`: with one token more, the picture's, never said."""
    more = {"vocab_size": recorded.shape["vocab_size"] + 1}
    layers = llama.config.num_hidden_layers
    config = LlamaConfig(**recorded.shape | more, num_hidden_layers=layers)
    model = AnomalystModel(AnomalystConfig(config, image_token_id=more["vocab_size"] - 1))
    weights = {k: v for k, v in llama.state_dict().items() if k != "lm_head.weight"}
    words = weights["model.embed_tokens.weight"]
    weights["model.embed_tokens.weight"] = torch.cat([words, torch.zeros(1, words.shape[1])])
    fill(model.language_model, weights)
    return model


class RecordedCritic(nn.Module):
    """TRL's value model, a network of its own, where ours is a head on the actor's states."""

    def __init__(self, recorded: RecordedPPO):
        super().__init__()
        self.values, self.network = recorded.values, recorded.value

    def forward(self, states: Tensor) -> Tensor:
        del states
        return self.values()


class RecordedTask(PolicyTask):
    """`PolicyTask`, but for where models, answers and scores come from."""

    def __init__(self, recipe: PolicyRecipe, recorded: RecordedPPO):
        self.recipe, self.recorded, self.round_steps = recipe, recorded, recipe.epochs
        self.model = actor(recorded, recorded.policy)
        self.reference = actor(recorded, recorded.reference).requires_grad_(False)
        self.actor_critic = module.ActorCritic(self.model, critic=True)
        self.actor_critic.value = RecordedCritic(recorded)
        self.module = self.actor_critic
        self.kl = AdaptiveKL(recipe.kl.start, recipe.kl.target, recipe.kl.horizon)
        self.watch = RewardWatch(recipe.hacking)
        self.steps: list[dict[str, float]] = []

    def _answered(self, number: int, part: int, parts: int) -> module.Batch:
        assert (number, part, parts) == (0, 0, 1)
        ids = self.recorded.held["query_responses"]
        nothing = {name: torch.zeros(len(ids), 1) for name in SHOWN}  # no prompt has a picture
        real = ids != self.recorded.shape["pad_token_id"]
        answers = Answers(ids, real, self.recorded.held["mask"], nothing)
        scores = self.recorded.held["scores"]
        judged = {"reward": scores, "verifiable_reward": scores}
        return answers.inputs | {"judged": judged} | self._inside(lambda: self._measured(answers))

    def loss(self, batch: module.Batch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        loss, parts = super().loss(batch, device)
        self.steps.append({name: float(parts[name].detach()) for name in PARTS})
        self.steps[-1]["loss"] = float(loss.detach())
        self.batch = batch
        return loss, parts

    def ship(self, average: Any) -> Path:
        self.shipped = dict(average)
        return Path()


def recipe_for(recorded: RecordedPPO) -> PolicyRecipe:
    """TRL's settings in our words."""
    told = recorded.settings
    return PolicyRecipe(
        steps=told["num_ppo_epochs"],
        epochs=told["num_ppo_epochs"],
        batch=len(recorded.responses),
        optimizer="adamw",
        learning_rate=told["learning_rate"],
        warmup_steps=0,
        schedule="constant",
        weight_decay=0.0,
        clip_norm=0.0,
        ema_decay=0.0,
        precision="float32",
        watch=WatchConfig(every=0),
        temperature=told["temperature"],
        clip=told["cliprange"],
        value_clip=told["cliprange_value"],
        value_weight=told["vf_coef"],
        gamma=told["gamma"],
        lam=told["lam"],
        kl=KLConfig(start=told["kl_coef"], target=0.0),
    )


def test_our_loop_trains_by_ppo_as_trl_does(tmp_path, monkeypatch):
    """TRL gives the score behind an answer that ends early, we at its end: here none does."""
    recorded = recorded_ppo("full")
    task = RecordedTask(recipe_for(recorded), recorded)
    monkeypatch.setattr(setup, "task_of", lambda *_: task)
    train(task.recipe, tmp_path)

    mask, held = recorded.held["mask"], recorded.held
    assert mask.all()
    for ours, theirs in ROLLOUT.items():
        torch.testing.assert_close(task.batch[ours], held[theirs], rtol=1e-5, atol=1e-5)
    assert len(task.steps) == len(recorded.steps) == 3
    for ours, theirs in zip(task.steps, recorded.steps, strict=True):
        for name, wanted in (PARTS | {"loss": "loss"}).items():
            torch.testing.assert_close(ours[name], theirs[wanted], rtol=1e-5, atol=1e-6)
    words = recorded.shape["vocab_size"]
    for name, weights in recorded.end("policy").items():
        got = task.shipped[f"policy.language_model.{name}"][: words if "embed" in name else None]
        torch.testing.assert_close(got.float(), weights, rtol=1e-5, atol=1e-5)
    for name, weights in recorded.end("value").items():
        torch.testing.assert_close(
            task.shipped[f"value.network.{name}"], weights, rtol=1e-5, atol=1e-5
        )
