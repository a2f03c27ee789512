"""Counting the answers of one run: rows for the table, maps for the pixel metrics."""

from collections.abc import Iterator
from dataclasses import asdict
from math import isnan

import numpy as np

from anomalyst.datasets.findings import LARGE_SHARE
from anomalyst.errors import PictureError
from anomalyst.evaluation.language import answer_columns
from anomalyst.evaluation.metrics import image_metrics, pixel_metrics
from anomalyst.evaluation.protocols.areas import without_ignored
from anomalyst.evaluation.protocols.run_records import Row, Skipped
from anomalyst.evaluation.reports.cases import Extremes
from anomalyst.evaluation.reports.failures import Judged
from anomalyst.io.geometry import canvas_for, resize
from anomalyst.io.masks import unpacked
from anomalyst.io.pictures import open_mask, shrink_mask
from anomalyst.types import Inspection, Label, Sample, Verdict


class Tally:
    """The answers so far of one run."""

    def __init__(self, map_side_px: int):
        self.rows: list[Row] = []
        self.skipped: list[Skipped] = []
        self.notes: dict[str, None] = {}  # in the order they were first said
        self.extremes = Extremes()
        self.judged: list[Judged] = []
        self._map_side_px = map_side_px
        self._maps: list[np.ndarray] = []
        self._masks: list[np.ndarray] = []
        self._ignored: list[np.ndarray] = []  # of each map, what does not count

    @property
    def num_maps(self) -> int:
        """Pictures that count in the pixel metrics."""
        return len(self._maps)

    def add(self, sample: Sample, inspection: Inspection) -> None:
        """Count one answer; a picture whose mask cannot be used is skipped whole."""
        assert sample.label is not None
        try:
            mask = _truth(sample, inspection.size_hw)
        except PictureError as error:
            self.skip(error)
            return
        ignored = None if inspection.ignored is None else unpacked(inspection.ignored)
        sample, mask = without_ignored(sample, mask, ignored)
        assert sample.label is not None
        self.rows.append(
            Row(
                path=sample.image.as_posix(),
                label=sample.label,
                defect=sample.defect or "",
                score=float(inspection.score),
                p_value=float(inspection.p_value),
                verdict=inspection.verdict,
                seconds=sum(inspection.seconds.values()),
                **answer_columns(inspection, mask),
            )
        )
        self.notes.update(dict.fromkeys(inspection.notes))
        self.extremes.offer(sample, inspection, mask)
        self.judged.append(Judged.of(sample, inspection, mask))
        if mask is not None:
            self.notes.update(dict.fromkeys(_odd(sample, mask)))
            canvas_hw = canvas_for(inspection.size_hw, self._map_side_px)
            self._maps.append(resize(np.asarray(inspection.map, dtype=np.float32), canvas_hw))
            left_out = np.zeros(canvas_hw, bool)
            if ignored is not None:
                left_out = resize(ignored.astype(np.float32), canvas_hw) > 0.5
            self._masks.append(shrink_mask(mask, canvas_hw) & ~left_out)
            self._ignored.append(left_out)

    def skip(self, error: PictureError) -> None:
        """List a picture or mask that cannot be used."""
        self.skipped.append(Skipped(path=error.path.as_posix(), reason=error.reason))

    def metrics(self) -> dict[str, float | None]:
        """Every name of METRICS; None where it is not defined.

        No pixel metric is, where no mask of the category is known (image labels only).
        """
        labels = [int(row.label == "anomalous") for row in self.rows]
        image = image_metrics(labels, [row.score for row in self.rows])
        ignored = self._ignored if any(one.any() for one in self._ignored) else None
        pixel = pixel_metrics(self._maps, self._masks, ignored)
        seconds = [row.seconds for row in self.rows]
        values = {
            **{f"image_{name}": value for name, value in asdict(image).items()},
            **{f"pixel_{name}": value for name, value in asdict(pixel).items()},
            "false_alarm_rate": self._share("normal", "anomalous"),
            "miss_rate": self._share("anomalous", "normal"),
            "unsure_rate": self._share(None, "unsure"),
            "seconds_per_picture": sum(seconds) / len(seconds) if seconds else float("nan"),
        }
        return {name: None if isnan(value) else value for name, value in values.items()}

    def _share(self, label: Label | None, verdict: Verdict) -> float:
        """Share of the pictures with this label that got this verdict; nan if there are none."""
        said = [row.verdict == verdict for row in self.rows if label in (None, row.label)]
        return sum(said) / len(said) if said else float("nan")


def _odd(sample: Sample, mask: np.ndarray) -> Iterator[str]:
    """What to look at in a mask before figures of pixels are believed."""
    if mask.mean() > LARGE_SHARE:
        yield "some masks mark more than half of their picture; `anomalyst data check` names them."
    if sample.label == "anomalous" and not mask.any():
        yield "some masks of anomalous pictures mark nothing; `anomalyst data check` names them."


def _truth(sample: Sample, size_hw: tuple[int, int]) -> np.ndarray | None:
    """Bool (H, W), all False for a normal picture; None if a defect's place is not known."""
    if sample.label == "normal":
        return np.zeros(size_hw, dtype=bool)
    return None if sample.mask is None else open_mask(sample.mask, size_hw)
