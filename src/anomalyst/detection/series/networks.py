"""Two small networks that say what comes next: an LSTM and a causal transformer."""

from typing import Protocol

import torch
from torch import Tensor, nn

HIDDEN = 48  # of the LSTM: 11 k parameters at 8 channels
WIDTH, HEADS, LAYERS = 32, 4, 2  # of the transformer: 19 k parameters at 8 channels, window 32
LARGEST_INPUT = 10.0  # spreads: beyond, an input says no more, and may not blow up what follows


class Network(Protocol):
    """Forecast of the sample `horizon` ahead, from each sample of a window and those before it."""

    def __call__(self, z: Tensor) -> Tensor:
        """Standardised (B, T, C) -> (B, T, C)."""


class LstmNetwork(nn.Module):
    """A layer of LSTM (Hochreiter and Schmidhuber 1997) on top of "nothing will change"."""

    def __init__(self, channels: int):
        super().__init__()
        self.lstm = nn.LSTM(channels, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, channels)
        _small(self.out)

    def forward(self, z: Tensor) -> Tensor:
        """Standardised (B, T, C) -> (B, T, C)."""
        return self.going_on(z, None)[0]

    def going_on(
        self, z: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The same from a state on, and the state after it."""
        z = z.clamp(-LARGEST_INPUT, LARGEST_INPUT)
        hidden, state = self.lstm(z, state)  # (B, T, 48)
        return z + self.out(hidden), state


class TransformerNetwork(nn.Module):
    """Two layers of causal attention over a window (Vaswani et al. 2017), pre-norm."""

    def __init__(self, channels: int, window: int):
        super().__init__()
        self.inwards = nn.Linear(channels, WIDTH)
        self.places = nn.Parameter(torch.randn(window, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, channels)
        _small(self.out)

    def forward(self, z: Tensor) -> Tensor:
        """Standardised (B, T, C), T at most the window -> (B, T, C)."""
        z = z.clamp(-LARGEST_INPUT, LARGEST_INPUT)
        length = z.shape[1]
        mask = torch.full((length, length), -torch.inf, device=z.device).triu(1)
        hidden = self.layers(self.inwards(z) + self.places[:length], mask=mask)  # (B, T, 32)
        return z + self.out(hidden)


def _small(layer: nn.Linear) -> None:
    """It begins by saying that nothing will change."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
