"""What is watched in a recording, and how."""

import difflib
from dataclasses import dataclass
from typing import Literal, get_args

from anomalyst.errors import AnomalystError

MethodName = Literal["limits", "ewma", "cusum", "matrix_profile", "lstm", "transformer"]
METHOD_NAMES: tuple[str, ...] = get_args(MethodName)
FORECASTERS: tuple[str, ...] = ("lstm", "transformer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelLimits:
    """Limits a person sets for one channel, in its own units."""

    channel: int
    """Number of the column, from 0."""
    low: float | None = None
    """Values below are beyond the limit; None: there is no lower one."""
    high: float | None = None
    """Values above are beyond the limit; None: there is no upper one."""

    def __post_init__(self) -> None:
        if self.low is None and self.high is None:
            raise AnomalystError(f"channel {self.channel} has no limit; give low, high or both.")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise AnomalystError(
                f"channel {self.channel} has low {self.low:g} and high {self.high:g}; low must be "
                "below high."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesConfig:
    """One method and its dials; those of other methods do nothing."""

    method: MethodName = "lstm"
    """How recordings are judged; the default ranks drawn faults best (docs/research/series.md)."""
    window: int = 32
    """Samples a matrix profile compares and a forecaster looks back on."""
    quantile: float = 0.01
    """Of `limits`: this share of the good samples lies outside, half of it on each side."""
    hand_limits: tuple[ChannelLimits, ...] = ()
    """Of `limits`: what a person knows better than the good recordings do."""
    ewma_weight: float = 0.2
    """Of `ewma`: lambda in (0, 1], the weight of the newest sample; small finds small shifts."""
    cusum_slack: float = 0.5
    """Of `cusum`: k, half of the shift to be found, in spreads."""
    cusum_limit: float = 5.0
    """Of `cusum`: h, in spreads; sums end at twice this, or start again at it (`cusum_reset`)."""
    cusum_reset: bool = False
    """Of `cusum`: whether a sum that has passed the limit starts again from 0."""
    normalised: bool = False
    """Of `matrix_profile`: compare shapes alone, level and amplitude of each window taken out."""
    horizon: int = 1
    """Of forecasters: how many samples ahead they say what comes."""
    steps: int = 300
    """Of forecasters: steps of their short training."""
    seed: int = 0
    """Of forecasters: first weights, and which windows are shown."""

    def __post_init__(self) -> None:
        if self.method not in METHOD_NAMES:
            near = difflib.get_close_matches(str(self.method), METHOD_NAMES, n=1, cutoff=0.0)[0]
            raise AnomalystError(
                f"there is no method {self.method!r} for recordings, perhaps {near!r} is meant; "
                f"there are {', '.join(METHOD_NAMES)}."
            )
        for name, least in (("window", 4), ("horizon", 1), ("steps", 1)):
            if getattr(self, name) < least:
                raise AnomalystError(f"{name} is {getattr(self, name)}; {least} or more is needed.")
        for name in ("quantile", "ewma_weight"):
            if not 0 < getattr(self, name) <= 1:
                raise AnomalystError(
                    f"{name} is {getattr(self, name):g}; above 0 and up to 1 is needed."
                )
        if self.cusum_slack < 0 or self.cusum_limit <= 0:
            raise AnomalystError(
                f"cusum_slack is {self.cusum_slack:g} and cusum_limit {self.cusum_limit:g}; a "
                "slack of 0 or more and a limit above 0 are needed."
            )

    @property
    def silent(self) -> int:
        """Samples at the beginning of a recording that are not judged yet."""
        if self.method == "matrix_profile":
            return self.window - 1
        return self.window - 1 + self.horizon if self.method in FORECASTERS else 0
