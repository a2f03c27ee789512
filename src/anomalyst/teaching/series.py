"""Good recordings -> a fitted method; a forecaster's network is trained here, in seconds."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from anomalyst.detection.series.base import Method, Scale, refuse_unusable_good
from anomalyst.detection.series.config import FORECASTERS, SeriesConfig
from anomalyst.detection.series.forecaster import Forecaster
from anomalyst.detection.series.methods import fit_untrained, least_samples
from anomalyst.detection.series.networks import LARGEST_INPUT
from anomalyst.teaching.short_loop import ShortLoop, fit_averaged

HELD_OUT = 0.25  # of the good samples that say how large residuals are, and are not learnt
BATCH = 32  # windows a step
LEARNING_RATE = 3e-3


def fit_series(
    good: Sequence[np.ndarray],
    config: SeriesConfig,
    on_step: Callable[[], None] = lambda: None,
) -> Method:
    """A method fitted to good recordings, each finite (T_i, C), all of one rate.

    `on_step` is called after each step of a forecaster's training (`config.steps` of them). The
    same recordings give the same method. Raises AnomalystError for recordings that are too short
    for the window, of different widths, or hold what is no number.
    """
    if config.method not in FORECASTERS:
        return fit_untrained(good, config)
    refuse_unusable_good(good, least_samples(config))
    forecaster = Forecaster.untrained(config, Scale.of(good))
    learnt, held_out = _split(good, config)
    _train(forecaster, learnt, on_step)
    return forecaster.fitted_to(held_out)


def _split(
    good: Sequence[np.ndarray], config: SeriesConfig
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What is learnt, and what is not: the last quarter of every recording.

    A quarter too short to judge anything begins earlier: its first samples are only looked back on.
    """
    learnt, held_out = [], []
    for one in good:
        cut = round((1 - HELD_OUT) * len(one))
        if cut > config.silent + 1:
            learnt.append(one[:cut])
            held_out.append(one[max(0, cut - config.silent) :])
    return learnt, held_out


def _train(
    forecaster: Forecaster, learnt: Sequence[np.ndarray], on_step: Callable[[], None]
) -> None:
    """The network learns what comes `horizon` samples later, from every place of random windows."""
    config, network = forecaster.config, forecaster.network
    z = [torch.from_numpy(forecaster.scale.standardised(one)).float() for one in learnt]
    starts = [(i, t) for i, one in enumerate(z) for t in range(len(one) - config.silent)]
    rng = np.random.default_rng(config.seed)
    length = config.window + config.horizon

    def loss(step: int) -> torch.Tensor:
        del step
        picked = [starts[int(k)] for k in rng.integers(len(starts), size=BATCH)]
        windows = torch.stack([z[i][t : t + length] for i, t in picked])  # (B, w + h, C)
        told = network(windows[:, : config.window])
        come = windows[:, config.horizon :].clamp(-LARGEST_INPUT, LARGEST_INPUT)
        # The first places have seen next to nothing and are not asked when it is used, either.
        seen = config.window // 4
        return F.mse_loss(told[:, seen:], come[:, seen:])

    network.train()
    loop = ShortLoop(steps=config.steps, learning_rate=LEARNING_RATE)
    average = fit_averaged(dict(network.named_parameters()), loss, loop, on_step)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(average[name])
            parameter.requires_grad_(False)
    network.eval()
