"""Places that people drew and named, as the classifier of defect types sees them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from anomalyst.detection.classifiers.defect_types import region_look
from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.detection.classifiers.own_kinds import KindExample
from anomalyst.detection.regions import box_iou, find_regions, regions_for
from anomalyst.errors import AnomalystError
from anomalyst.inspection.pipeline import Pipeline
from anomalyst.inspection.preprocessing import Stopwatch
from anomalyst.io.pictures import open_mask, open_picture
from anomalyst.product import Product
from anomalyst.types import Region

LEAST_OVERLAP = 0.05  # of both boxes, for a found region to be the one that was drawn


def named_examples(
    pipeline: Pipeline, product: Product, image: Path, mask: Path, label: str
) -> Iterator[KindExample]:
    """What was drawn on a picture as one example, and the region found there as another.

    Raises PictureError, and AnomalystError for an encoder whose places are not told apart.
    """
    if pipeline.kinds is None or product.sense is not None:
        raise AnomalystError(
            "kinds of defects are told apart on photographs by the embedded encoder; product "
            f"{product.name!r} has another."
        )
    picture = open_picture(image, product.reading)
    painted = open_mask(mask, picture.shape[:2])
    one = pipeline.preprocess(image, picture, product, Stopwatch())
    pipeline.encode([one], product)
    with torch.inference_mode():
        evidence, _ = pipeline.match(one, product)
        whole = one.views.join([e.map for e in evidence])
        for region, found in _places(whole, painted):
            look = region_look(region, one.views, evidence)
            if look is None:
                continue
            figures = pipeline.kinds.pooled(*look)
            shipped = KINDS[int(pipeline.kinds.head(figures).argmax())]
            yield KindExample(
                figures=figures[0], label=label, picture=image.stem, found=found, shipped=shipped
            )


def _places(whole: np.ndarray, painted: np.ndarray) -> Iterator[tuple[Region, bool]]:
    """The painted place as one region, and the found region that lies there, if one does."""
    inside = np.where(painted, np.maximum(whole, 1e-6), 0).astype(np.float32)
    drawn = find_regions(inside, 1e-7, join_px=float(max(whole.shape)))[:1]
    for region in drawn:
        yield region, False
        near = regions_for(whole, "anomalous")
        best = max(near, key=lambda one: box_iou(one.box_xyxy, region.box_xyxy), default=None)
        if best is not None and box_iou(best.box_xyxy, region.box_xyxy) > LEAST_OVERLAP:
            yield best, True
