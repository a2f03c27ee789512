"""The objectives of alignment: against numbers worked by hand, and against what TRL computes."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from anomalyst.training.alignment.objectives import (
    AdaptiveKL,
    answer_mean,
    clipped_surrogate,
    clipped_value_loss,
    dpo_loss,
    gae,
    group_advantages,
    kl_estimate,
    kl_rewards,
    masked_mean,
    reward_loss,
    whiten,
)
from trl_case import DATA, RecordedPPO, recorded_ppo

TRL = json.loads((DATA / "trl_losses.json").read_text(encoding="utf-8"))
CASES = ["padded", "full"]


def near(got: Tensor, wanted: Any, *, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    wanted = torch.as_tensor(wanted, dtype=got.dtype)
    torch.testing.assert_close(got.detach(), wanted, rtol=rtol, atol=atol)


# Worked by hand


def test_an_advantage_fades_by_lambda_with_each_token_before_the_reward() -> None:
    rewards, values = torch.tensor([[0.0, 0, 0, 0, 1]]), torch.full((1, 5), 0.5)
    advantages, returns = gae(rewards, values, torch.ones(1, 5, dtype=torch.bool))
    # Only the last delta is not zero: 1 - 0.5. Those before it are 0.95, 0.95^2, ... of it.
    worked = [0.407253125, 0.4286875, 0.45125, 0.475, 0.5]
    near(advantages, [worked])
    near(returns, [[a + 0.5 for a in worked]])


def test_advantages_end_where_the_answer_ends() -> None:
    mask = torch.tensor([[True, True, True, False, False]])
    rewards = torch.tensor([[0.1, -0.2, 1.0, 9.0, 9.0]])  # what lies behind the end is not read
    values = torch.tensor([[0.2, 0.4, 0.6, 9.0, 9.0]])
    advantages, returns = gae(rewards, values, mask)
    # Deltas 0.1 + 0.4 - 0.2 = 0.3; -0.2 + 0.6 - 0.4 = 0; 1 - 0.6 = 0.4.
    # 0.4; 0 + 0.95 x 0.4 = 0.38; 0.3 + 0.95 x 0.38 = 0.661.
    near(advantages[mask], [0.661, 0.38, 0.4])
    near(returns[mask], [0.861, 0.78, 1.0])


def test_a_discount_counts_in_the_delta_and_in_the_sum() -> None:
    advantages, _ = gae(
        torch.tensor([[1.0, 2.0]]), torch.tensor([[0.5, 0.5]]), torch.ones(1, 2, dtype=torch.bool),
        gamma=0.9, lam=0.5,
    )  # fmt: skip
    # 2 - 0.5 = 1.5; 1 + 0.9 x 0.5 - 0.5 = 0.95; 0.95 + 0.9 x 0.5 x 1.5 = 1.625.
    near(advantages, [[1.625, 1.5]])


def test_whitened_values_have_no_mean_and_unit_variance_where_they_count() -> None:
    mask = torch.tensor([[True, True], [True, False]])
    # 1, 3, 5: mean 3, variance 4 with two degrees of freedom.
    values = torch.tensor([[1.0, 3.0], [5.0, 50.0]])
    near(whiten(values, 3.0, 4.0, mask), [[-1.0, 0.0], [1.0, 0.0]])
    near(whiten(values, 3.0, 4.0, mask, shift_mean=False), [[2.0, 3.0], [4.0, 0.0]])


def test_the_clipped_objective_stops_where_going_on_would_pay() -> None:
    ratios = torch.tensor([[1.5, 1.5, 0.5, 0.5, 1.1, 7.0]])
    advantages = torch.tensor([[1.0, -1.0, 1.0, -1.0, 2.0, 7.0]])
    mask = torch.tensor([[True] * 5 + [False]])
    old = torch.full((1, 6), -2.0)
    logprobs = (old + ratios.log()).requires_grad_()
    loss, clipped = clipped_surrogate(logprobs, old, advantages, mask, clip=0.2)
    # min(r A, clip(r) A): 1.2, -1.5, 0.5, -0.8, 2.2; together 1.6, of five.
    near(loss, -0.32)
    near(torch.as_tensor(clipped), 0.4)  # the first and the fourth
    loss.backward()
    # d/dlog r of -r A / 5, nothing where clipped.
    near(logprobs.grad, [[0.0, 0.3, -0.1, 0.0, -0.44, 0.0]])


def test_the_value_loss_takes_the_worse_of_plain_and_clipped() -> None:
    values, old = torch.tensor([[1.5, 0.9, 0.5, 9.0]]), torch.ones(1, 4)
    returns, mask = torch.tensor([[2.0, 0.5, 0.0, 0.0]]), torch.tensor([[True, True, True, False]])
    # Clipped to 1.2, 0.9, 0.8. Squares: max(0.25, 0.64), 0.16, max(0.25, 0.64); half of their mean.
    near(clipped_value_loss(values, old, returns, mask, clip=0.2), 0.24)


def test_reward_loss_is_the_log_sigmoid_of_the_difference_less_the_margin() -> None:
    chosen, rejected = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 1.0, 2.0])
    worked = [0.3132617, 1.3132617, 0.6931472]  # log(1 + e^-1), log(1 + e), log 2
    near(reward_loss(chosen, rejected), sum(worked) / 3)
    near(reward_loss(chosen[:1], rejected[:1], torch.tensor([1.0])), 0.6931472)
    near(reward_loss(torch.tensor([14.6]), torch.tensor([-12.4])), 0.0)


def test_dpo_loss_is_the_log_sigmoid_of_how_far_the_policy_left_its_reference() -> None:
    # 0.1 x ((-10 + 11) - (-12 + 11)) = 0.2; the second pair turned round: -0.2.
    ours = torch.tensor([-10.0, -12.0]), torch.tensor([-12.0, -10.0])
    reference = torch.tensor([-11.0, -11.0])
    loss, accuracy = dpo_loss(*ours, reference, reference, beta=0.1)
    near(loss, (0.5981389 + 0.7981389) / 2)
    near(torch.as_tensor(accuracy), 0.5)


def test_the_score_is_the_last_tokens_and_each_token_pays_for_its_distance() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -0.5], [-1.0, -2.0, -0.5]])
    reference = torch.tensor([[-1.5, -2.0, -1.0], [-1.5, -2.0, -1.0]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    rewards = kl_rewards(torch.tensor([2.0, 2.0]), logprobs, reference, mask, 0.1)
    near(rewards, [[-0.05, 0.0, 1.95], [-0.05, 2.0, 0.0]])


def test_group_advantages_say_how_far_above_its_group_an_answer_lies() -> None:
    near(group_advantages(torch.tensor([[3.0, 1.0, 2.0]])), [[1.0, -1.0, 0.0]], rtol=1e-3)
    near(group_advantages(torch.full((1, 4), 0.25)), [[0.0] * 4])


def test_the_kl_estimate_is_never_negative_and_nothing_where_both_agree() -> None:
    reference = torch.tensor([-1.0, -1.0, -1.0])
    logprobs = reference - torch.tensor([0.0, 2.0, 0.5]).log1p()  # d = 0, log 3, log 1.5
    near(kl_estimate(logprobs, reference), [0.0, 0.9013877, 0.0945349])  # e^d - d - 1


def test_the_kl_coefficient_follows_its_target_slowly() -> None:
    controller = AdaptiveKL(0.2, 6.0, 10_000.0)
    controller.update(12.0, 256)  # error 1, clipped to 0.2: times 1 + 0.2 x 256 / 10,000
    assert controller.coefficient == pytest.approx(0.2 * 1.00512)
    controller.update(5.4, 1_000)  # error -0.1: times 1 - 0.1 x 0.1
    assert controller.coefficient == pytest.approx(0.2 * 1.00512 * 0.99)
    controller.update(0.0, 1_000)  # error -1, clipped to -0.2
    assert controller.coefficient == pytest.approx(0.2 * 1.00512 * 0.99 * 0.98)
    fixed = AdaptiveKL(0.2, 0.0)  # no target
    fixed.update(100.0, 1_000)
    assert fixed.coefficient == 0.2


# Against TRL


@pytest.mark.parametrize("case", CASES)
def test_rewards_and_advantages_are_trls(case: str) -> None:
    recorded = recorded_ppo(case)
    with torch.no_grad():
        rollout = rolled_out(recorded)
    held, mask = recorded.held, recorded.held["mask"]
    near(rollout["logprobs"][mask], held["logprobs"][mask])
    near(rollout["ref_logprobs"][mask], held["ref_logprobs"][mask])
    for name in ("values", "rewards", "advantages", "returns"):
        near(rollout[name][held["mask_p1"]], held[name][held["mask_p1"]])
    near(rollout["whitened"][mask], held["whitened_advantages"][mask], atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_steps_of_ppo_lead_where_trls_do(case: str) -> None:
    recorded = recorded_ppo(case)
    with torch.no_grad():
        rollout = rolled_out(recorded)
    optimizer = recorded.optimizer()
    for wanted in recorded.steps:
        figures = ppo_losses(recorded, rollout)
        optimizer.zero_grad()
        figures["loss"].backward()
        figures["grad_norm"] = torch.nn.utils.get_total_norm(
            [p.grad for group in optimizer.param_groups for p in group["params"]
             if p.grad is not None]
        )  # fmt: skip
        optimizer.step()
        for name, value in figures.items():
            near(torch.as_tensor(value), wanted[name])
    for name, model in (("policy", recorded.policy), ("value", recorded.value)):
        ours, end = model.state_dict(), recorded.end(name)
        for key, weights in end.items():
            near(ours[key], weights, atol=1e-5)


@pytest.mark.parametrize("name", ["reward", "reward_margin"])
def test_reward_loss_is_trls(name: str) -> None:
    held = TRL[name]
    margin = torch.tensor(held["margin"]) if "margin" in held else None
    chosen, rejected = (torch.tensor(held[f"rewards_{side}"]) for side in ("chosen", "rejected"))
    near(reward_loss(chosen, rejected, margin), held["loss"])


def test_dpo_loss_is_trls() -> None:
    held = TRL["dpo"]
    names = ("chosen_logps", "rejected_logps", "ref_chosen_logps", "ref_rejected_logps")
    loss, accuracy = dpo_loss(*(torch.tensor(held[name]) for name in names), beta=held["beta"])
    near(loss, held["loss"])
    near(torch.as_tensor(accuracy), sum(held["reward_accuracies"]) / 4)


@pytest.mark.parametrize("kind", ["grpo", "dapo"])
def test_group_advantages_and_the_loss_on_them_are_trls(kind: str) -> None:
    """TRL's `dapo` means over all tokens, its `grpo` over each answer's and then over answers."""
    held = TRL[kind]
    near(group_advantages(torch.tensor(held["rewards"])).flatten(), held["group_advantages"])
    mask = torch.tensor(held["mask"]).bool()
    advantages = torch.tensor(held["advantages"])[:, None].expand(mask.shape)
    old, reference = (torch.tensor(held[f"{n}_per_token_logps"]) for n in ("old", "ref"))
    mean = answer_mean if kind == "grpo" else masked_mean
    for step, clipped in zip(held["steps"], held["clipped"], strict=True):
        new = torch.tensor(step["per_token_logps"])
        loss, fraction = clipped_surrogate(
            new, old, advantages, mask, clip=held["clip"], per_answer=kind == "grpo"
        )
        near(torch.as_tensor(fraction), clipped)
        near(loss + held["beta"] * mean(kl_estimate(new, reference), mask), step["loss"])


def rolled_out(recorded: RecordedPPO) -> dict[str, Tensor]:
    """What the steps need, by our functions.

    For TRL an answer has one place more where it ends early: there the score is given, and valued.
    """
    settings, held = recorded.settings, recorded.held
    mask, longer = held["mask"], held["mask_p1"]
    found = {
        "logprobs": recorded.per_token(recorded.policy),
        "ref_logprobs": recorded.per_token(recorded.reference),
    }
    found = {name: values.masked_fill(~mask, 0.0) for name, values in found.items()}
    found["values"] = recorded.values().masked_fill(~longer, 0.0)
    found["rewards"] = kl_rewards(
        held["scores"], found["logprobs"], found["ref_logprobs"], longer, settings["kl_coef"]
    )
    found["advantages"], found["returns"] = gae(
        found["rewards"], found["values"], longer, settings["gamma"], settings["lam"]
    )
    said = found["advantages"][mask]
    found["whitened"] = whiten(found["advantages"], float(said.mean()), float(said.var()), mask)
    return found


def ppo_losses(recorded: RecordedPPO, rollout: dict[str, Tensor]) -> dict[str, Any]:
    """One pass over the batch, with TRL's names."""
    settings, held = recorded.settings, recorded.held
    policy, clipped = clipped_surrogate(
        recorded.per_token(recorded.policy), rollout["logprobs"], rollout["whitened"],
        held["mask"], settings["cliprange"],
    )  # fmt: skip
    value = clipped_value_loss(
        recorded.values(), rollout["values"], rollout["returns"], held["mask_p1"],
        settings["cliprange_value"],
    )  # fmt: skip
    loss = policy + settings["vf_coef"] * value
    return {"loss": loss, "pg_loss": policy, "vf_loss": value, "pg_clipfrac": clipped}
