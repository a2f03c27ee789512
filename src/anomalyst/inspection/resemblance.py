"""This place looked like that: the place of a good picture that a box resembles most."""

from dataclasses import dataclass
from pathlib import Path

from anomalyst.detection.pose import UPRIGHT, laid, moved_box
from anomalyst.errors import AnomalystError
from anomalyst.inspection.nearest_normal import nearest_place
from anomalyst.inspection.pipeline import Pipeline
from anomalyst.inspection.seen import look_at
from anomalyst.io.pictures import open_picture
from anomalyst.product import Product
from anomalyst.teaching.references import pose_of


@dataclass(frozen=True, slots=True)
class Resemblance:
    """A place of a good picture."""

    image: Path
    box_xyxy: tuple[int, int, int, int]  # in its pixels
    similarity: float  # mean cosine similarity of the patches, [-1, 1]


def resembling(
    pipeline: Pipeline, image: Path, product: Product, box: tuple[int, int, int, int]
) -> Resemblance:
    """What `Inspector.resembling` does, and raises."""
    frame = product.frame
    if frame is None:
        raise AnomalystError(
            f"product {product.name!r} was taught from recordings; places of pictures are compared."
        )
    views = frame.cut(look_at(product, image))
    tile, on_canvas = views.on_canvas(box)
    (high, wide) = frame.canvas_hw
    canvas, pose = views.canvases[tile], UPRIGHT
    if product.circle is not None:
        pose = pose_of(pipeline.detector, canvas, product.circle)
        canvas = laid(canvas, pose)
        on_canvas = moved_box(on_canvas, frame.canvas_hw, pose.inverse(frame.canvas_hw))
    shares = (
        on_canvas[0] / wide,
        on_canvas[1] / high,
        on_canvas[2] / wide,
        on_canvas[3] / high,
    )
    found = nearest_place(pipeline.detector.encode([canvas]), product.features[tile], shares)
    good = [product.references[i] for i in product.chosen]
    good += [one.image for one in product.accepted]
    if found.view >= len(good):
        raise AnomalystError(
            f"product {product.name!r} does not say which pictures it is compared with; "
            "teach it again with --replace."
        )
    path = good[found.view]
    own = found.view < len(product.chosen)  # others are kept as shown
    there = frame.cut(look_at(product, path) if own else open_picture(path))
    left, top, right, bottom = found.box
    place = (left * wide, top * high, right * wide, bottom * high)
    if product.circle is not None:
        lies = pose_of(pipeline.detector, there.canvases[tile], product.circle)
        place = moved_box(place, frame.canvas_hw, lies)
    return Resemblance(good[found.view], there.from_canvas(tile, place), found.similarity)
