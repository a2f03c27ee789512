"""What a language model was shown of an inspection, as one file: tensors, the map among them."""

import math
from pathlib import Path

import cv2
import numpy as np

from anomalyst.io.files import make_folder, write_bytes
from anomalyst.io.geometry import resize
from anomalyst.server.storage.corrected_facts import CorrectedFacts
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.tables import InspectionRow


def write_shown(
    target: Path, seen: InspectionRow, right: CorrectedFacts | None, pictures: Pictures
) -> bool:
    """Write the file unless it is there; False where the tensors are no longer kept.

    With facts that a person corrected, map and regions are as these say.
    """
    if not (seen.heat and seen.shown and seen.heat in pictures and seen.shown in pictures):
        return False
    if not target.exists():
        make_folder(target.parent)
        write_bytes(target, _tensors(seen, right, pictures))
    return True


def _tensors(seen: InspectionRow, right: CorrectedFacts | None, pictures: Pictures) -> bytes:
    import torch  # not for the server's own start
    from safetensors.torch import load, save

    from anomalyst.vlm.prompt_learner import region_figures

    heat = cv2.imread(str(pictures.path(str(seen.heat))), cv2.IMREAD_GRAYSCALE)
    whole = np.zeros((1, 1), np.float32) if heat is None else heat.astype(np.float32) / 255
    shown = load(pictures.path(str(seen.shown)).read_bytes())
    if right is not None:
        facts = right.facts
        shown["regions"] = region_figures(
            facts.regions, facts.size_hw, most=shown["regions"].shape[1]
        )[None]
        whole = _corrected_map(whole, right)
    shown["anomaly_map"] = torch.from_numpy(whole)[None, None]
    return bytes(save({name: tensor.contiguous() for name, tensor in shown.items()}))


def _corrected_map(whole: np.ndarray, right: CorrectedFacts) -> np.ndarray:
    """The map as a person says: as painted, or without what is fine."""
    if right.mask is not None:
        return resize(right.mask.astype(np.float32), whole.shape)
    kept = np.zeros_like(whole)
    scale = np.tile(np.divide(whole.shape, right.facts.size_hw)[::-1], 2)  # of x0, y0, x1, y1
    for region in right.facts.regions:
        x0, y0, x1, y1 = np.multiply(region.box_xyxy, scale)
        part = np.s_[int(y0) : math.ceil(y1), int(x0) : math.ceil(x1)]
        kept[part] = whole[part]
    return kept
