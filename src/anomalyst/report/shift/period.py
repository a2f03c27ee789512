"""From when to when a shift is: local times of a zone, kept as moments of UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from anomalyst.errors import AnomalystError

LONGEST = timedelta(days=366)
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Period:
    """A shift, from `start` up to but not with `end`, both in UTC; shown as clocks of `zone`."""

    start: datetime
    end: datetime
    zone: ZoneInfo

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    @property
    def minutes(self) -> int:
        """How long it really lasts, whatever was done to the clocks meanwhile."""
        return round((self.end - self.start).total_seconds() / 60)

    @property
    def clock_change(self) -> int:
        """By how many minutes clocks were set forward meanwhile; negative: back."""
        moved = self._local(self.end).utcoffset() or timedelta()
        before = self._local(self.start).utcoffset() or timedelta()
        return round((moved - before).total_seconds() / 60)

    def clock(self, moment: datetime) -> str:
        """A moment as 09:12; with its zone where the clock shows that time twice."""
        local = self._local(moment)
        twice = local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()
        return f"{local:%H:%M}{f' {local:%Z}' if twice else ''}"

    def day(self, moment: datetime) -> str:
        """A moment's date as 27 November 2026."""
        local = self._local(moment)
        return f"{local.day} {MONTHS[local.month - 1]} {local.year}"

    def when(self, moment: datetime) -> str:
        """A moment of the shift: its clock, and its date where the shift has several."""
        several = self.day(self.start) != self.day(self.end)
        return f"{self.clock(moment)}{f' on {self.day(moment)}' if several else ''}"

    @property
    def words(self) -> str:
        """As in "06:00 to 14:00 on 27 November 2026"."""
        return f"{self.when(self.start)} to {self.clock(self.end)} on {self.day(self.end)}"

    @property
    def length(self) -> str:
        """Its real length, as in "8 hours" or "7 hours 30 minutes"."""
        hours, minutes = divmod(self.minutes, 60)
        parts = [(hours, "hour"), (minutes, "minute")]
        said = [f"{count} {unit}{'s' * (count != 1)}" for count, unit in parts if count]
        return " ".join(said) or "0 minutes"

    def _local(self, moment: datetime) -> datetime:
        return moment.astimezone(self.zone)


def zone_of(name: str) -> ZoneInfo:
    """A time zone by name. Raises AnomalystError for one that is not known."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise AnomalystError(
            f"--timezone {name}: is not known here; give a name as Europe/Berlin or UTC (Windows "
            "needs `pip install tzdata`)."
        ) from None


def period_of(start: str, end: str, zone: ZoneInfo) -> Period:
    """The shift between two times as people write them.

    Raises AnomalystError for what is no time, clock times that the zone does not have or has
    twice, an end that is not after the start, and a shift of more than a year.
    """
    first, last = moment_of(start, "--from", zone), moment_of(end, "--to", zone)
    if last <= first:
        raise AnomalystError(
            f"--to {end}: is not after --from {start}; a shift ends after it begins."
        )
    if last - first > LONGEST:
        raise AnomalystError(
            f"--from {start} --to {end}: are {(last - first).days} days; a report is of at most "
            f"{LONGEST.days}."
        )
    return Period(first, last, zone)


def moment_of(text: str, option: str, zone: ZoneInfo) -> datetime:
    """A time as written, 2026-11-27T06:00 of the zone or with an offset of its own -> UTC."""
    try:
        local = datetime.fromisoformat(text.strip())
    except ValueError:
        raise AnomalystError(
            f"{option} {text!r}: is no time; write it as 2026-11-27T06:00."
        ) from None
    try:
        if local.tzinfo is not None:
            return local.astimezone(UTC)
        moments = [local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        there = [one.astimezone(zone).replace(tzinfo=None) == local for one in moments]
    except OverflowError:
        raise AnomalystError(
            f"{option} {text}: lies at the end of what a calendar can hold; give a nearer time."
        ) from None
    if not any(there):
        raise AnomalystError(
            f"{option} {text}: is no time of {zone.key}, whose clocks were set forward over it; "
            "give one before or after."
        )
    if moments[0] != moments[1]:
        offsets = " or ".join(one.astimezone(zone).isoformat(timespec="minutes") for one in moments)
        raise AnomalystError(
            f"{option} {text}: comes twice in {zone.key}, where clocks were set back; say which "
            f"with {offsets}."
        )
    return moments[0]


def shift_ends(text: str) -> tuple[time, ...]:
    """Clock times as in "06:00,14:00,22:00", in order. Raises AnomalystError for anything else."""
    try:
        found = sorted({datetime.strptime(one.strip(), "%H:%M").time() for one in text.split(",")})
    except ValueError:
        raise AnomalystError(
            f"--shift-ends {text!r}: are no clock times; write them as 06:00,14:00,22:00."
        ) from None
    return tuple(found)


def ended_since(
    since: datetime, now: datetime, ends: tuple[time, ...], zone: ZoneInfo
) -> list[Period]:
    """The shifts that ended after `since` and up to `now`, between two of these clock times.

    Oldest first. A time that the clocks skip comes when they have been set forward; of one that
    comes twice the first counts.
    """
    first, today = since.astimezone(zone).date(), now.astimezone(zone).date()
    days = [first + timedelta(days=n) for n in range(-3, (today - first).days + 2)]
    all_ends = {
        datetime.combine(day, one, tzinfo=zone).astimezone(UTC) for day in days for one in ends
    }
    return [Period(*pair, zone) for pair in pairwise(sorted(all_ends)) if since < pair[1] <= now]


def last_ended(now: datetime, ends: tuple[time, ...], zone: ZoneInfo) -> Period:
    """The newest shift that is over."""
    return ended_since(now - timedelta(days=3), now, ends, zone)[-1]
