"""Shifts that never were: rows drawn at random, to check reports by and to learn from."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.report.shift.facts import JUDGEMENTS, NO_KIND, Defect, Said, Seen
from anomalyst.report.shift.period import Period
from anomalyst.types import PLACES

PRODUCTS = ("bolt", "flange", "bottle 2", "circuit-module", "seal_12", "gear", "cap", "M3 nut")
OWN_KINDS = ("burr", "flash over 2 mm", "weld spatter", "type 4 crack")
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
HOURS = (1, 4, 8, 8, 8, 8, 12, 24, 72)
EMPTY_SHARE, SMALL_SHARE = 0.02, 0.25  # of the shifts: without a part, and with a handful


def drawn_shift(rng: np.random.Generator) -> tuple[Period, list[Seen], list[Said]]:
    """A shift with its inspections and judgements; some lie just outside and do not count."""
    zone = ZoneInfo(str(rng.choice(ZONES)))
    # Three years around 2026, to the quarter of an hour: some nights clocks are changed.
    start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=15 * int(rng.integers(105_120)))
    hours = int(rng.choice(HOURS))
    period = Period(start, start + timedelta(hours=hours), zone)
    most = 6 if rng.random() < SMALL_SHARE else 120
    many = 0 if rng.random() < EMPTY_SHARE else int(rng.integers(1, most + 1))
    products = rng.choice(PRODUCTS, size=int(rng.integers(1, 4)), replace=False)
    bad, tied = rng.random() * 0.3, bool(rng.random() < 0.1)
    seen = [_seen(rng, period, str(rng.choice(products)), bad, tied) for _ in range(many)]
    judged = int(rng.integers(0, 6)) if many else 0
    said = [
        Said(
            at=_moment(rng, period),
            product=str(rng.choice(products)),
            kind=str(rng.choice(list(JUDGEMENTS))),
        )
        for _ in range(judged)
    ]
    return period, seen, said


def _moment(rng: np.random.Generator, period: Period) -> datetime:
    """Within the shift; one in twenty before or after it, which must not count."""
    share = rng.random() if rng.random() > 0.05 else rng.choice([-0.1, 1.0, 1.1])
    moment = period.start + share * (period.end - period.start)
    return moment.replace(microsecond=0)


def _seen(rng: np.random.Generator, period: Period, product: str, bad: float, tied: bool) -> Seen:
    at, fate = _moment(rng, period), rng.random()
    if fate < 0.03:
        return Seen(at=at, product=product, verdict=None, failed=bool(fate < 0.02))
    verdict = str(rng.choice(["anomalous", "unsure", "normal"], p=[bad, 0.05, 0.95 - bad]))
    high = {"anomalous": 0.05, "unsure": 0.1, "normal": 1.0}[verdict]
    count = int(rng.integers(0, 4)) if verdict != "normal" else 0
    return Seen(
        at=at,
        product=product,
        verdict=verdict,
        p_value=float(rng.uniform(0.001, high)),
        defects=tuple(_defect(rng, tied) for _ in range(count)),
        alarm=bool(verdict == "normal" and rng.random() < 0.01),
    )


def _defect(rng: np.random.Generator, tied: bool) -> Defect:
    place = "" if rng.random() < 0.03 else str(rng.choice(PLACES[:2] if tied else PLACES))
    if rng.random() < 0.15:
        return Defect(kind=str(rng.choice(OWN_KINDS)), place=place, own=True)
    return Defect(kind=str(rng.choice([*KINDS, NO_KIND])), place=place)
