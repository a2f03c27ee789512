"""Rows of the record -> what a shift adds up to. Nothing here knows where the rows come from."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from anomalyst.report.shift.period import Period
from anomalyst.types import PLACES

VERDICTS = ("normal", "unsure", "anomalous")
NO_KIND = "no known kind"
JUDGEMENTS = {  # what a person may say -> one of them, several
    "right": ("verdict confirmed", "verdicts confirmed"),
    "wrong": ("verdict called wrong", "verdicts called wrong"),
    "fine": ("part called fine", "parts called fine"),
    "mask": ("mask drawn", "masks drawn"),
    "answer": ("answer written", "answers written"),
    "ranking": ("ranking of answers", "rankings of answers"),
    "up": ("answer called good", "answers called good"),
    "down": ("answer called bad", "answers called bad"),
}
BINS = 48  # bars of the chart over time, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """A region of a part called anomalous."""

    kind: str  # as people call it, else one of ours, else NO_KIND
    place: str  # one of the nine; empty: a recording's, which has none
    own: bool = False  # a word of people's, which may hold numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One inspection."""

    at: datetime
    product: str
    verdict: str | None  # None: not done
    failed: bool = False
    p_value: float | None = None
    defects: tuple[Defect, ...] = ()
    alarm: bool = False  # it revealed a drift


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One judgement of a person."""

    at: datetime
    product: str
    kind: str  # one of JUDGEMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftFacts:
    """What a shift adds up to; everything that its summary may say."""

    period: Period
    product: str | None  # None: of all
    line: str | None = None  # None: of all
    verdicts: Mapping[str, int]
    waiting: int = 0
    failed: int = 0
    kinds: Mapping[str, int] = field(default_factory=dict)  # defects, the commonest first
    own_kinds: frozenset[str] = frozenset()
    places: Mapping[str, int] = field(default_factory=dict)  # in reading order
    products: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # anomalous, inspected
    alarms: tuple[tuple[datetime, str], ...] = ()  # when, of which product
    judgements: Mapping[str, int] = field(default_factory=dict)

    @property
    def inspected(self) -> int:
        """Parts that have a verdict."""
        return sum(self.verdicts.values())

    @property
    def defects(self) -> int:
        """Regions of the parts called anomalous."""
        return sum(self.kinds.values())

    @property
    def empty(self) -> bool:
        """Whether nothing at all happened."""
        return not (self.inspected or self.waiting or self.failed or self.judgements)

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        period = self.period
        return {
            "from": period.start.isoformat(),
            "to": period.end.isoformat(),
            "timezone": period.zone.key,
            "minutes": period.minutes,
            "product": self.product,
            "line": self.line,
            "inspected": self.inspected,
            "verdicts": dict(self.verdicts),
            "waiting": self.waiting,
            "failed": self.failed,
            "defects": self.defects,
            "kinds": dict(self.kinds),
            "places": dict(self.places),
            "products": {
                name: {"anomalous": bad, "inspected": all_}
                for name, (bad, all_) in self.products.items()
            },
            "drift_alarms": [{"at": at.isoformat(), "product": name} for at, name in self.alarms],
            "judgements": dict(self.judgements),
        }


def facts_of(
    period: Period,
    seen: Iterable[Seen],
    said: Iterable[Said],
    product: str | None = None,
    line: str | None = None,
) -> ShiftFacts:
    """What the rows of a shift add up to; rows of other times are left out."""
    rows = sorted((one for one in seen if one.at in period), key=lambda one: one.at)
    done = [one for one in rows if one.verdict is not None]
    verdicts = Counter(str(one.verdict) for one in done)
    found = [defect for one in done if one.verdict == "anomalous" for defect in one.defects]
    kinds, places = Counter(one.kind for one in found), Counter(one.place for one in found)
    inspected = Counter(one.product for one in done)
    anomalous = Counter(one.product for one in done if one.verdict == "anomalous")
    judged = Counter(one.kind for one in said if one.at in period)
    return ShiftFacts(
        period=period,
        product=product,
        line=line,
        verdicts={name: verdicts[name] for name in VERDICTS},
        waiting=sum(one.verdict is None and not one.failed for one in rows),
        failed=sum(one.verdict is None and one.failed for one in rows),
        kinds=dict(sorted(kinds.items(), key=lambda one: (-one[1], one[0]))),
        own_kinds=frozenset(one.kind for one in found if one.own),
        places={place: places[place] for place in PLACES if places[place]},
        products={name: (anomalous[name], inspected[name]) for name in sorted(inspected)},
        alarms=tuple((one.at, one.product) for one in rows if one.alarm),
        judgements={kind: judged[kind] for kind in JUDGEMENTS if judged[kind]},
    )


def over_time(period: Period, seen: Iterable[Seen]) -> list[tuple[datetime, Counter[str]]]:
    """Verdicts by hour, or by as many hours as give at most 48 bars; with each bar's start."""
    hours = -(-period.minutes // (60 * BINS)) or 1
    width = timedelta(hours=hours)
    count = max(1, -(-(period.end - period.start) // width))
    bars: list[tuple[datetime, Counter[str]]] = [
        (period.start + number * width, Counter()) for number in range(count)
    ]
    for one in seen:
        if one.verdict is not None and one.at in period:
            bars[(one.at - period.start) // width][1][one.verdict] += 1
    return bars
