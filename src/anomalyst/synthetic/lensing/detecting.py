"""How plainly substructure shows: what it changes, and what of that no smooth lens explains.

Both in standard deviations of the noise over all pixels. An observer who knew lens, source and
seeing exactly would have the first to go by; one who must fit them, about the second.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from anomalyst.synthetic.lensing.picture import electrons, noise_of
from anomalyst.synthetic.lensing.scene import LensingConfig, Scene, Smooth

STEP = 1e-3  # of every parameter of the smooth lens, in its own unit or as its own share


@dataclass(frozen=True, slots=True)
class Change:
    """Of one scene. `lasting` <= `whole`: what is left after the best smooth lens was fitted."""

    whole: float
    lasting: float


def change(scene: Scene, config: LensingConfig) -> Change:
    """What the scene's substructure changes; 0 and 0 without any.

    The smooth lens, its source and its seeing are fitted by one linear step (15 parameters), which
    is near enough for changes of some percent: what is left is an upper bound of a full fit's.
    """
    smooth = Scene("none", scene.smooth)
    without = electrons(smooth, config)
    noise = noise_of(without, config)
    moved = ((electrons(scene, config) - without) / noise).ravel()  # (S * S,)
    columns = []
    for one in _varied(scene.smooth):
        column = (electrons(replace(smooth, smooth=one), config) - without) / noise
        columns.append(column.ravel())
    slopes = np.stack(columns, 1) / STEP  # (S * S, parameters)
    slopes /= np.linalg.norm(slopes, axis=0)
    best, *_ = np.linalg.lstsq(slopes, moved, rcond=1e-9)
    return Change(float(np.linalg.norm(moved)), float(np.linalg.norm(moved - slopes @ best)))


def _varied(smooth: Smooth) -> list[Smooth]:
    """The smooth lens with one parameter moved at a time."""
    values = asdict(smooth)
    moved: list[dict[str, Any]] = []
    for name in ("einstein_radius", "source_radius", "source_index", "psf_fwhm", "peak"):
        moved.append({name: values[name] * (1 + STEP)})
    for name in ("axis_ratio", "source_axis_ratio"):  # downwards: 1 is their end
        moved.append({name: values[name] - STEP})
    moved += [{name: values[name] + STEP} for name in ("angle", "source_angle")]
    for name in ("centre_xy", "shear", "source_xy"):
        first, second = values[name]
        moved += [{name: (first + STEP, second)}, {name: (first, second + STEP)}]
    return [replace(smooth, **one) for one in moved]
