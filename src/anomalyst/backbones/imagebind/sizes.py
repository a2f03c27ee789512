"""Named sizes: the published model, and one that a processor trains from nothing."""

import difflib
from pathlib import Path

from anomalyst.backbones.imagebind.config import (
    GridConfig,
    ImageBindConfig,
    SeriesConfig,
    TextConfig,
)
from anomalyst.config import load
from anomalyst.errors import AnomalystError

# imagebind_huge.pth: 1.2 billion parameters, of which the image tower has 0.63.
HUGE = ImageBindConfig(
    embed_dim=1024,
    image=GridConfig(
        width=1280,
        depth=32,
        heads=16,
        norm_first=True,
        channels=3,
        size_hw=(224, 224),
        patch=14,
        frames=2,
    ),
    text=TextConfig(
        width=1024,
        depth=24,
        heads=16,
        scale=1 / 0.07,
        scale_learned=True,
        vocabulary=49408,
        tokens=77,
    ),
    audio=GridConfig(
        width=768,
        depth=12,
        heads=12,
        drop_path=0.1,
        bias_kv=True,
        scale=20.0,
        channels=1,
        size_hw=(128, 204),
        patch=16,
        stride=10,
        patch_norm=True,
    ),
    depth=GridConfig(
        width=384,
        depth=12,
        heads=8,
        bias_kv=True,
        scale=5.0,
        channels=1,
        size_hw=(224, 224),
        patch=16,
        patch_norm=True,
    ),
    thermal=GridConfig(
        width=768,
        depth=12,
        heads=12,
        bias_kv=True,
        scale=10.0,
        channels=1,
        size_hw=(224, 224),
        patch=16,
        patch_norm=True,
    ),
    imu=SeriesConfig(
        width=512,
        depth=6,
        heads=8,
        drop_path=0.7,
        bias_kv=True,
        head_dropout=0.5,
        scale=5.0,
        channels=6,
        steps=2000,
        kernel=8,
    ),
)


def _small_picture(*, channels: int, size_hw: tuple[int, int]) -> GridConfig:
    return GridConfig(
        width=192,
        depth=6,
        heads=6,
        drop_path=0.1,
        bias_kv=channels == 1,
        norm_first=channels == 3,
        scale=None if channels == 3 else 10.0,
        channels=channels,
        size_hw=size_hw,
        patch=16,
        patch_norm=channels == 1,
    )


# 2.7 to 3.1 million parameters a tower, for pictures we draw ourselves.
SMALL = ImageBindConfig(
    embed_dim=256,
    image=_small_picture(channels=3, size_hw=(128, 128)),
    text=TextConfig(
        width=192,
        depth=6,
        heads=6,
        scale=1 / 0.07,
        scale_learned=True,
        vocabulary=2048,
        tokens=64,
    ),
    audio=_small_picture(channels=1, size_hw=(128, 204)),
    depth=_small_picture(channels=1, size_hw=(128, 128)),
    thermal=_small_picture(channels=1, size_hw=(128, 128)),
    imu=SeriesConfig(
        width=192,
        depth=6,
        heads=6,
        drop_path=0.1,
        bias_kv=True,
        scale=10.0,
        channels=6,
        steps=512,
        kernel=8,
    ),
)
SIZES: dict[str, ImageBindConfig] = {"huge": HUGE, "small": SMALL}


def size_of(name: str) -> ImageBindConfig:
    """A named size, or that of a YAML file. AnomalystError for any other word, with the nearest."""
    if name in SIZES:
        return SIZES[name]
    if name.endswith((".yaml", ".yml")):
        return load(ImageBindConfig, Path(name))
    near = difflib.get_close_matches(name, list(SIZES), n=1, cutoff=0.0)[0]
    raise AnomalystError(
        f"there is no size {name!r}; the nearest is {near!r}. All: {', '.join(SIZES)}, or a YAML "
        "file."
    )
