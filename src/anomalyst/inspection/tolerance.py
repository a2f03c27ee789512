"""How far good pictures may differ and stay good, tried on good pictures themselves."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from anomalyst.calibration.tolerance import Tolerance
from anomalyst.inspection.pipeline import Pipeline
from anomalyst.inspection.preprocessing import Stopwatch
from anomalyst.inspection.seen import look_at
from anomalyst.product import Product

RATE = 0.05  # false-alarm rate at which "good" is judged
LIGHT = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)  # shares of the light added or taken away
SHIFT = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2)  # of the longer side
TURN = (1.0, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0)  # degrees
ROUND = (30.0, 90.0, 180.0)  # the same, of a product that may lie any way round
BLUR = (0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)  # sigma in pixels of the canvas
TWO_FROM = 27  # good pictures from which two are tried: there, teaching fits the detector, too

Change = Callable[[np.ndarray, float], np.ndarray]


def measured_tolerance(
    pipeline: Pipeline, product: Product, on_step: Callable[[], None] = lambda: None
) -> Tolerance | None:
    """The largest changes of the ladders under which good pictures are still called normal.

    Each picture is left out of what it is compared with, where there is another one. None where
    no good picture tried is called normal as it is, and for senses but photographs.
    """
    if product.sense is not None or product.companions or product.frame is None:
        return None
    pipeline = pipeline.by_torch()
    tried = [
        (look_at(product, path), left_out)
        for path, left_out in _pictures(pipeline, product, 2 if _many(product) else 1)
    ]
    tried = [(picture, known) for picture, known in tried if _good(pipeline, picture, known)]
    if not tried:
        return None

    def most(ladder: Sequence[float], change: Change) -> float:
        def fails(amount: float) -> bool:
            on_step()
            return not all(_good(pipeline, change(one, amount), known) for one, known in tried)

        rung = bisect_left(ladder, True, key=fails)
        return ladder[rung - 1] if rung else 0.0

    side, scale = max(product.frame.size_hw), product.frame.scale
    turns = TURN if product.circle is None else ROUND
    return Tolerance(
        darker=most(LIGHT, lambda picture, share: _lit(picture, 1 - share)),
        brighter=most(LIGHT, lambda picture, share: _lit(picture, 1 + share)),
        shift_px=round(side * most(SHIFT, _shifted), 1),
        turn_degrees=most(turns, _turned),
        blur_px=round(
            most(BLUR, lambda picture, sigma: _blurred(picture, sigma / scale)) / scale, 2
        ),
        pictures=len(tried),
    )


def _many(product: Product) -> bool:
    return product.num_references >= TWO_FROM


def _pictures(pipeline: Pipeline, product: Product, count: int) -> list[tuple[Path, Product]]:
    """Good pictures, each with the product as it would be without it.

    Those that are compared with nothing come first; of the others the most usual ones.
    """
    chosen = set(product.chosen) or set(range(product.num_references))
    apart = [i for i in range(product.num_references) if i not in chosen]
    if apart:
        return [(product.references[i], product) for i in apart[:count]]
    scores = product.calibrated_by
    order = list(range(product.num_references))
    if len(scores) == len(order):
        middle = float(np.median(scores))
        order.sort(key=lambda i: abs(scores[i] - middle))
    return [(product.references[i], _without(pipeline, product, i)) for i in order[:count]]


def _without(pipeline: Pipeline, product: Product, index: int) -> Product:
    memories = pipeline.memories(product)
    row = product.chosen.index(index) if product.chosen else index
    views = len(product.features[0].embedding)
    if views == 1:
        return product
    others = [i for i in range(views) if i != row]
    left = [
        pipeline.detector.remember_only(memory, tile, others)
        for memory, tile in zip(memories, product.features, strict=True)
    ]
    return replace(product, memories=left)


def _good(pipeline: Pipeline, picture: np.ndarray, product: Product) -> bool:
    found = pipeline.run(Path("good"), picture, product, RATE, Stopwatch())
    return found.verdict == "normal"


def _lit(picture: np.ndarray, factor: float) -> np.ndarray:
    return np.clip(picture.astype(np.float32) * factor + 0.5, 0, 255).astype(np.uint8)


def _shifted(picture: np.ndarray, share: float) -> np.ndarray:
    """Down and to the right by a share of the longer side, all in all."""
    each = share * max(picture.shape[:2]) / np.sqrt(2)
    return _moved(picture, np.array([[1, 0, each], [0, 1, each]]))


def _turned(picture: np.ndarray, degrees: float) -> np.ndarray:
    height, width = picture.shape[:2]
    centre = ((width - 1) / 2, (height - 1) / 2)
    return _moved(picture, cv2.getRotationMatrix2D(centre, degrees, 1.0))


def _moved(picture: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    size = picture.shape[1::-1]
    return cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REFLECT_101)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), max(sigma, 1e-3))
