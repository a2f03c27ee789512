"""ImageBind in any size: six senses in one space."""

from anomalyst.backbones.imagebind.config import (
    MODALITIES,
    GridConfig,
    ImageBindConfig,
    SeriesConfig,
    TextConfig,
)
from anomalyst.backbones.imagebind.model import ImageBind
from anomalyst.backbones.imagebind.sizes import HUGE, SIZES, SMALL

__all__ = [
    "HUGE",
    "MODALITIES",
    "SIZES",
    "SMALL",
    "GridConfig",
    "ImageBind",
    "ImageBindConfig",
    "SeriesConfig",
    "TextConfig",
]
