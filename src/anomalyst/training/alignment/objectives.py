"""What alignment lowers, as functions of numbers: rewards, advantages, clipped objectives.

All tensors are (B, A), A tokens of an answer, with a bool mask of those that were said.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over what the mask names; 0 where that is nothing."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def answer_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the tokens of each answer, then over answers."""
    return ((values * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def kl_rewards(
    scores: Tensor, logprobs: Tensor, reference: Tensor, mask: Tensor, coefficient: float
) -> Tensor:
    """Rewards (B, A) of tokens: -coefficient (log pi - log pi_ref), and scores (B,) at the last.

    Ouyang et al. 2022 (InstructGPT), equation 2, token by token.
    """
    rewards = -coefficient * (logprobs - reference) * mask
    last = mask.long().cumsum(1).argmax(1, keepdim=True)  # (B, 1)
    return rewards.scatter_add(1, last, scores[:, None].to(rewards.dtype))


def gae(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tensor, Tensor]:
    """Advantages and returns, each (B, A), 0 where nothing was said.

    Schulman et al. 2016, equation 16: delta_t = r_t + gamma V_(t+1) - V_t, A_t = delta_t + gamma
    lam A_(t+1); after the last token V is 0. Returns are A + V.
    """
    values = values * mask
    running = torch.zeros_like(values[:, 0])
    found = []
    for t in reversed(range(values.shape[1])):
        following = values[:, t + 1] if t + 1 < values.shape[1] else torch.zeros_like(running)
        running = rewards[:, t] + gamma * following - values[:, t] + gamma * lam * running
        running = running * mask[:, t]
        found.append(running)
    advantages = torch.stack(found[::-1], 1)
    return advantages, (advantages + values) * mask


def whiten(
    values: Tensor, mean: float, variance: float, mask: Tensor, *, shift_mean: bool = True
) -> Tensor:
    """Values with mean 0 (unless `shift_mean` is false) and variance 1, by the moments given."""
    white = (values - mean) / (variance + 1e-8) ** 0.5
    return (white if shift_mean else white + mean) * mask


def clipped_surrogate(
    logprobs: Tensor,
    old: Tensor,
    advantages: Tensor,
    mask: Tensor,
    clip: float = 0.2,
    *,
    per_answer: bool = False,
) -> tuple[Tensor, Tensor]:
    """The loss, and the share of tokens whose ratio was clipped.

    Schulman et al. 2017, equation 7, negated: mean over tokens of -min(r A, clip(r, 1 - clip,
    1 + clip) A) with r = exp(log pi - log pi_old). `per_answer`: mean over the tokens of each
    answer, then over answers, as in DeepSeekMath, equation 3.
    """
    ratio = ((logprobs - old) * mask).exp()
    plain, clipped = -advantages * ratio, -advantages * ratio.clamp(1 - clip, 1 + clip)
    share = masked_mean((clipped > plain).float(), mask)
    worse = torch.maximum(plain, clipped)
    return answer_mean(worse, mask) if per_answer else masked_mean(worse, mask), share


def clipped_value_loss(
    values: Tensor, old: Tensor, returns: Tensor, mask: Tensor, clip: float = 0.2
) -> Tensor:
    """Half of the squared error of values that may move by `clip` at most, mean over tokens."""
    near = old + (values - old).clamp(-clip, clip)
    worse = torch.maximum((values - returns) ** 2, (near - returns) ** 2)
    return 0.5 * masked_mean(worse, mask)


def reward_loss(chosen: Tensor, rejected: Tensor, margin: Tensor | None = None) -> Tensor:
    """Mean of -log sigmoid(r_chosen - r_rejected - margin), all (B,).

    Bradley and Terry 1952; with a margin, Touvron et al. 2023 (Llama 2), equation 2.
    """
    difference = chosen - rejected
    return -F.logsigmoid(difference if margin is None else difference - margin).mean()


def dpo_loss(
    chosen: Tensor, rejected: Tensor, ref_chosen: Tensor, ref_rejected: Tensor, beta: float = 0.1
) -> tuple[Tensor, Tensor]:
    """The loss, and the share of pairs ranked right; all (B,) sums of log-probabilities.

    Rafailov et al. 2023, equation 7: -log sigmoid(beta ((c - ref_c) - (r - ref_r))).
    """
    gain = beta * ((chosen - ref_chosen) - (rejected - ref_rejected))
    return -F.logsigmoid(gain).mean(), (gain > 0).float().mean()


def group_advantages(rewards: Tensor) -> Tensor:
    """(N, G) rewards of G answers to each prompt -> how much better each is than its group.

    Shao et al. 2024 (DeepSeekMath), section 4.1.2: (r - mean) / std of the group.
    """
    if rewards.shape[1] < 2:
        return torch.zeros_like(rewards)
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred / (rewards.std(1, keepdim=True) + 1e-4)


def kl_estimate(logprobs: Tensor, reference: Tensor) -> Tensor:
    """Of KL(pi, pi_ref) by one sample, never negative: e^d - d - 1, d = log pi_ref - log pi.

    Schulman 2020, "Approximating KL divergence", k3; the term of GRPO's objective.
    """
    difference = reference - logprobs
    return difference.exp() - difference - 1


@dataclass(slots=True)
class AdaptiveKL:
    """The coefficient of the KL penalty, steered to a target.

    Ziegler et al. 2019, section 2.2: beta is multiplied by 1 + error n / horizon, where the error
    is KL / target - 1, clipped to 0.2, and n the answers sampled since.
    """

    coefficient: float
    target: float  # nats an answer; 0: the coefficient stays
    horizon: float = 10_000.0  # answers

    def update(self, kl: float, count: int) -> None:
        """After `count` answers whose mean KL was `kl`."""
        if not self.target:
            return
        error = min(0.2, max(-0.2, kl / self.target - 1))
        self.coefficient *= 1 + error * count / self.horizon
