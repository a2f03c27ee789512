"""What is known of a thing so far, as the prompt encoder takes it: shares in [0, 1] -> logits."""

import torch
from torch import Tensor

LARGEST = 8.0  # of the logits


def as_logits(shares: Tensor) -> Tensor:
    """Shares in [0, 1] -> logits, twice as steep, so that 0.98 is about `LARGEST`."""
    return 2 * torch.logit(shares.float().clamp(0.02, 0.98))
