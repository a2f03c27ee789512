"""Areas of a data set: which places of a category's pictures count in its evaluation."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.inspection.areas import redrawn
from anomalyst.io.areas import Areas, areas_from
from anomalyst.io.pictures import open_picture
from anomalyst.types import Sample

KEYS = {"picture", "areas"}


def read_areas(file: Path, categories: set[str]) -> str:
    """The file's areas as JSON of one form: {category: {"picture": path or null, "areas": [...]}}.

    `picture`, beside the file, is the one that they are drawn on; null: the first good picture
    taught. A set of one category may be given without its name. Raises AnomalystError for a file of
    another form and a category that the set does not have.
    """
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnomalystError(f"--areas {file}: there is no such file.") from None
    except (OSError, ValueError) as error:
        raise AnomalystError(f"--areas {file}: is no JSON that can be read ({error}).") from None
    if isinstance(said, dict) and "areas" in said and len(categories) == 1:
        said = {next(iter(categories)): said}
    if not isinstance(said, dict) or not all(_is_entry(one) for one in said.values()):
        raise AnomalystError(
            f'--areas {file}: {{category: {{"picture": FILE, "areas": [...]}}}} is needed; each '
            'area has "name", "use" (ignore or roi), and "points_xy" or "mask".'
        )
    unknown = sorted(set(said) - categories)
    if unknown:
        raise AnomalystError(
            f"--areas {file}: {unknown[0]!r} is none of the categories "
            f"{', '.join(sorted(categories))}."
        )
    for one in said.values():
        drawn_on = one.get("picture")
        one["picture"] = None if drawn_on is None else str((file.parent / drawn_on).resolve())
        picture = None if drawn_on is None else open_picture(Path(one["picture"]))
        if picture is not None:  # refused now, not after an hour
            _areas(one, (picture.shape[0], picture.shape[1]))
    return json.dumps(said, sort_keys=True)


def _is_entry(value: Any) -> bool:
    return isinstance(value, dict) and "areas" in value and set(value) <= KEYS


def areas_for(said: str | None, category: str, first: Path) -> Areas | None:
    """The areas of a category on the first good picture taught; None where it has none.

    Raises AnomalystError where the picture they were drawn on is not found again on that one.
    """
    one: Mapping[str, Any] | None = json.loads(said).get(category) if said else None
    if one is None:
        return None
    picture = open_picture(first)
    if one["picture"] is None or Path(one["picture"]) == first.resolve():
        return _areas(one, (picture.shape[0], picture.shape[1]))
    drawn_on = open_picture(Path(one["picture"]))
    areas = _areas(one, (drawn_on.shape[0], drawn_on.shape[1]))
    return redrawn(areas, drawn_on, picture, str(first))


def _areas(one: Mapping[str, Any], size_hw: tuple[int, int]) -> Areas:
    return Areas(size_hw=size_hw, drawn=areas_from(one["areas"], size_hw))


def without_ignored(
    sample: Sample, mask: np.ndarray | None, ignored: np.ndarray | None
) -> tuple[Sample, np.ndarray | None]:
    """A sample and its truth, bool (H, W), less what is ignored on its picture, of the same shape.

    A picture whose defects all lie there is a normal one.
    """
    if ignored is None or mask is None or not mask.any():
        return sample, mask
    left = mask & ~ignored
    return (sample if left.any() else replace(sample, label="normal", defect=None)), left
