"""How large the six towers are and what they read. ImageBind: Girdhar et al., CVPR 2023."""

import difflib
from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from anomalyst.errors import AnomalystError

Modality = Literal["image", "text", "audio", "depth", "thermal", "imu"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
LARGEST_SCALE = 100.0  # the temperature's inverse is cut there, as in CLIP


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerConfig:
    """What all towers have: a pre-norm transformer, a head and a temperature."""

    width: int
    depth: int
    heads: int
    mlp_ratio: int = 4  # width of the hidden layer, in widths
    drop_path: float = 0.0  # share of examples that skip the last block in training; rises from 0
    bias_kv: bool = False  # one learned key and value that every token may attend to
    norm_first: bool = False  # a layer norm before the first block
    head_dropout: float = 0.0  # before the projection into the common space
    scale: float | None = None  # by which the published model multiplies the embedding; None: not
    scale_learned: bool = False

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise AnomalystError(
                f"width {self.width} with {self.heads} heads: heads share the width evenly; choose "
                "a width that is a multiple of heads."
            )
        if min(self.width, self.depth, self.heads, self.mlp_ratio) < 1:
            raise AnomalystError("width, depth, heads and mlp_ratio are 1 or more.")
        if not (0 <= self.drop_path < 1 and 0 <= self.head_dropout < 1):
            raise AnomalystError("drop_path and head_dropout are shares, from 0 to below 1.")
        if self.scale is not None and not 0 < self.scale <= LARGEST_SCALE:
            raise AnomalystError(f"scale {self.scale}: lies above 0 and up to {LARGEST_SCALE:g}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GridConfig(TowerConfig):
    """A tower that reads patches of a picture, a spectrogram, depth or heat."""

    channels: int
    size_hw: tuple[int, int]  # of a spectrogram: mel bands, frames
    patch: int  # side of a square patch
    stride: int | None = None  # from one patch to the next; None: a patch, so none overlap
    frames: int = 1  # of a film, joined by the patch projection; a picture counts as standing still
    patch_norm: bool = False  # a layer norm on the patches before positions are added
    positions: Literal["learned", "sincos"] = "learned"

    def __post_init__(self) -> None:
        # No super() without arguments in a slotted dataclass: its class is made anew.
        TowerConfig.__post_init__(self)
        if min(self.channels, self.frames, self.patch, self.step) < 1:
            raise AnomalystError("channels, frames, patch and stride are 1 or more.")
        if min(self.size_hw) < self.patch:
            raise AnomalystError(
                f"size_hw {list(self.size_hw)} with patches of {self.patch}: at least one patch "
                "must fit."
            )
        if self.positions == "sincos" and self.width % 4:
            raise AnomalystError(
                f"width {self.width}: sin/cos positions of a grid need a multiple of 4."
            )

    @property
    def step(self) -> int:
        """From one patch to the next."""
        return self.patch if self.stride is None else self.stride

    def grid(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches on an input of this size."""
        return tuple((side - self.patch) // self.step + 1 for side in size_hw)  # type: ignore[return-value]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesConfig(TowerConfig):
    """A tower that reads steps of several sensors: acceleration and rotation of an IMU."""

    channels: int
    steps: int
    kernel: int  # steps in one token; they do not overlap

    def __post_init__(self) -> None:
        TowerConfig.__post_init__(self)
        if min(self.channels, self.kernel) < 1 or self.steps < self.kernel:
            raise AnomalystError("channels and kernel are 1 or more, and steps at least kernel.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextConfig(TowerConfig):
    """A tower that reads token numbers from left to right; its end token stands for the text."""

    vocabulary: int
    tokens: int  # the longest text, begin and end counted
    end_token: int | None = None  # None: the highest number of a row, as in CLIP's vocabulary

    def __post_init__(self) -> None:
        TowerConfig.__post_init__(self)
        if self.bias_kv:
            raise AnomalystError("bias_kv: a text is read from left to right and has none.")
        if min(self.vocabulary, self.tokens) < 1:
            raise AnomalystError("vocabulary and tokens are 1 or more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBindConfig:
    """Six towers into one space; a tower that is None is not there."""

    embed_dim: int
    image: GridConfig | None = None
    text: TextConfig | None = None
    audio: GridConfig | None = None
    depth: GridConfig | None = None
    thermal: GridConfig | None = None
    imu: SeriesConfig | None = None

    def __post_init__(self) -> None:
        if self.embed_dim < 1:
            raise AnomalystError(f"embed_dim is {self.embed_dim}; 1 or more is needed.")
        if not self.modalities:
            raise AnomalystError("a model without any tower embeds nothing; name one or more.")

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The senses it has a tower for."""
        return tuple(name for name in MODALITIES if getattr(self, name) is not None)

    def tower(self, modality: str) -> TowerConfig:
        """The tower of a sense. AnomalystError for one that there is not, with the nearest."""
        found: TowerConfig | None = getattr(self, checked_modality(modality))
        if found is None:
            raise AnomalystError(
                f"{modality!r}: this model has no such tower; it has {', '.join(self.modalities)}."
            )
        return found

    def only(self, *modalities: str) -> "ImageBindConfig":
        """The same with these towers alone."""
        kept = {checked_modality(one): self.tower(one) for one in modalities}
        none = dict.fromkeys(f.name for f in fields(self) if f.name in MODALITIES)
        return replace(self, **(none | kept))  # type: ignore[arg-type]


def checked_modality(name: str) -> Modality:
    """The word, if it is a sense; AnomalystError names the nearest."""
    for one in MODALITIES:
        if name == one:
            return one
    near = difflib.get_close_matches(name, MODALITIES, n=1, cutoff=0.0)[0]
    raise AnomalystError(
        f"there is no sense {name!r}; the nearest is {near!r}. All: {', '.join(MODALITIES)}."
    )
