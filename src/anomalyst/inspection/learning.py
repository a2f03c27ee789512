"""A product learnt from good pictures, and what people say of inspections learnt into it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar, cast

import cv2
import numpy as np

from anomalyst.calibration.conformal import Calibration
from anomalyst.detection.pose import laid
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.areas import refuse_areas
from anomalyst.inspection.fitness import conditions_of
from anomalyst.inspection.odd_pictures import found_odd
from anomalyst.inspection.pipeline import Pipeline
from anomalyst.inspection.preprocessing import Stopwatch
from anomalyst.inspection.seen import look_at
from anomalyst.io.areas import Areas
from anomalyst.io.deep_pictures import AS_FILES_SAY, PictureReading
from anomalyst.io.files import write_bytes
from anomalyst.io.geometry import Frame
from anomalyst.io.pictures import open_picture, reading_of
from anomalyst.measuring.settings import Measuring
from anomalyst.product import Accepted, Product
from anomalyst.senses.fields import FieldView
from anomalyst.teaching.duplicates import all_the_same, distinct, remarks
from anomalyst.teaching.feedback import covered, kept_mask, most_similar_picture
from anomalyst.teaching.known_defects.defects import KnownDefects, open_defects, teach_defects
from anomalyst.teaching.references import calibration_of, circle_of, good_scores, pose_of, study

T = TypeVar("T")


def learn(  # noqa: PLR0913 - each is one independent wish
    pipeline: Pipeline,
    name: str,
    good: Sequence[Path],
    *,
    bad: KnownDefects | None = None,
    product: Product | None = None,
    sense: FieldView | None = None,
    reading: PictureReading | None = None,
    areas: Areas | None = None,
    pose: Literal["auto", "fixed", "free"] = "auto",
    calibrated: bool = True,
    once: bool = True,
    adapted: bool | None | Literal["kept"] = None,
    on_picture: Callable[[Path], None] = lambda _: None,
    on_step: Callable[[], None] = lambda: None,
) -> Product:
    """A product learnt from good pictures; what `Inspector.teach` does, and raises.

    `once`: a picture that is given twice is taken once, which no part of several senses can be.
    """
    if bad is not None and sense is not None:
        raise AnomalystError(f"--bad: known defects are for photographs, not for {sense.kind}.")
    paths = list(dict.fromkeys([*(product.references if product else ()), *good]))
    if not paths:
        raise AnomalystError(f"product {name!r}: at least one good picture is needed.")
    asked = reading or (product.reading if product else AS_FILES_SAY)
    if sense is not None:
        sense, pictures, left_out = _opened_fields(paths, sense, on_picture)
    else:
        asked = reading_of(paths, asked)
        pictures, left_out = _opened(paths, on_picture, partial(open_picture, reading=asked))
    notes = [*pipeline.beside_pictures, *left_out]
    sources = dict(product.sources) if product else {}
    if once:
        pictures, twins = distinct(pictures, sources)
        notes += twins
    bad = bad or (product.bad if product else None)
    defects = open_defects(bad, pictures, asked, on_picture) if bad else None
    accepted = product.accepted if product else ()
    areas = areas or (product.areas if product else None)
    refuse_areas(areas, name, first=paths[0] in pictures, bad=bad is not None)
    frame, why = pipeline.frame_for(list(pictures.values()), product)
    studied = study(
        pipeline.detector,
        frame,
        list(pictures.values()),
        pose=pose,
        most=pipeline.config.max_references,
        adapted=(product.head if product else {}) if adapted == "kept" else adapted,
        accepted=[open_picture(one.image) for one in accepted],
        areas=areas,
        on_step=on_step,
    )
    named = [(sources.get(path, path.name), picture) for path, picture in pictures.items()]
    notes += remarks(named, studied.features[0].embedding)
    rule, rows, scores = None, cast(tuple[float, ...], ()), dict[int, float]()
    if bad is not None and defects is not None:
        bad = bad.only([*defects.fine, *defects.pictures])
        notes = [*notes, *defects.notes]
        looked = iter([*pictures, *defects.fine, *defects.pictures])
        rule, studied, calibration = teach_defects(
            pipeline.detector, frame, studied, named, defects, bad, lambda: on_picture(next(looked))
        )
    elif calibrated and len(pictures) > 1 and not all_the_same(list(pictures.values())):
        scores, method = good_scores(pipeline.detector, studied)
        calibration = calibration_of(scores, method)
        rows = calibration.scores
    else:
        calibration = Calibration(scores=(), method="leave-one-out")
    learnt = Product(
        name=name,
        encoder=pipeline.detector.encoder.name,
        fingerprint=pipeline.fingerprint,
        frame=frame,
        pose="fixed" if studied.circle is None else "free",
        circle=studied.circle,
        references=list(pictures),
        sources=sources,
        features=studied.shown,
        calibration=calibration,
        calibrated_by=rows,
        sense=sense,
        reading=asked,
        companions=product.companions if product else {},
        kinds=product.kinds if product else None,
        head={} if studied.decoder is None else dict(studied.decoder.head()),
        areas=areas,
        counting=studied.counting,
        memories=studied.memories,
        chosen=studied.chosen,
        accepted=accepted,
        bad=bad,
        rule=rule,
        notes=tuple(notes),
        side_reason=why,
        quality=_quality(pipeline, product, frame),
        description=product.description if product else "",
        measuring=product.measuring if product else Measuring(),
    )
    before = product.odd if product else ()
    if calibrated and adapted != "kept":
        learnt.odd = found_odd(pipeline, learnt, studied, pictures, scores, before)
    if sense is None:
        learnt.conditions = conditions_of(frame, list(pictures.values()), learnt)
    return learnt


def _quality(pipeline: Pipeline, before: Product | None, frame: Frame) -> str:
    """That of a product that keeps its frame; else what is asked for now."""
    if before is not None and frame is before.frame:
        return before.quality
    return pipeline.quality


def accept(
    pipeline: Pipeline,
    product: Product,
    image: Path,
    boxes: Sequence[tuple[int, int, int, int]],
    *,
    name: str,
    folder: Path,
) -> Product:
    """The product after a person called places normal; what `Inspector.accept` does."""
    look = partial(look_at, product)
    picture = look(image)
    # Nobody vouched for what is ignored: where it looks odd it is covered as anything else is.
    all_of_it = replace(product, areas=None, counting=None)
    whole = pipeline.run(image, picture, all_of_it, 0.05, Stopwatch()).map
    assert product.frame is not None  # a taught product has one
    good = [look(path) for path in product.references]
    below = most_similar_picture(pipeline.detector, product.frame, picture, good)
    if product.circle is not None:
        ours, theirs = (product.frame.cut(one).canvases[0] for one in (picture, below))
        lies = pose_of(pipeline.detector, ours, circle_of(pipeline.detector, theirs))
        below = laid(below, lies.inverse(below.shape))
    taken = covered(picture, kept_mask(whole, boxes), below)
    target = folder / f"{name}.png"
    write_bytes(target, cv2.imencode(".png", taken[..., ::-1])[1].tobytes())
    one = Accepted(name=name, image=target, boxes_xyxy=tuple(boxes))
    if product.bad is not None:  # a rule may not be judged by what the product is compared with
        product = replace(product, bad=product.bad.without_fine(image.name))
    return _relearnt(pipeline, product, (*product.accepted, one))


def withdraw(pipeline: Pipeline, product: Product, name: str) -> Product:
    """The product without a correction; what `Inspector.withdraw` does, and raises."""
    left = tuple(one for one in product.accepted if one.name != name)
    if len(left) == len(product.accepted):
        raise AnomalystError(f"product {product.name!r} holds no correction {name!r}.")
    return _relearnt(pipeline, product, left)


def with_areas(
    pipeline: Pipeline,
    product: Product,
    areas: Areas | None,
    on_picture: Callable[[Path], None] = lambda _: None,
) -> Product:
    """The product with other areas, calibrated anew; what `Inspector.with_areas` does."""
    before = replace(product, areas=areas or None)
    return _relearnt(pipeline, before, before.accepted, on_picture)


def _relearnt(
    pipeline: Pipeline,
    product: Product,
    accepted: tuple[Accepted, ...],
    on_picture: Callable[[Path], None] = lambda _: None,
) -> Product:
    """The product with other corrections; its fitted head, if it has one, stays."""
    before = replace(product, accepted=accepted)
    after = learn(
        pipeline, product.name, [], product=before, sense=before.field_view, pose=product.pose,
        adapted="kept", on_picture=on_picture,
    )  # fmt: skip
    return replace(after, notes=product.notes, odd=product.odd, tolerance=product.tolerance)


def _opened_fields(
    paths: Sequence[Path], sense: FieldView, on_picture: Callable[[Path], None]
) -> tuple[FieldView, dict[Path, np.ndarray], list[str]]:
    """Depth or heat as it will be shown, in the range of these good parts."""
    read, left_out = _opened(paths, on_picture, sense.read)
    fitted = sense.fitted(list(read.values()))
    filled = dict.fromkeys(note for one in read.values() for note in one.notes)
    notes = [*left_out, *(f"good parts: {note}" for note in filled)]
    return fitted, {path: fitted.shown(one.values) for path, one in read.items()}, notes


def _opened(
    paths: Sequence[Path], on_picture: Callable[[Path], None], look: Callable[[Path], T]
) -> tuple[dict[Path, T], list[str]]:
    pictures: dict[Path, T] = {}
    errors: list[PictureError] = []
    for path in paths:
        try:
            pictures[path] = look(path)
        except PictureError as error:
            errors.append(error)
        on_picture(path)
    if not pictures:
        raise errors[0]
    return pictures, [f"left out when taught: {e}" for e in errors]
