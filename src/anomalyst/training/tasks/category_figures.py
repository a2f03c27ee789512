"""How good a trained model is on one category's test pictures: its answers, and its maps."""

from dataclasses import dataclass, field

import numpy as np

from anomalyst.evaluation.metrics import auroc, pixel_metrics
from anomalyst.io.geometry import canvas_for, place, resize
from anomalyst.io.pictures import open_mask, open_picture, shrink_mask
from anomalyst.types import Sample

ONE_SHOT, LEARNT = "", "learnt_"  # beside one good picture; by the text-aligned decoder alone


@dataclass(slots=True)
class CategoryFigures:
    """Counted picture by picture."""

    answers: list[bool | None] = field(default_factory=list)  # right; None: neither yes nor no
    anomalous: list[bool] = field(default_factory=list)
    masks: list[np.ndarray | None] = field(default_factory=list)  # bool (H, W); None: not known
    maps: dict[str, list[np.ndarray]] = field(default_factory=dict)  # float32 (H, W) of each kind

    def add(self, *, right: bool | None, anomalous: bool, mask: np.ndarray | None) -> None:
        """Count the answer about a picture."""
        self.answers.append(right)
        self.anomalous.append(anomalous)
        self.masks.append(mask)

    def add_map(self, kind: str, anomaly_map: np.ndarray, size_hw: tuple[int, int]) -> None:
        """The same picture's map, of any size; kept at that of its mask."""
        self.maps.setdefault(kind, []).append(resize(anomaly_map, size_hw))

    def as_values(self) -> dict[str, float]:
        """asked, right, neither, spoiled; for each kind of map its maximum's and pixels' AUROC.

        AnomalyGPT judges pictures by the maximum of their map. What cannot be told is left out.
        """
        found: dict[str, float] = {
            "asked": len(self.answers),
            "right": self.answers.count(True),
            "neither": self.answers.count(None),
            "spoiled": sum(self.anomalous),
        }
        known = [i for i, mask in enumerate(self.masks) if mask is not None]
        for kind, maps in self.maps.items():
            highest = np.array([float(one.max()) for one in maps])
            found[f"{kind}image_auroc"] = auroc(np.array(self.anomalous, int), highest)
            masks = [mask for mask in self.masks if mask is not None]
            found[f"{kind}pixel_auroc"] = pixel_metrics([maps[i] for i in known], masks).auroc
        return {name: value for name, value in found.items() if np.isfinite(value)}


def open_on_canvas(
    sample: Sample, side_px: int, multiple_px: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """A test picture on the square canvas, uint8 (S, S, 3), and its mask there, bool (S, S).

    The mask of a good picture is empty; None where nobody said where a defect is.
    """
    picture = open_picture(sample.image)
    canvas_hw = canvas_for((side_px, side_px), side_px, multiple_px)
    canvas = place(picture, canvas_hw)[0]
    if sample.label == "normal":
        return canvas, np.zeros(canvas_hw, bool)
    if sample.mask is None:
        return canvas, None
    truth = open_mask(sample.mask, (picture.shape[0], picture.shape[1]))
    covered = place(truth.astype(np.float32), canvas_hw)[0]
    return canvas, shrink_mask(covered, canvas_hw)
