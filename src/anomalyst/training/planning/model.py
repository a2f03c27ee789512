"""A transformer by its number of parameters, and how it is trained."""

import re
from dataclasses import dataclass

from anomalyst.errors import AnomalystError

HEAD = 128  # layers grow with width as LLaMA's, MPT's and OPT's do: about 128 wide a layer
UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A decoder of blocks that hold 12 width^2 parameters each."""

    parameters: float
    layers: int
    width: int
    vocabulary: int = 32_000
    trained: float  # parameters that change; the others are frozen

    def __post_init__(self) -> None:
        if not 0 < self.trained <= self.parameters:
            raise AnomalystError(
                f"--trained {self.trained:.3g}: above 0 and at most the model's "
                f"{self.parameters:.3g} is needed."
            )

    @property
    def block(self) -> float:
        """Parameters of one block."""
        return 12.0 * self.width**2

    @property
    def largest_layer(self) -> float:
        """Parameters of the largest single matrix: that of the words, or of an MLP."""
        return float(max(self.vocabulary * self.width, 4 * self.width**2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one GPU does in a step."""

    micro_batch: int = 1  # sequences at once
    context: int = 2048  # tokens of a sequence
    accumulation: int = 1  # micro-batches before the weights change
    recompute: bool = False  # keep only what goes into each block, and compute the rest again

    def __post_init__(self) -> None:
        for name in ("micro_batch", "context", "accumulation"):
            if getattr(self, name) < 1:
                option = f"--{name.replace('_', '-')}"
                raise AnomalystError(f"{option} {getattr(self, name)}: at least 1 is needed.")

    @property
    def tokens(self) -> int:
        """Of one GPU in a step."""
        return self.micro_batch * self.context * self.accumulation


def read_count(text: str, option: str = "--parameters") -> float:
    """`7B`, `350M`, `6.7e9` -> a number. Raises AnomalystError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?(?:e\d+)?)([KMBT]?)", text.strip(), re.IGNORECASE)
    count = float(found[1]) * UNITS[found[2].upper()] if found else 0.0
    if not count:
        raise AnomalystError(f"{option} {text}: a number is needed, as 7B, 350M or 6.7e9.")
    return count


def shape_of(
    parameters: float,
    *,
    trained: float | None = None,
    layers: int | None = None,
    width: int | None = None,
    vocabulary: int = 32_000,
) -> ModelShape:
    """The shape that is not said follows from 12 layers width^2 parameters, 128 wide a layer."""
    if layers is None:
        layers = max(1, round((parameters / 12 / (width or 1) ** 2) if width
                              else (parameters / 12 / HEAD**2) ** (1 / 3)))  # fmt: skip
    if width is None:
        width = max(HEAD // 2, 64 * round((parameters / 12 / layers) ** 0.5 / 64))
    return ModelShape(
        parameters=parameters, layers=layers, width=width, vocabulary=vocabulary,
        trained=parameters if trained is None else trained,
    )  # fmt: skip
