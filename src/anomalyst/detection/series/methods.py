"""The methods by name: fitted where nothing is trained, and read back from tensors."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from torch import Tensor

from anomalyst.detection.series.base import Method, refuse_unusable_good
from anomalyst.detection.series.config import SeriesConfig
from anomalyst.detection.series.cusum import Cusum
from anomalyst.detection.series.ewma import Ewma
from anomalyst.detection.series.forecaster import Forecaster
from anomalyst.detection.series.limits import Limits
from anomalyst.detection.series.matrix_profile import MatrixProfile
from anomalyst.errors import AnomalystError

UNTRAINED: dict[str, Callable[[Sequence[np.ndarray], SeriesConfig], Method]] = {
    "limits": Limits.fit,
    "ewma": Ewma.fit,
    "cusum": Cusum.fit,
    "matrix_profile": MatrixProfile.fit,
}
METHODS: dict[str, type[Method]] = {
    "limits": Limits,
    "ewma": Ewma,
    "cusum": Cusum,
    "matrix_profile": MatrixProfile,
    "lstm": Forecaster,
    "transformer": Forecaster,
}
WINDOWS_NEEDED = 4  # of the longest good recording, where a method looks at windows


def fit_untrained(good: Sequence[np.ndarray], config: SeriesConfig) -> Method:
    """A method without a network, fitted to good recordings, finite (T_i, C) of one rate.

    Raises AnomalystError for recordings that are too short, of different widths or not finite.
    """
    refuse_unusable_good(good, least_samples(config))
    return UNTRAINED[config.method](good, config)


def least_samples(config: SeriesConfig) -> int:
    """How long the longest good recording must be."""
    return max(8, WINDOWS_NEEDED * (config.silent + 1))


def read_method(config: SeriesConfig, state: Mapping[str, Tensor]) -> Method:
    """The method of which `state()` gave the tensors. Raises AnomalystError for any others."""
    try:
        return METHODS[config.method].from_state(config, state)
    except (KeyError, RuntimeError) as error:
        raise AnomalystError(
            f"these are not the tensors of method {config.method!r} as it is configured "
            f"({str(error).splitlines()[0]}); teach the product again."
        ) from error
