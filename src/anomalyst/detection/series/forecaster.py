"""What a network did not see coming: residuals of a forecast, whitened.

The network is trained on good recordings where a product is taught (`teaching/series.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from anomalyst.detection.series.base import Method, Running, Scale, refuse_unusable
from anomalyst.detection.series.config import SeriesConfig
from anomalyst.detection.series.networks import LstmNetwork, TransformerNetwork

SHRINKAGE = 0.1  # of the residuals' correlations towards none: few samples tell them poorly
LEAST_RESIDUAL = 0.02  # spreads: a channel foretold better than this is watched at this
AT_ONCE = 512  # windows in one batch of the transformer


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Forecaster(Method):
    """How far each sample is from its forecast, in the good recordings' residual spreads.

    Residuals are whitened by the inverse square root of their covariance (ZCA, which keeps every
    channel as near to itself as can be), so what two channels miss together counts once.
    """

    network: nn.Module
    bias: np.ndarray  # float64 (C,): mean residual of good samples
    whitening: np.ndarray  # float64 (C, C)

    @classmethod
    def untrained(cls, config: SeriesConfig, scale: Scale) -> Self:
        """Its network has not learnt anything yet: it says that nothing will change."""
        channels = len(scale.centre)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            network = _network(config, channels)
        return cls(
            config=config,
            scale=scale,
            unit=np.ones(channels),
            network=network,
            bias=np.zeros(channels),
            whitening=np.eye(channels),
        )

    def fitted_to(self, held_out: Sequence[np.ndarray]) -> Self:
        """The same with residuals whitened and scaled by good samples (T_i, C) it did not learn."""
        z = [self.scale.standardised(one) for one in held_out]
        residuals = [_Ahead(self).residuals(one)[self.config.silent :] for one in z]
        found = np.concatenate(residuals)
        bias = np.median(found, axis=0)
        whitened = replace(self, bias=bias, whitening=_whitening(found - bias))
        return whitened.with_unit([whitened.running().step(one) for one in z])

    def forecast(self, values: np.ndarray) -> np.ndarray:
        """What was expected, in the channels' own units: finite (T, C) -> float64 (T, C), causal.

        The first `config.silent` samples are given back as they are.
        """
        refuse_unusable(values, len(self.unit))
        residuals = _Ahead(self).residuals(self.scale.standardised(values))
        residuals[: self.config.silent] = 0
        return values - residuals * self.scale.spread

    def running(self) -> Running:
        """It remembers its forecasts, and what the network looks back on."""
        return _Ahead(self)

    def _learnt(self) -> dict[str, Tensor]:
        network = {f"network.{name}": t.clone() for name, t in self.network.state_dict().items()}
        rest = {"bias": self.bias, "whitening": self.whitening}
        return network | {name: torch.from_numpy(one.copy()) for name, one in rest.items()}

    @classmethod
    def _from_learnt(cls, config: SeriesConfig, state: Mapping[str, Tensor]) -> dict:
        network = _network(config, len(state["centre"]))
        start = "network."
        network.load_state_dict(
            {name.removeprefix(start): t for name, t in state.items() if name.startswith(start)}
        )
        kept = {name: state[name].numpy().copy() for name in ("bias", "whitening")}
        return {"network": network.eval(), **kept}


@dataclass(slots=True, eq=False)
class _Ahead:
    """Forecasts in the middle of a recording."""

    method: Forecaster
    seen: int = 0
    forecasts: np.ndarray = field(init=False)  # of the samples to come, (up to horizon, C)
    past: np.ndarray = field(init=False)  # of a transformer: the last window - 1 samples
    state: tuple[Tensor, Tensor] | None = None  # of an LSTM

    def __post_init__(self) -> None:
        self.forecasts = self.past = np.empty((0, len(self.method.unit)))

    def step(self, z: np.ndarray) -> np.ndarray:
        residuals = self.residuals(z)
        whitened = np.abs((residuals - self.method.bias) @ self.method.whitening)
        whitened[: max(0, self.method.config.silent - (self.seen - len(z)))] = 0
        return whitened

    def residuals(self, z: np.ndarray) -> np.ndarray:
        """Samples less their forecasts, (n, C); 0 where there was no forecast yet."""
        if not len(z):
            return z
        made = self._forecast(z)  # of samples seen + horizon, ...
        known = np.concatenate([self.forecasts, made])
        # Forecast i of `known` is of sample number seen + horizon - len(self.forecasts) + i.
        skipped = self.method.config.horizon - len(self.forecasts)
        found = np.zeros_like(z)
        found[skipped:] = z[skipped:] - known[: max(0, len(z) - skipped)]
        self.forecasts = known[max(0, len(z) - skipped) :]
        self.seen += len(z)
        return found

    @torch.no_grad()
    def _forecast(self, z: np.ndarray) -> np.ndarray:
        """From each of these samples and those before them: (n, C)."""
        network = self.method.network
        if isinstance(network, LstmNetwork):
            given = torch.from_numpy(z.astype(np.float32))[None]
            told, self.state = network.going_on(given, self.state)
            return told[0].double().numpy()
        return self._from_windows(network, z)

    def _from_windows(self, network: nn.Module, z: np.ndarray) -> np.ndarray:
        """By the last place of every whole window; "no change" before there is one."""
        size = self.method.config.window
        samples = np.concatenate([self.past, z])
        found = z.copy()
        if len(samples) >= size:
            views = np.lib.stride_tricks.sliding_window_view(samples, size, axis=0)  # (N, C, w)
            windows = torch.from_numpy(views.transpose(0, 2, 1).astype(np.float32))
            told = [network(part)[:, -1] for part in windows.split(AT_ONCE)]
            found[len(z) - len(windows) :] = torch.cat(told).double().numpy()
        self.past = samples[max(0, len(samples) - size + 1) :]
        return found


def _network(config: SeriesConfig, channels: int) -> nn.Module:
    if config.method == "lstm":
        return LstmNetwork(channels).eval()
    return TransformerNetwork(channels, config.window).eval()


def _whitening(residuals: np.ndarray) -> np.ndarray:
    """Inverse square root of their covariance about 0, shrunk: (n, C) -> (C, C)."""
    spread = np.maximum(np.sqrt((residuals**2).mean(axis=0)), LEAST_RESIDUAL)
    unit = residuals / spread
    correlation = (1 - SHRINKAGE) * (unit.T @ unit) / len(unit)
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    root = vectors @ np.diag(1 / np.sqrt(np.maximum(values, 1e-6))) @ vectors.T
    return root / spread[:, None]
