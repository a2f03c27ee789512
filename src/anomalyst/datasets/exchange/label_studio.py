"""Label Studio's JSON: `tasks.json`, beside it `images/` and the labels as `labels.xml`.

Tasks with `annotations` (what people drew) and `predictions` (what was found), as
https://labelstud.io/guide/task_format and /guide/predictions describe them. Coordinates are
percents of the picture's sides.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np

from anomalyst.datasets.exchange.brush import brush_mask, brush_rle
from anomalyst.datasets.exchange.drawn import (
    IMAGES,
    Drawn,
    DrawnPicture,
    Exchanged,
    checked_size,
    joined,
    kind_of,
    numbers,
    read_json,
)
from anomalyst.datasets.exchange.outlines import (
    add_polygon,
    checked_polygon,
    crosses_itself,
    outlines,
)
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text
from anomalyst.io.masks import mask_box, packed, unpacked
from anomalyst.version import __version__

FILE, LABELS = "tasks.json", "labels.xml"
LOCAL = "/data/local-files/?d="  # how Label Studio serves files of its local storage
SHAPES = ("rectangle", "polygon", "brush")
NO_SHAPES = frozenset(
    {"choices", "textarea", "rating", "number", "taxonomy", "datetime", "relation"}
)
UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an upload
COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#17becf")


def write(
    folder: Path,
    pictures: Sequence[DrawnPicture],
    *,
    polygons: bool = False,
) -> None:
    """Write tasks and labels. A mask that fills its box is a rectangle, any other brush strokes,
    or polygons where asked for and it has no hole.

    Of each person there is one annotation of a picture; what was found is one prediction, with the
    highest score of its regions.
    """
    tasks = []
    for number, picture in enumerate(pictures, start=1):
        names = {"picture": picture.picture, "name": picture.name}
        task: dict[str, Any] = {
            "id": number,
            "data": {"image": f"{LOCAL}{IMAGES}/{picture.copy_name}", **names},
            "annotations": [],
            "predictions": [],
        }
        for by in sorted({one.by for one in picture.drawn if one.score is None}):
            own = [one for one in picture.drawn if one.score is None and one.by == by]
            results = [result for one in own for result in _results(one, picture, polygons)]
            task["annotations"].append({"result": results, "was_cancelled": False})
        if found := [one for one in picture.drawn if one.score is not None]:
            results = [result for one in found for result in _results(one, picture, polygons)]
            score = max(one.score or 0.0 for one in found)
            task["predictions"] = [
                {"model_version": f"anomalyst {__version__}", "score": score, "result": results}
            ]
        tasks.append(task)
    kinds = sorted({one.kind for picture in pictures for one in picture.drawn})
    write_text(folder / LABELS, _labels(kinds))
    write_text(folder / FILE, json.dumps(tasks))


def _results(one: Drawn, picture: DrawnPicture, polygons: bool) -> Iterator[dict[str, Any]]:
    height, width = picture.size_hw
    for number, (shape, value) in enumerate(_shapes(one, polygons)):
        result = {
            "id": f"{one.kind}-{number}", "from_name": shape, "to_name": "image",
            "type": f"{shape}labels", "original_width": width, "original_height": height,
            "image_rotation": 0, "value": value | {f"{shape}labels": [one.kind]},
            "origin": "manual" if one.score is None else "prediction", "meta": {"by": one.by},
        }  # fmt: skip
        yield result if one.score is None else result | {"score": round(one.score, 6)}


def _shapes(one: Drawn, polygons: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    mask = unpacked(one.mask)
    if not mask.any():
        return
    height, width = mask.shape
    x0, y0, x1, y1 = mask_box(mask)
    outer = outlines(mask) if polygons else None
    if mask[y0:y1, x0:x1].all():
        corner = {"x": 100 * x0 / width, "y": 100 * y0 / height}
        sides = {"width": 100 * (x1 - x0) / width, "height": 100 * (y1 - y0) / height}
        yield "rectangle", {**corner, **sides, "rotation": 0}
    elif outer is None:
        yield "brush", {"format": "rle", "rle": brush_rle(mask)}
    else:
        for loop in outer:
            yield "polygon", {"points": (100 * loop / (width, height)).tolist(), "closed": True}


def _labels(kinds: Sequence[str]) -> str:
    """The labelling interface that the tasks were written for."""
    tags = {"rectangle": "RectangleLabels", "polygon": "PolygonLabels", "brush": "BrushLabels"}
    lines = ["<View>", '  <Image name="image" value="$image" zoom="true" zoomControl="true"/>']
    for shape, tag in tags.items():
        lines.append(f'  <{tag} name="{shape}" toName="image">')
        for number, kind in enumerate(kinds):
            colour = COLOURS[number % len(COLOURS)]
            lines.append(f'    <Label value={quoteattr(kind)} background="{colour}"/>')
        lines.append(f"  </{tag}>")
    return "\n".join([*lines, "</View>", ""])


def read(path: Path) -> Exchanged:
    """What a file of tasks holds (JSON or JSON-MIN); `path` is the file, or the folder it is in.

    Of each annotation, masks of one kind are one. A task or shape that cannot be used is a
    sentence in `refused`, the rest is read. Raises AnomalystError for a file that is no such JSON.
    """
    file = path / FILE if path.is_dir() else path
    data = read_json(file)
    tasks = [data] if isinstance(data, Mapping) else data
    if not isinstance(tasks, list) or not all(isinstance(task, Mapping) for task in tasks):
        raise AnomalystError(
            f"{file}: is no Label Studio export; a list of tasks as JSON or JSON-MIN is needed."
        )
    found = Exchanged()
    for place, task in enumerate(tasks, start=1):
        about = f"task {str(task.get('id', place))[:20]}"
        try:
            picture = _picture(task, file.parent, about, found)
        except AnomalystError as error:
            found.refused.append(f"{about}: {error}")
            continue
        if picture is not None:
            found.pictures.append(picture)
    return found


def _picture(
    task: Mapping[str, Any], folder: Path, about: str, found: Exchanged
) -> DrawnPicture | None:
    """The picture of a task; None where nothing is drawn on it."""
    data = task.get("data", task)
    link = data.get("image") if isinstance(data, Mapping) else None
    if not isinstance(link, str) or not link:
        raise AnomalystError("names no picture; its data need a text `image`.")
    drawn: list[Drawn] = []
    sizes = set()
    for results, person in _annotations(task):
        own = []
        for result in _with_labels(results):
            try:
                if (one := _drawn(result, person)) is not None:
                    own.append(one)
                    sizes.add(one.mask.size_hw)
            except AnomalystError as error:
                found.refused.append(f"{about}, shape {str(result.get('id', ''))[:20]}: {error}")
        drawn += joined(own)
    if not drawn:
        return None
    if len(sizes) > 1:
        raise AnomalystError(f"its shapes say different sizes of the picture: {sorted(sizes)}.")
    name, own_name = data.get("name"), data.get("picture")
    place = _place_of(link)
    return DrawnPicture(
        name=name if isinstance(name, str) and name else UPLOADED.sub("", place.name),
        size_hw=sizes.pop(),
        picture=own_name if isinstance(own_name, str) else "",
        file=folder / place,
        drawn=tuple(drawn),
    )


def _annotations(task: Mapping[str, Any]) -> Iterator[tuple[list[Any], bool]]:
    """The results of each annotation of a task, and whether a person drew them."""
    if "data" not in task:  # JSON-MIN: the values lie under the names of the controls
        values = [v for some in task.values() if isinstance(some, list) for v in some]
        yield (
            [_unfolded(v) for v in values if isinstance(v, Mapping) and "original_width" in v],
            True,
        )
        return
    for key, person in (("annotations", True), ("completions", True), ("predictions", False)):
        some = task.get(key)
        for one in some if isinstance(some, list) else ():
            results = one.get("result") if isinstance(one, Mapping) else None
            if isinstance(results, list) and not one.get("was_cancelled"):
                score = one.get("score") or 0.0
                yield [_scored(r, score) if not person else r for r in results], person


def _unfolded(value: Mapping[str, Any]) -> dict[str, Any]:
    """A shape of JSON-MIN as the full JSON has it."""
    kind = next((key for key in value if key.endswith("labels")), "")
    return {"type": kind, "value": value, **value}


def _scored(result: Any, score: Any) -> Any:
    return {"score": score, **result} if isinstance(result, Mapping) else result


def _with_labels(results: Sequence[Any]) -> Iterator[Mapping[str, Any]]:
    """The shapes among results; a plain shape takes the labels that others say under its id."""
    some = [one for one in results if isinstance(one, Mapping)]
    said = {one.get("id"): label for one in some if (label := _label(one))}
    for one in some:
        kind = str(one.get("type"))
        if kind.startswith(SHAPES) or kind not in (*NO_SHAPES, "labels") or _is_shape(one):
            yield {**one, "label": _label(one) or said.get(one.get("id"), "")}


def _is_shape(result: Mapping[str, Any]) -> bool:
    value = result.get("value")
    return isinstance(value, Mapping) and any(key in value for key in ("points", "rle", "x"))


def _label(result: Mapping[str, Any]) -> str:
    value = result.get("value")
    lists = value.items() if isinstance(value, Mapping) else ()
    named = [v for key, v in lists if key.endswith("labels") and isinstance(v, list) and v]
    return str(named[0][0]).strip() if named else ""


def _drawn(result: Mapping[str, Any], person: bool) -> Drawn | None:
    size_hw = checked_size(result.get("original_height"), result.get("original_width"))
    if result.get("image_rotation"):
        raise AnomalystError("was drawn on a turned picture; turn it back in Label Studio.")
    value = result.get("value")
    if not isinstance(value, Mapping):
        raise AnomalystError("has no value.")
    what, label = kind_of(str(result["label"]))
    meta, score = result.get("meta"), result.get("score")
    return Drawn(
        mask=packed(_mask(str(result.get("type")), value, size_hw)),
        what=what,
        label=label,
        by=str(meta.get("by", "")) if isinstance(meta, Mapping) else "",
        score=None if person else float(numbers([score])[0]),
    )


def _mask(kind: str, value: Mapping[str, Any], size_hw: tuple[int, int]) -> np.ndarray:
    if "rle" in value:
        return brush_mask(value["rle"], size_hw)
    if "points" in value:
        points = value["points"]
        pairs = [numbers(one, 2)[:2] for one in points] if isinstance(points, list) else []
        corners = checked_polygon(np.array(pairs).reshape(-1, 2))
        if crosses_itself(corners):
            raise AnomalystError(
                "its polygon crosses itself, and Label Studio does not say what is inside; draw "
                "two, or use the brush."
            )
    elif kind.startswith("rectangle") or {"x", "y", "width", "height"} <= value.keys():
        corners = _rectangle(value, size_hw)
    else:
        raise AnomalystError(f"is a {kind[:30]}; {', '.join(SHAPES)} are read.")
    mask = np.zeros(size_hw, bool)
    add_polygon(mask, corners * (size_hw[1], size_hw[0]) / 100)
    if not mask.any():
        raise AnomalystError("covers no pixel of its picture.")
    return mask


def _rectangle(value: Mapping[str, Any], size_hw: tuple[int, int]) -> np.ndarray:
    """The corners in percent; it may be turned (degrees, clockwise) about its first corner."""
    named = [value.get(key) for key in ("x", "y", "width", "height")]
    x, y, wide, tall = numbers(named, 4)
    corners = np.array([(0, 0), (wide, 0), (wide, tall), (0, tall)])
    turn = np.radians(numbers([value.get("rotation") or 0])[0])
    if turn:
        sides = np.array((size_hw[1], size_hw[0]))  # percents of unequal sides do not turn
        across = np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
        corners = (corners * sides) @ across / sides
    return corners + (x, y)


def _place_of(link: str) -> Path:
    """The picture's name in a link, with folders where it is a file of the local storage."""
    parts = urlsplit(link)
    local = parse_qs(parts.query).get("d")
    return Path(local[0]) if local else Path(Path(unquote(parts.path)).name)
