"""How files are read: as whoever gives them says, or as the product was taught."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomalyst.detection.signals.names import JUDGES, MEMORY
from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import checked_choice
from anomalyst.io.deep_pictures import PictureReading
from anomalyst.senses.fields import FieldView
from anomalyst.senses.sense import RATE_SLACK, Sense, SignalSense
from anomalyst.senses.series import SeriesReading

if TYPE_CHECKING:
    from anomalyst.product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReading:
    """What files do not tell of themselves. None: as taught before, or as is usual."""

    depth_unit: str | None = None  # mm (usual), um or m
    thermal_unit: str | None = None  # C, K or cK; none is usual
    rate_hz: float | None = None  # samples a second, of tables without a column of times
    method: str | None = None  # what judges sensors over time; `memory` is usual
    bit_depth: int | None = None  # of a value in photographs of 16 bits; None: found out
    bayer: str | None = None  # rggb, bggr, grbg, gbrg: photographs are mosaics of colours

    def pictures(self, taught: "Product | None" = None) -> PictureReading | None:
        """How photographs are read; None: as `taught`, or as their files say.

        Raises AnomalystError for values that are none, or other than it was taught with.
        """
        if self.bit_depth is None and self.bayer is None:
            return None
        asked = PictureReading(bits=self.bit_depth, bayer=self.bayer, why="as asked")
        own = taught.reading if taught is not None else asked
        for option, wanted, before in (
            ("--bit-depth", asked.bits, own.bits),
            ("--bayer", asked.bayer, own.bayer),
        ):
            if wanted is not None and wanted != before:
                raise AnomalystError(
                    f"{option} {wanted}: the product was taught with {before or 'none'}; leave it "
                    "out, or teach the product anew with --replace."
                )
        return own

    def senses(
        self, kinds: Sequence[str], taught: Mapping[str, Sense] | None = None
    ) -> dict[str, Sense]:
        """How each of these senses is read; photographs need nothing.

        `taught`: how the product's own files are read, for more of the same. Raises AnomalystError
        for a value that is none, that no file needs, or that is not the one it was taught with.
        """
        self._check(kinds)
        known = taught or {}
        for kind, sense in known.items():
            self._check_same(kind, sense)
        return {kind: known.get(kind) or self._new(kind) for kind in kinds if kind != "image"}

    def _new(self, kind: str) -> Sense:
        if kind in ("depth", "thermal"):
            unit = (self.depth_unit or "mm") if kind == "depth" else (self.thermal_unit or "")
            return FieldView(kind=kind, unit=unit)  # type: ignore[arg-type]
        if kind == "audio":
            return SignalSense(kind="audio")
        return SignalSense(kind="series", method=self.method or MEMORY, rate_hz=self.rate_hz)

    def _check(self, kinds: Sequence[str]) -> None:
        SeriesReading(rate_hz=self.rate_hz)  # refuses a rate that is none
        if self.method is not None:
            checked_choice("--method", self.method, JUDGES)
        for word, given, kind in (
            ("--depth-unit", self.depth_unit, "depth"),
            ("--thermal-unit", self.thermal_unit, "thermal"),
            ("--rate", self.rate_hz, "series"),
            ("--method", self.method, "series"),
            ("--bit-depth", self.bit_depth, "image"),
            ("--bayer", self.bayer, "image"),
        ):
            usual = word == "--method" and given == MEMORY
            if given is not None and kind not in kinds and not usual:
                what = {"series": "sensors over time", "image": "photographs"}.get(kind, kind)
                raise AnomalystError(
                    f"{word} {_told(given)} is of {what}, of which no file was given; give "
                    f"--{kind} files, or leave it out."
                )

    def _check_same(self, kind: str, sense: Sense) -> None:
        """Raise AnomalystError for another unit, rate or method than the product was taught by."""
        said: dict[str, tuple[object, object]] = {}
        if isinstance(sense, FieldView):
            asked = self.depth_unit if kind == "depth" else self.thermal_unit
            said[f"--{kind}-unit"] = (asked, sense.unit)
        elif kind == "series":
            said["--method"] = (self.method, sense.method)
            taught = sense.rate_hz or 0.0
            near = self.rate_hz is not None and abs(self.rate_hz - taught) <= RATE_SLACK * taught
            said["--rate"] = (None if near else self.rate_hz, f"{taught:.6g}")
        for option, (wanted, own) in said.items():
            if wanted is not None and wanted != own:
                raise AnomalystError(
                    f"{option} {_told(wanted)}: the product was taught with {own}; leave it out, "
                    "or teach the product anew."
                )


AS_USUAL = FileReading()


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
