"""What `bench peers` compares, each with the interface that an evaluation needs."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from torch import Tensor

from anomalyst.backbones import fingerprint
from anomalyst.detection.scoring import Evidence
from anomalyst.errors import PictureError
from anomalyst.evaluation.baselines.methods import FEW, Baseline
from anomalyst.evaluation.baselines.methods.clip_references import FewShotOnClip
from anomalyst.evaluation.baselines.methods.text import OnClip, ZeroShot
from anomalyst.io.geometry import Frame, Views
from anomalyst.io.pictures import open_picture
from anomalyst.teaching.known_defects.defects import KnownDefects
from anomalyst.teaching.references import encoded
from anomalyst.types import Inspection


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a baseline keeps of its good pictures: their frame, and a memory per tile."""

    frame: Frame
    memories: list[Any]


class BaselineInspector(ABC):
    """A method without calibration: its verdict is always "unsure", only scores and maps count."""

    name: str
    fingerprint: str

    def named(self, category: str) -> "BaselineInspector":  # noqa: ARG002
        """Itself: what it does is the same for any product."""
        return self

    def teach(
        self,
        name: str,
        good: Sequence[Path],
        *,
        adapted: bool | None = None,
        bad: KnownDefects | None = None,
    ) -> Any:
        """What the good pictures show; nothing is fitted, and known defects are not looked at."""
        del adapted, bad
        return self.learn(name, good)

    def learn(self, name: str, good: Sequence[Path]) -> Any:  # noqa: ARG002
        """What is kept of good pictures, for a method that takes any."""
        raise AssertionError(f"{self.name} takes no good picture")

    def untaught(self) -> Any:
        """What is known without a good picture, for a method that can do without."""
        raise AssertionError(f"{self.name} needs a good picture")

    @abstractmethod
    def frame(self, picture: np.ndarray, product: Any) -> Frame:
        """How a picture (H, W, 3) is resized and cut."""

    @abstractmethod
    def judge(self, views: Views, product: Any) -> list[Evidence]:
        """Map and score of each tile of a picture."""

    def inspect_many(
        self, images: Sequence[Path], product: Any, *, false_alarm_rate: float
    ) -> Iterator[Inspection | PictureError]:
        """One answer per picture, in order; for a broken one the error is the answer."""
        del false_alarm_rate
        for image in images:
            started = perf_counter()
            try:
                picture = open_picture(image)
            except PictureError as error:
                yield error
                continue
            views = self.frame(picture, product).cut(picture)
            found = self.judge(views, product)
            yield Inspection(
                image=image,
                size_hw=(picture.shape[0], picture.shape[1]),
                map=views.join([one.map for one in found]),
                score=max(one.score for one in found),
                p_value=1.0,  # nothing is known of good pictures' scores
                verdict="unsure",
                regions=(),
                answer="",
                seconds={"whole": perf_counter() - started},
            )


class FewShotInspector(BaselineInspector):
    """A baseline taught from *all* good pictures it is given, in the poses they have.

    It sees them at the working side of the detector it stands beside.
    """

    def __init__(self, scorer: str, method: Baseline):
        self.method, encoder = method, method.encoder
        self.name = f"{scorer} on {encoder.name}"
        self.fingerprint = _digest(fingerprint(encoder), method.recipe, encoder.side_px)

    def learn(self, name: str, good: Sequence[Path]) -> Remembered:  # noqa: ARG002
        """A memory per tile; of few good pictures their copies join (`Baseline.views`)."""
        pictures = [open_picture(path) for path in good]
        encoder = self.method.encoder
        frame = Frame.of(pictures[0].shape[:2], encoder.side_px, encoder.multiple_px)
        few = len(pictures) <= FEW
        views = [v for p in pictures for v in self.method.views(p)] if few else pictures
        tiles = encoded(self.method, [frame.cut(view).canvases for view in views])
        return Remembered(frame, [self.method.remember(tile) for tile in tiles])

    def frame(self, picture: np.ndarray, product: Remembered) -> Frame:  # noqa: ARG002
        """That of the first good picture."""
        return product.frame

    def judge(self, views: Views, product: Remembered) -> list[Evidence]:
        """Each tile against its own memory."""
        features = self.method.encode(views.canvases)
        parts = zip(product.memories, views.placements, strict=True)
        return [
            self.method.judge(features.rows([tile]), memory, placement)
            for tile, (memory, placement) in enumerate(parts)
        ]


class OnClipInspector(BaselineInspector):
    """A method on a CLIP model, which looks at pictures at the size it was trained on."""

    def __init__(self, method: OnClip, *asked: object):
        self.clip, self.name = method.clip, f"{method.name} ({method.clip.name})"
        tower = fingerprint(method.clip.tower, method.clip.projection)
        self.fingerprint = _digest(tower, method.recipe, *asked)

    def cut(self, picture: np.ndarray) -> Frame:
        """How a picture (H, W, 3) is resized and cut for the model."""
        return Frame.of(picture.shape[:2], self.clip.side_px, self.clip.multiple_px)


class ZeroShotInspector(OnClipInspector):
    """A zero-shot baseline asked about one product, whose name its sentences hold."""

    def __init__(self, method: ZeroShot, product: str):
        super().__init__(method, product)
        self.method, self.product = method, product

    def untaught(self) -> Tensor:
        """What is said of the product, embedded."""
        return self.clip.states(self.product)

    def frame(self, picture: np.ndarray, product: Tensor) -> Frame:  # noqa: ARG002
        """By the picture's own shape."""
        return self.cut(picture)

    def judge(self, views: Views, product: Tensor) -> list[Evidence]:
        """Each tile against the words."""
        parts = zip(views.canvases, views.placements, strict=True)
        return [self.method.judge(canvas, product, placement) for canvas, placement in parts]


class FewShotOnClipInspector(OnClipInspector):
    """A few-shot baseline on a CLIP model; what it is taught as is the name in its sentences."""

    def __init__(self, method: FewShotOnClip):
        super().__init__(method)
        self.method = method

    def learn(self, name: str, good: Sequence[Path]) -> Remembered:
        """What is kept of the good pictures, per tile."""
        pictures = [open_picture(path) for path in good]
        frame = self.cut(pictures[0])
        tiles = zip(*(frame.cut(picture).canvases for picture in pictures), strict=True)
        spoken = name.replace("_", " ")
        return Remembered(frame, [self.method.remember(tile, spoken) for tile in tiles])

    def frame(self, picture: np.ndarray, product: Remembered) -> Frame:  # noqa: ARG002
        """That of the first good picture."""
        return product.frame

    def judge(self, views: Views, product: Remembered) -> list[Evidence]:
        """Each tile against what is kept of it."""
        parts = zip(views.canvases, product.memories, views.placements, strict=True)
        return [self.method.judge(canvas, known, placed) for canvas, known, placed in parts]


def _digest(weights: str, *settings: object) -> str:
    """Sixteen hex digits of weights and settings: runs of others are not gone on with."""
    return hashlib.sha256(f"{weights} {settings!r}".encode()).hexdigest()[:16]
