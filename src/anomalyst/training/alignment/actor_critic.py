"""An actor, and for PPO what foretells its reward."""

import torch
from torch import Tensor, nn

from anomalyst.vlm.huggingface import AnomalystModel


class ValueHead(nn.Module):
    """States (B, A, E) -> the reward foretold from each token on, (B, A); 0 at the start."""

    def __init__(self, width: int):
        super().__init__()
        self.hidden, self.out = nn.Linear(width, width), nn.Linear(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, states: Tensor) -> Tensor:
        found: Tensor = self.out(torch.tanh(self.hidden(states)))
        return found[..., 0]


class ActorCritic(nn.Module):
    """What speaks, and for PPO what foretells the reward."""

    def __init__(self, policy: AnomalystModel, *, critic: bool):
        super().__init__()
        self.policy = policy
        width = policy.config.text_config.hidden_size
        self.value = ValueHead(width) if critic else None
