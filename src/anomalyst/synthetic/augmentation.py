"""Good pictures once more: turned, mirrored, zoomed, lit. What differs must be no defect.

Geometry and light are Kornia's (Apache-2.0).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from anomalyst.config import load
from anomalyst.errors import AnomalystError
from anomalyst.synthetic.sampling import Rng

Name = Literal[
    "rotate_right", "rotate", "flip_horizontal", "flip_vertical", "zoom", "brightness",
    "translate", "blur",
]  # fmt: skip
NAMES: tuple[Name, ...] = get_args(Name)
RANGES: Mapping[Name, tuple[float, float]] = {
    "rotate": (-180.0, 180.0),  # degrees
    "zoom": (1.0, 4.0),  # below 1 the picture's surroundings would have to be invented
    "brightness": (0.2, 3.0),  # factor
    "translate": (-0.5, 0.5),  # share of the side, each way
    "blur": (0.1, 10.0),  # standard deviation in pixels
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that may happen to a picture."""

    do: Name
    chance: float = 1.0  # that it happens
    angles: tuple[int, ...] = ()  # rotate_right: 90, 180, 270, one of them at random
    low: float = 0.0  # the others: least and greatest value, see RANGES
    high: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.chance <= 1:
            raise ValueError(f"{self.do}: the chance is {self.chance}; above 0, at most 1")
        if self.do == "rotate_right" and (not self.angles or set(self.angles) - {90, 180, 270}):
            raise ValueError(f"rotate_right: angles are {self.angles}; some of 90, 180, 270")
        limits = RANGES.get(self.do)
        if limits and not limits[0] <= self.low < self.high <= limits[1]:
            raise ValueError(
                f"{self.do}: from {self.low:g} to {self.high:g}; low below high is needed, within "
                f"{limits[0]:g} and {limits[1]:g}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What may be done to the pictures of one category."""

    operations: tuple[Operation, ...]
    never: tuple[Name, ...] = ()  # operations that would make a good part bad
    fill: Literal["reflect", "zoom"] = "reflect"
    """What comes in from outside: the picture mirrored, or nothing, as it is zoomed enough."""

    def __post_init__(self) -> None:
        for do in self.has_any_of(self.never):
            raise ValueError(
                f"{do} is in the plan, which also says never: {do}; it would make a good part bad. "
                "Take one of the two out"
            )
        if not self.operations:
            raise ValueError("a plan without operations makes nothing")

    def has_any_of(self, names: Sequence[Name]) -> list[Name]:
        """Which of these operations the plan has."""
        return [operation.do for operation in self.operations if operation.do in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """Plans by category, as a YAML file holds them."""

    categories: Mapping[str, Plan] = field(default_factory=dict)
    default: Plan | None = None  # for every category that is not named
    never: tuple[Name, ...] = ()  # in any category

    def __post_init__(self) -> None:
        plans = {**self.categories, **({"default": self.default} if self.default else {})}
        for category, plan in plans.items():
            for do in plan.has_any_of(self.never):
                raise ValueError(
                    f"{category} has {do}, which the plan says never to do; it would make a good "
                    "part bad. Take one of the two out"
                )

    def of(self, category: str) -> Plan:
        """The plan of a category; AnomalystError if there is none."""
        plan = self.categories.get(category, self.default)
        if plan is None:
            raise AnomalystError(
                f"The plan has no category {category!r} and no default; it has "
                f"{', '.join(self.categories) or 'none'}."
            )
        return plan


def read_plans(path: Path) -> Plans:
    """The plans of a YAML file; AnomalystError for a missing file, unknown key or wrong value."""
    return load(Plans, path)


Step = tuple[Name, float]  # rotate_right: the angle; translate is two steps, x then y


def draw_steps(plan: Plan, rng: Rng) -> tuple[Step, ...]:
    """What happens to one picture, in the plan's order; never nothing."""
    while True:
        steps: list[Step] = []
        for operation in plan.operations:
            if rng.random() >= operation.chance:
                continue
            if operation.do == "rotate_right":
                steps.append(("rotate_right", float(rng.choice(operation.angles))))
            elif operation.do in RANGES:
                count = 2 if operation.do == "translate" else 1
                values = rng.uniform(operation.low, operation.high, count)
                steps += [(operation.do, round(float(value), 4)) for value in values]
            else:
                steps.append((operation.do, 1.0))
        if steps:
            return tuple(steps)


def augmented(
    picture: np.ndarray, mask: np.ndarray | None, steps: Sequence[Step], fill: str = "reflect"
) -> tuple[np.ndarray, np.ndarray | None]:
    """uint8 (H, W, 3) and bool (H, W) -> both after the same steps.

    Right angles and flips move pixels as they are; a turn of 90 degrees swaps the sides. All that
    is left of the geometry is one warp, bilinear for the picture and nearest for the mask, with
    the outside filled by mirroring in both, so a defect that comes in mirrored is masked too.
    """
    for name, value in steps:
        if name in ("rotate_right", "flip_horizontal", "flip_vertical"):
            picture = _moved(picture, name, value)
            mask = None if mask is None else _moved(mask, name, value)
    matrix = _matrix(picture.shape[:2], steps, fill)
    if matrix is not None:
        picture = _warped(picture, matrix, "bilinear")
        if mask is not None:
            mask = _warped(mask[..., None].astype(np.uint8), matrix, "nearest")[..., 0] > 0
    return _lit(picture, steps), mask


def _moved(array: np.ndarray, name: str, degrees: float) -> np.ndarray:
    if name == "rotate_right":
        return np.ascontiguousarray(np.rot90(array, int(degrees) // 90))
    return np.ascontiguousarray(array[:, ::-1] if name == "flip_horizontal" else array[::-1])


def _matrix(size_hw: tuple[int, ...], steps: Sequence[Step], fill: str) -> np.ndarray | None:
    """Turn, zoom and shift about the middle, float (2, 3); None if there are none."""
    turn = math.radians(sum(value for name, value in steps if name == "rotate"))
    zoom = math.prod(value for name, value in steps if name == "zoom")
    shift = [value for name, value in steps if name == "translate"]
    if not turn and zoom == 1 and not shift:
        return None
    height, width = size_hw
    dx, dy = (sum(shift[i::2]) for i in (0, 1))
    cos, sin = math.cos(turn), math.sin(turn)
    if fill == "zoom":
        # Every corner of the frame, turned back, must lie within the picture.
        reach_x = abs(cos) + abs(sin) * height / width + 2 * abs(dx)
        reach_y = abs(cos) + abs(sin) * width / height + 2 * abs(dy)
        zoom = max(zoom, reach_x, reach_y)
    matrix = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]]) * zoom
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix[:, 2] = middle - matrix[:, :2] @ middle + (dx * width, dy * height)
    return matrix


def _warped(
    array: np.ndarray, matrix: np.ndarray, mode: Literal["bilinear", "nearest"]
) -> np.ndarray:
    from kornia.geometry.transform import warp_affine

    size_hw, turn = (array.shape[0], array.shape[1]), torch.from_numpy(matrix).float()[None]
    return _picture(warp_affine(_batch(array), turn, size_hw, mode, "reflection", True))


def _lit(picture: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """Brightness times a factor, and blur, on values in [0, 1]."""
    from kornia.enhance import adjust_brightness_accumulative
    from kornia.filters import gaussian_blur2d

    values = None
    for name, value in steps:
        if name in ("brightness", "blur"):
            values = _batch(picture) / 255 if values is None else values
            if name == "brightness":
                values = adjust_brightness_accumulative(values, value)
            else:
                side = 2 * math.ceil(3 * value) + 1
                values = gaussian_blur2d(values, (side, side), (value, value))
    return picture if values is None else _picture(values * 255)


def _batch(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None].float()


def _picture(values: Tensor) -> np.ndarray:
    rounded = values[0].permute(1, 2, 0).round().clamp(0, 255)  # (H, W, C)
    return np.ascontiguousarray(rounded.numpy().astype(np.uint8))
