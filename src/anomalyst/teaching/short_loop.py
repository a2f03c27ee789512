"""The short loop that fits a few parameters to one product while it is taught.

Not the loop of `training/`: no run, no checkpoint, no device but the detector's, seconds long, and
in a layer that `training/` stands on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from anomalyst.hardware.threads import RoomForThreads


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortLoop:
    """How long, and how fast."""

    steps: int
    learning_rate: float
    warmup_steps: int = 8
    late_share: float = 0.4  # last share of the steps: slower, and averaged


def fit_averaged(
    parameters: Mapping[str, Tensor],
    loss: Callable[[int], Tensor],
    loop: ShortLoop,
    on_step: Callable[[], None] = lambda: None,
) -> dict[str, Tensor]:
    """The parameters after AdamW on `loss(step)`, averaged over the late steps.

    The parameters themselves are changed on the way.
    """
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters.values(), loop.learning_rate, weight_decay=0.0)
    room = RoomForThreads()
    late = round(loop.steps * (1 - loop.late_share))
    average = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for step in range(loop.steps):
        rate = min(1.0, (step + 1) / loop.warmup_steps) * (1.0 if step < late else 0.3)
        optimizer.param_groups[0]["lr"] = loop.learning_rate * rate
        with room():
            value = loss(step)
            optimizer.zero_grad()
            value.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
        optimizer.step()
        if step >= late:
            for name, parameter in parameters.items():
                average[name] += parameter.detach() / (loop.steps - late)
        on_step()
    return average
