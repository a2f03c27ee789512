"""What `bench peers` compares, each behind the face that an evaluation drives."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from torch import Tensor

from anomalyst.backbones import fingerprint
from anomalyst.detection.detector import Memory
from anomalyst.detection.scoring import Evidence
from anomalyst.errors import PictureError
from anomalyst.evaluation.baselines.methods import FEW, Peer
from anomalyst.evaluation.baselines.methods.text import ZeroShot
from anomalyst.io.geometry import Frame, Views
from anomalyst.io.pictures import open_picture
from anomalyst.teaching.known_defects.defects import KnownDefects
from anomalyst.teaching.references import encoded
from anomalyst.types import Inspection


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a peer keeps of its good pictures: their frame, and a memory per tile."""

    frame: Frame
    memories: list[Memory]


class PeerInspector:
    """A peer taught from *all* good pictures it is given, in the poses they have.

    It sees them at the working side of the detector it stands beside. It has no calibration, so
    its verdict is always "unsure": only scores and maps are compared.
    """

    def __init__(self, scorer: str, peer: Peer):
        self.peer = peer
        self.name = f"{scorer} on {peer.encoder.name}"
        self.fingerprint = _digest(fingerprint(peer.encoder), peer.recipe, peer.encoder.side_px)

    def teach(
        self,
        name: str,
        good: Sequence[Path],
        *,
        adapted: bool | None = None,
        bad: KnownDefects | None = None,
    ) -> Remembered:
        """What the good pictures show; with few of them, their copies, too (`Peer.views`)."""
        del name, adapted, bad
        pictures = [open_picture(path) for path in good]
        encoder = self.peer.encoder
        frame = Frame.of(pictures[0].shape[:2], encoder.side_px, encoder.multiple_px)
        few = len(pictures) <= FEW
        views = [v for p in pictures for v in self.peer.views(p)] if few else pictures
        tiles = encoded(self.peer, [frame.cut(view).canvases for view in views])
        return Remembered(frame, [self.peer.remember(tile) for tile in tiles])

    def untaught(self) -> Remembered:
        """Peers of this kind have nothing to say without a good picture."""
        raise AssertionError(f"{self.name} needs a good picture")

    def inspect_many(
        self, images: Sequence[Path], product: Remembered, *, false_alarm_rate: float
    ) -> Iterator[Inspection | PictureError]:
        """One answer per picture, in order; for a broken one the error is the answer."""
        del false_alarm_rate

        def judged(views: Views) -> list[Evidence]:
            features = self.peer.encode(views.canvases)
            parts = zip(product.memories, views.placements, strict=True)
            return [
                self.peer.judge(features.rows([tile]), memory, placement)
                for tile, (memory, placement) in enumerate(parts)
            ]

        for image in images:
            yield _answer(image, lambda _: product.frame, judged)


class TextInspector:
    """A zero-shot peer asked about one product, whose name its sentences hold."""

    def __init__(self, method: ZeroShot, product: str):
        self.method, self.product = method, product
        self.name = f"{method.name} ({Path(method.clip.source).name})"
        tower = fingerprint(method.clip.tower, method.clip.projection)
        self.fingerprint = _digest(tower, method.recipe, product)
        self._states: Tensor | None = None

    def teach(
        self,
        name: str,
        good: Sequence[Path],
        *,
        adapted: bool | None = None,
        bad: KnownDefects | None = None,
    ) -> str:
        """It learns nothing from pictures."""
        del good, adapted, bad
        return name

    def untaught(self) -> str:
        """The product's name, as words."""
        return self.product

    def inspect_many(
        self, images: Sequence[Path], product: str, *, false_alarm_rate: float
    ) -> Iterator[Inspection | PictureError]:
        """One answer per picture, in order; for a broken one the error is the answer."""
        del false_alarm_rate
        clip = self.method.clip
        if self._states is None:
            self._states = clip.states(product)
        states = self._states

        def framed(picture: np.ndarray) -> Frame:
            return Frame.of(picture.shape[:2], clip.side_px, clip.multiple_px)

        def judged(views: Views) -> list[Evidence]:
            parts = zip(views.canvases, views.placements, strict=True)
            return [self.method.judge(canvas, states, placement) for canvas, placement in parts]

        for image in images:
            yield _answer(image, framed, judged)


def _answer(
    image: Path,
    framed: Callable[[np.ndarray], Frame],
    judged: Callable[[Views], list[Evidence]],
) -> Inspection | PictureError:
    """Open a picture, cut it to its frame, judge the tiles; the highest score counts."""
    started = perf_counter()
    try:
        picture = open_picture(image)
    except PictureError as error:
        return error
    views = framed(picture).cut(picture)
    found = judged(views)
    return Inspection(
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


def _digest(weights: str, *settings: object) -> str:
    """Sixteen hex digits of weights and settings: runs of others are not gone on with."""
    return hashlib.sha256(f"{weights} {settings!r}".encode()).hexdigest()[:16]
