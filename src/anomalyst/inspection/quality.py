"""How closely pictures are looked at, by need: a working side with a name.

Chosen by what was measured (docs/compression.md). A product keeps the quality it was taught at,
since its good pictures are remembered, and its verdicts calibrated, at that size.
"""

from dataclasses import dataclass
from typing import Literal, cast

from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import checked_choice

QualityName = Literal["fast", "default", "high"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """A working side in pixels (None: the encoder's own), and what it is for."""

    side_px: int | None
    said: str


QUALITIES: dict[QualityName, Quality] = {
    "fast": Quality(side_px=192, said="looked at at side 192, with about half of the operations"),
    "default": Quality(side_px=None, said=""),
    "high": Quality(
        side_px=384, said="looked at at side 384, for finer maps, with 2.8 times the operations"
    ),
}


def checked_quality(name: str | None) -> QualityName | None:
    """A quality as a user names it; None where none is named.

    Raises AnomalystError for any other word; it names the nearest.
    """
    if name is None:
        return None
    checked_choice("--quality", name, list(QUALITIES))
    return cast(QualityName, name)


def refuse_other_quality(asked: QualityName | None, taught: str, product: str) -> None:
    """Raises AnomalystError where a product was taught at another quality than is asked for."""
    if asked is not None and asked != taught:
        raise AnomalystError(
            f"--quality {asked}: product {product!r} was taught at quality {taught}, and keeps it; "
            f"leave --quality out, or teach it again: `anomalyst teach {product} GOOD... --quality "
            f"{asked} --replace`."
        )
