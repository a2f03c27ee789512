"""How pictures are looked at."""

from dataclasses import dataclass, field
from pathlib import Path

from anomalyst.calibration.conformal import REFERENCES_MOST
from anomalyst.detection.detector import DetectorConfig
from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import DeviceName, Engine, Precision
from anomalyst.inspection.quality import QualityName
from anomalyst.io.working_side import Side, checked_side
from anomalyst.vlm.text_tower import States
from anomalyst.vlm.version import EMBEDDED_LANGUAGE as EMBEDDED_LANGUAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a text tower is asked about one product (vlm/text_aligned.py)."""

    tower: str  # folder of the tower, or of a run of the text_aligned recipe
    name: str = "object"  # what the product is, in its sentences
    states: States = field(default_factory=States)


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectorConfig:
    """How pictures are looked at."""

    side_px: Side | None = None  # working side of a square picture, or "auto"; None: encoder's own
    smallest_defect_px: float | None = None  # pixels of the pictures; decides the side by itself
    quality: QualityName | None = None  # a side by its name (quality.py); None: the product's
    device: DeviceName = "auto"  # auto: a GPU if torch sees one
    engine: Engine = "auto"  # auto: one built for the product (`anomalyst export`), else torch
    precision: Precision = "auto"  # of the networks' sums; auto: as the processor is quickest
    max_references: int = REFERENCES_MOST  # most good pictures remembered; others calibrate
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    refine: bool = False  # crisp masks for the regions of what is not normal
    segmenter: str = "default"  # that draws them (segmentation/loading.py)
    words: Words | None = None  # a share in map and score for words; None: pictures alone
    language: Path = EMBEDDED_LANGUAGE  # folder of the model that answers questions

    def __post_init__(self) -> None:
        checked_side(self.side_px, self.smallest_defect_px)
        if self.quality is not None and (self.side_px or self.smallest_defect_px):
            raise AnomalystError(
                f"--quality {self.quality} names a working side; leave --side and "
                "--smallest-defect-px out, or leave --quality out."
            )

    @property
    def sized(self) -> bool:
        """Whether a size is asked for, and not left to the encoder or the product."""
        asked = (self.side_px, self.smallest_defect_px, self.quality)
        return any(one is not None for one in asked)
