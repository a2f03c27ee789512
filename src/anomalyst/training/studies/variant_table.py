"""The reports' table of the six variants, as data: recipes/variants/table.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anomalyst.config import load

Cell = tuple[str, str]  # what it is, its value as text


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What the reports measured, in percent; None: no figure is given."""

    reached: str  # how far the training went
    image_auroc: float | None
    pixel_auroc: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What is the same in all six."""

    dropout_in_mlp: float
    residual_layer: bool
    accumulation: int
    optimizer: str
    betas: tuple[float, float]
    epsilon: float
    weight_decay: float
    zero_stage: int
    optimizer_on_cpu: bool
    clip_norm: float
    precision: str
    scheduler_maximum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One column."""

    epochs: float
    learning_rate: float
    learning_rate_final_report: float
    batch: int
    micro_batch: int
    gpus: int
    samples: int | None  # None: all
    layer_norm_in_mlp: bool
    batch_norm_after: tuple[Literal["attention", "mlp"], ...]
    loss_scale_power: int | None
    loss_scale_window: int | None
    aebad: bool
    augmented_to: int | None
    reported: Reported

    def cells(self) -> list[Cell]:
        """What the page shows of it."""
        rate = f"{self.learning_rate:g}"
        if self.learning_rate_final_report != self.learning_rate:
            rate += f" (final report: {self.learning_rate_final_report:g})"
        scale = "unset"
        if self.loss_scale_power is not None:
            scale = f"2^{self.loss_scale_power}, window {self.loss_scale_window}"
        return [
            ("epochs", f"{self.epochs:g}"),
            ("learning rate written", rate),
            ("batch / micro-batch / GPUs", f"{self.batch} / {self.micro_batch} / {self.gpus}"),
            ("samples", "all" if self.samples is None else f"{self.samples:,}"),
            ("LayerNorm in the MLP", _yes(self.layer_norm_in_mlp)),
            ("BatchNorm after", ", ".join(self.batch_norm_after) or "–"),
            ("first loss scale", scale),
            ("AeBAD-S", _yes(self.aebad)),
            ("good pictures augmented to", str(self.augmented_to or "–")),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantTable:
    """All of it."""

    same: Shared
    variants: Mapping[str, Variant]
    baseline: Reported
    slips: tuple[str, ...]


def read_table(path: Path) -> VariantTable:
    """The table of a YAML file; AnomalystError for a missing file or a cell that cannot be."""
    return load(VariantTable, path)


def _yes(wanted: bool) -> str:
    return "yes" if wanted else "–"
