"""`--segmenter NAME` -> the segmenter."""

from pathlib import Path

from anomalyst.errors import AnomalystError
from anomalyst.segmentation.prompts import Segmenter


def load_segmenter(name: str = "default") -> Segmenter:
    """`default`, `run:DIR`, `sam:DIR` or `grabcut`.

    `run:DIR` is the folder of a run of `anomalyst train recipes/segment.yaml`, `sam:DIR` that of a
    published SAM, SAM-HQ or SAM 2. Raises AnomalystError for another name, or a folder that holds
    no such model.
    """
    kind, _, folder = name.partition(":")
    if kind == "sam" and folder:
        from anomalyst.segmentation.published import PublishedSegmenter

        return PublishedSegmenter(Path(folder).expanduser())
    if name == "grabcut":
        from anomalyst.segmentation.grabcut import GrabCut

        return GrabCut()
    from anomalyst.segmentation.small import WEIGHTS, SmallSegmenter

    if name == "default":
        return SmallSegmenter.load(WEIGHTS)
    if kind == "run" and folder:
        return SmallSegmenter.load(Path(folder).expanduser() / WEIGHTS.name, name)
    raise AnomalystError(
        f"There is no segmenter {name!r}; write default, run:DIR, sam:DIR or grabcut."
    )
