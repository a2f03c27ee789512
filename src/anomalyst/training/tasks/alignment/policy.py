"""Reinforcement learning: PPO (Schulman et al. 2017) and GRPO (Shao et al. 2024) on one loop.

A round: prompts are drawn, answered by the model as it is, and judged; then a few steps are trained
on these answers. What a round is made of is a function of the seed and of its number.
"""

import copy
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.training.alignment.actor_critic import ActorCritic
from anomalyst.training.alignment.objectives import (
    AdaptiveKL,
    answer_mean,
    clipped_surrogate,
    clipped_value_loss,
    gae,
    group_advantages,
    kl_estimate,
    kl_rewards,
    masked_mean,
    whiten,
)
from anomalyst.training.alignment.preferences import load_preferences
from anomalyst.training.alignment.prompts import DrawnPrompts, Prompt, training_looks
from anomalyst.training.alignment.rewards import Rewards, RewardWatch, RoundMeans
from anomalyst.training.alignment.rollouts import (
    Answers,
    answer_states,
    sample,
    texts_of,
    token_logprobs,
)
from anomalyst.training.data.feature_cache import read_features
from anomalyst.training.task import Share
from anomalyst.training.tasks.alignment.policy_recipe import PolicyRecipe
from anomalyst.training.tasks.alignment.sft import load_actor
from anomalyst.training.tasks.language import DialogueTask, answer_loss, collated, dialogue_sample
from anomalyst.vlm.huggingface import AnomalystModel

Batch = dict[str, Any]
POLICY_SEED = 1 << 48  # nothing else is drawn from these


class PolicyTask(DialogueTask):
    """Answers sampled from the model in training, judged, and learnt from."""

    def __init__(self, recipe: PolicyRecipe, out: Path):
        self.recipe, self.out = recipe, out
        self.round_steps = recipe.epochs
        self.prompts = DrawnPrompts(
            training_looks(read_features(recipe.feature_folder(out))), recipe.imagined,
            recipe.world.size_px, recipe.turns,
        )  # fmt: skip
        self.own = self._own_questions()
        self.model, self.processor = load_actor(recipe.initial)
        self.reference = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.rewards = Rewards(recipe.reward, self.model)
        torch.manual_seed(recipe.seed)
        self.actor_critic = ActorCritic(self.model, critic=recipe.algorithm == "ppo")
        self.module = self.actor_critic
        self.kl = AdaptiveKL(recipe.kl.start, recipe.kl.target, recipe.kl.horizon)
        self.watch = RewardWatch(recipe.hacking)

    @property
    def _group(self) -> int:
        """Answers to each question."""
        return self.recipe.group if self.recipe.algorithm == "grpo" else 1

    def _own_questions(self) -> list[Prompt]:
        if not self.recipe.preferences or not self.recipe.own_questions:
            return []
        return [p for _, p in load_preferences(Path(self.recipe.preferences), 0.0).train]

    def blocks(self) -> dict[str, nn.Module]:
        """The decoder layers of the actor."""
        return {f"policy.{name}": block for name, block in super().blocks().items()}

    def amount(self, batch: Batch) -> dict[str, int]:
        """Answers count, and the tokens that were said."""
        return {"samples": len(batch["ids"]), "tokens": int(batch["said"].sum())}

    def batches(self, first_step: int, share: Share) -> Iterator[Batch]:
        """The answers of a round, as often as it has steps."""
        for step in range(first_step, self.recipe.steps, self.round_steps):
            made = self._round(step // self.round_steps, share)
            for _ in range(self.round_steps):
                yield from made

    def note(self) -> dict[str, Any]:
        """The KL coefficient, and the rewards so far."""
        return {"kl": self.kl.coefficient, "rewards": self.watch.note()}

    def restore(self, note: Mapping[str, Any]) -> None:
        """Go on with both."""
        self.kl.coefficient = note["kl"]
        self.watch.restore(note["rewards"])

    def trouble(self) -> str:
        """The sentence about reward hacking."""
        return self.watch.trouble()

    # A round

    @torch.no_grad()
    def _round(self, number: int, share: Share) -> list[Batch]:
        """The share's micro-batches of a round, with advantages by the moments of all of it."""
        self.model.eval()
        started = time.perf_counter()
        made = [self._answered(number, part, share.of) for part in share.parts]
        self._agree(made, time.perf_counter() - started)
        self.model.train()
        return made

    def _answered(self, number: int, part: int, parts: int) -> Batch:
        """One micro-batch: answers with their log-probabilities and rewards."""
        recipe, group = self.recipe, self._group
        rng = np.random.default_rng((POLICY_SEED, recipe.seed, number, part))
        count = recipe.batch // parts
        if count % group:
            raise AnomalystError(
                f"micro-batches of {count} answers hold no whole groups of {group}; make "
                "micro_batch a multiple of group."
            )
        drawn = [self._prompt(rng) for _ in range(count // group)]
        prompts = [prompt for prompt in drawn for _ in range(group)]
        seed = int(rng.integers(1 << 62))
        answers = self._inside(partial(self._sampled, prompts, seed))
        texts = texts_of(answers, self.processor)
        judged = self.rewards.judge(prompts, texts, answers)
        batch: Batch = answers.inputs | {"judged": judged}
        batch |= self._inside(partial(self._measured, answers))
        if recipe.pretraining_weight:
            batch["grammar"] = collated([self._dialogue(rng) for _ in range(count)])
        return batch

    def _dialogue(self, rng: np.random.Generator) -> dict[str, Any]:
        turns, family, scene = self.recipe.turns, self.family, self.prompts.scene(rng)
        return dialogue_sample(scene, self.processor, rng, turns=turns, family=family)

    def _inside(self, work: Any) -> Any:
        """What needs whole weights is done where an engine has them whole."""
        return self.engine.task(work)

    def _prompt(self, rng: np.random.Generator) -> Prompt:
        if self.own and rng.random() < self.recipe.own_questions:
            return self.own[int(rng.integers(len(self.own)))]
        return self.prompts.draw(rng)

    def _sampled(self, prompts: list[Prompt], seed: int) -> Answers:
        return sample(
            self.model,
            self.processor,
            prompts,
            tokens=self.recipe.answer_tokens,
            temperature=self.recipe.temperature,
            generator=torch.Generator().manual_seed(seed),
            to_the_end=self.engine.world > 1,
        )

    def _measured(self, answers: Answers) -> dict[str, Tensor]:
        """Log-probabilities (B, A) by actor and reference, and values, before a step is taken."""
        batch, device = answers.inputs, answers.ids.device
        # As the step will compute them: else the first ratio is not 1.
        with torch.autocast(device.type, self.low_precision, enabled=bool(self.low_precision)):
            return self._measured_in(batch, self.reference.to(device))

    def _measured_in(self, batch: Batch, reference: AnomalystModel) -> dict[str, Tensor]:
        temperature = self.recipe.temperature
        states = answer_states(self.model, batch)
        old, entropy = token_logprobs(self.model, states, batch, temperature)
        before, _ = token_logprobs(reference, answer_states(reference, batch), batch, temperature)
        found = {"old": old, "reference": before, "entropy": entropy}
        if self.actor_critic.value is not None:
            found["old_values"] = self.actor_critic.value(states).float()
        return found

    def _agree(self, made: list[Batch], seconds: float) -> None:
        """Advantages, the KL coefficient and the watch, by the means over all processes."""
        for batch in made:
            said = batch["said"]
            batch["kl"] = ((batch["old"] - batch["reference"]) * said).sum(1)
            self._add_advantages(batch)
        figures = {
            **{name: _mean(b["judged"][name] for b in made) for name in made[0]["judged"]},
            "kl": _mean(b["kl"] for b in made),
            "answer_tokens": _mean(b["said"].sum(1).float() for b in made),
            "entropy": _mean(masked_mean(b["entropy"], b["said"])[None] for b in made),
        }
        figures |= {f"{name}_squared": _mean(b["judged"][name] ** 2 for b in made)
                    for name in made[0]["judged"]}  # fmt: skip
        values = self.engine.reduce(torch.stack([f.cpu() for f in figures.values()]))
        means = dict(zip(figures, values.tolist(), strict=True))
        self.kl.update(means["kl"], self.recipe.batch)
        self._note_rewards(means)
        if self.recipe.algorithm == "ppo":
            self._whiten(made)
        means = {name: value for name, value in means.items() if not name.endswith("_squared")}
        told = means | {"generating_seconds": seconds}
        if self.recipe.algorithm == "ppo":
            told["kl_coefficient"] = self.kl.coefficient
        for batch in made:
            batch["told"] = {name: torch.tensor(value) for name, value in told.items()}

    def _note_rewards(self, means: Mapping[str, float]) -> None:
        """For the watch: means, and how sure they are."""
        if "learned_reward" not in means:
            return
        # Answers to one question are right or wrong together: they count as one.
        questions = self.recipe.batch / self._group

        def of(name: str) -> tuple[float, float]:
            mean = means[f"{name}_reward"]
            variance = max(0.0, means[f"{name}_reward_squared"] - mean**2)
            return mean, variance / questions

        self.watch.rounds.append(RoundMeans(*of("verifiable"), *of("learned")))

    def _add_advantages(self, batch: Batch) -> None:
        recipe, said, scores = self.recipe, batch["said"], batch["judged"]["reward"]
        scores = scores.to(said.device)
        if recipe.algorithm == "grpo":
            each = group_advantages(scores.view(-1, recipe.group)).flatten()
            batch["advantages"] = each[:, None] * said
            return
        rewards = kl_rewards(scores, batch["old"], batch["reference"], said, self.kl.coefficient)
        batch["advantages"], batch["returns"] = gae(
            rewards, batch["old_values"], said, recipe.gamma, recipe.lam
        )

    def _whiten(self, made: list[Batch]) -> None:
        """Advantages with the mean 0 and the variance 1 over the whole round."""
        rows = [b["advantages"][b["said"]].double() for b in made]
        sums = torch.tensor(
            [float(sum(r.sum() for r in rows)), float(sum((r**2).sum() for r in rows)),
             sum(len(r) for r in rows)], dtype=torch.float64)  # fmt: skip
        total, squares, count = self.engine.reduce(sums, "sum").tolist()
        mean = total / count
        variance = max(0.0, squares - count * mean**2) / max(1.0, count - 1)
        for batch in made:
            batch["advantages"] = whiten(batch["advantages"], mean, variance, batch["said"])

    # A step

    def loss(self, batch: Batch, device: torch.device) -> tuple[Tensor, dict[str, Tensor]]:
        """The clipped objective with the value's error (PPO) or the KL term (GRPO)."""
        recipe = self.recipe
        moved = {k: v.to(device) for k, v in batch.items() if isinstance(v, Tensor)}
        said = moved["said"]
        states = answer_states(self.model, moved)
        logprobs, _ = token_logprobs(self.model, states, moved, recipe.temperature)
        parts = dict(batch["told"])
        if recipe.algorithm == "grpo":
            loss, parts["clipped"] = self._group_loss(logprobs, moved)
        else:
            policy, parts["clipped"] = clipped_surrogate(
                logprobs, moved["old"], moved["advantages"], said, recipe.clip
            )
            assert self.actor_critic.value is not None
            # The states are not trained by the value: at this size it would outweigh the policy.
            values = self.actor_critic.value(states.detach())
            error = clipped_value_loss(
                values, moved["old_values"], moved["returns"], said, recipe.value_clip
            )
            loss = policy + recipe.value_weight * error
            parts |= {"policy_loss": policy, "value_loss": error}
        if recipe.pretraining_weight:
            parts["pretraining_loss"] = self._pretraining(batch["grammar"], device)
            loss = loss + recipe.pretraining_weight * parts["pretraining_loss"]
        return loss, parts

    def _group_loss(self, logprobs: Tensor, moved: Batch) -> tuple[Tensor, Tensor]:
        """Equation 3 of DeepSeekMath: mean over the tokens of each answer, then over answers."""
        said, recipe = moved["said"], self.recipe
        surrogate, clipped = clipped_surrogate(
            logprobs, moved["old"], moved["advantages"], said, recipe.clip, per_answer=True
        )
        away = answer_mean(kl_estimate(logprobs, moved["reference"]), said)
        return surrogate + recipe.kl.weight * away, clipped

    def _pretraining(self, batch: dict[str, Tensor], device: torch.device) -> Tensor:
        """Cross-entropy of the grammar's answers (InstructGPT, equation 2's last term)."""
        return answer_loss(self.model, {k: v.to(device) for k, v in batch.items()})

    def ship(self, average: Mapping[str, Tensor]) -> Path:
        """The actor as `AnomalystModel.from_pretrained` reads it, in single precision."""
        shipped = AnomalystModel(self.model.config)
        prefix = "policy."
        shipped.load_state_dict(
            {k.removeprefix(prefix): v for k, v in average.items() if k.startswith(prefix)}
        )
        return self.write_model(shipped)


def _mean(values: Iterator[Tensor]) -> Tensor:
    return torch.cat(list(values)).float().mean()
