"""Drawn shifts written into a record, reported from it, and every number counted again."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.detection.classifiers.kinds import KINDS
from anomalyst.report.shift.checked import conflict
from anomalyst.report.shift.drawn import OWN_KINDS, PRODUCTS, drawn_shift
from anomalyst.report.shift.facts import NO_KIND, Defect, Said, Seen
from anomalyst.report.shift.period import Period
from anomalyst.server.config import ServingConfig
from anomalyst.server.records.shift import Writer, shift_of_record, summary_of
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from anomalyst.types import PLACES

_COUNT = re.compile(r"\d+(?:\.\d+)?")


@dataclass(slots=True)
class ShiftsTally:
    """What came of the drawn shifts."""

    shifts: int = 0
    empty: int = 0
    sentences: int = 0
    numbers: int = 0
    wrong: int = 0  # numbers that a second count does not have
    kept: int = 0  # of a model's sentences: said, and not said
    refused: int = 0
    altered: int = 0  # numbers changed by one
    swapped: int = 0  # names put in the place of others
    lengths: Counter[int] = field(default_factory=Counter)  # sentences of a summary -> summaries
    examples: list[str] = field(default_factory=list)  # sentences with a wrong number
    unnoticed: list[str] = field(
        default_factory=list
    )  # altered or swapped ones that the check let pass

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"lengths": dict(sorted(self.lengths.items()))}


def bench_shifts(
    home: Path,
    count: int,
    seed: int = 0,
    writer: Writer | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> ShiftsTally:
    """Draw shifts, keep each in a record of its own product names, report and recount.

    The second count goes over what was drawn, not over what the record gave, and shares no code
    with the summary: a reader of its own hears what each number is said to count. A number that it
    cannot place is wrong, too. Then each number is changed by one, and each product, kind and place
    for one that the shift does not say this of; the check must notice.
    """
    store = Store.open(ServingConfig(home=home))
    tally = ShiftsTally()
    rng = np.random.default_rng((seed, 24))
    for number in range(count):
        period, seen, said = drawn_shift(rng)
        _empty(store)
        write_rows(store, seen, said)
        facts, _ = shift_of_record(store, period)
        summary = summary_of(facts, writer)
        true = recounted(period, seen, said)
        tally.shifts += 1
        tally.empty += facts.empty
        tally.kept += summary.kept
        tally.refused += len(summary.refused)
        tally.lengths[len(summary.sentences)] += 1
        for sentence in summary.sentences:
            bare = _without_names(sentence, seen)
            claims = read_aloud(bare, sentence)
            found = _COUNT.findall(bare)
            tally.sentences += 1
            tally.numbers += len(found)
            wrong = [claim for claim in claims if claim[1] not in true.get(claim[0], ())]
            unread = len(found) - len(claims)
            if wrong or unread:
                tally.wrong += len(wrong) + unread
                tally.examples.append(f"{sentence} {wrong}")
            for place in _COUNT.finditer(bare):
                tally.altered += 1
                other = (
                    f"{sentence[: place.start()]}{_next(place.group())}{sentence[place.end() :]}"
                )
                if conflict(other, facts) is None:
                    tally.unnoticed.append(other)
            for other in swapped_names(sentence, seen):
                tally.swapped += 1
                if conflict(other, facts) is None:
                    tally.unnoticed.append(other)
        told(number + 1)
    store.engine.dispose()
    return tally


# How the second reader hears a number: what stands around it -> of what it is the count.
READ = (
    (r"(\d\d):(\d\d)\b", "clock"),
    (r"(\d+) [A-Z][a-z]+ (\d{4})\b", "date"),
    (r"(\d+) (hour|minute)s?\b", "{1}"),
    (r"(\d+) parts? w(?:as|ere) inspected", "inspected"),
    (r"(\d+) (normal|unsure)\b", "{1}"),
    (r"(\d+) anomalous\b", "anomalous"),
    (r"(\d+) could not be inspected", "failed"),
    (r"(\d+) waits?\b", "waiting"),
    (r"(\d+) defects? w(?:as|ere) found", "defects"),
    (r"(\d+) of other kinds", "other kinds"),
    (r"(\d+) places have (\d+) of (\d+)", "tied places"),
    (r"most defects (?:is|are) (.*), (\d+) of (\d+)", "places {0}"),
    (r"Of (\d+) products", "products"),
    (r"parts, (\d+) of (\d+) \((\d+\.\d) %\)", "share"),
    (r"(\d+) drift alarm", "alarms"),
    (r"(\d+) judgement", "judgements"),
    (r"(\d+) (verdict|part|mask|answer|ranking)s?( confirmed| called \w+| drawn| written| of)",
     "judged {1}{2}"),
    (r"(\d+) of ", "kind"),
)  # fmt: skip


def read_aloud(bare: str, whole: str) -> list[tuple[str, str]]:
    """What a summary's sentence claims, as pairs of what is counted and the number said.

    `bare`: the sentence without people's names, which are read from `whole` where needed.
    """
    found, names = [], re.findall(r"'([^']*)'", whole)
    for pattern, called in READ:
        for match in re.finditer(pattern, bare):
            groups = match.groups()
            key = called.format(*groups)
            if called == "kind":
                key = f"kind {re.split(', | and |[.]$', whole[match.end() :])[0]}"
            elif called == "share":
                key = f"share {names[0]}"
            found += [(key, one) for one in groups if one and _COUNT.fullmatch(one)]
        bare = re.sub(pattern, lambda match: "." * len(match.group()), bare)
    return found


def recounted(period: Period, seen: Sequence[Seen], said: Sequence[Said]) -> dict[str, set[str]]:
    """What is counted -> numbers that may be said of it, counted anew from the drawn rows."""
    rows = [one for one in seen if period.start <= one.at < period.end]
    judged = [one for one in said if period.start <= one.at < period.end]
    done = [one for one in rows if one.verdict]
    regions = [region for one in done if one.verdict == "anomalous" for region in one.defects]
    placed = Counter(region.place for region in regions if region.place)
    kinds = sorted(Counter(one.kind for one in regions).items(), key=lambda kv: (-kv[1], kv[0]))
    most = max(placed.values(), default=0)
    there = [place for place in PLACES if placed[place] == most]
    counts = {
        "inspected": len(done),
        **{v: len([o for o in done if o.verdict == v]) for v in ("normal", "unsure", "anomalous")},
        "failed": len([one for one in rows if one.failed]),
        "waiting": len(rows) - len(done) - len([one for one in rows if one.failed]),
        "defects": len(regions),
        **{f"kind {_as_said(kind, regions)}": count for kind, count in kinds[:4]},
        "other kinds": sum(count for _, count in kinds[4:]),
        "products": len({one.product for one in done}),
        "alarms": len([one for one in rows if one.alarm]),
        "judgements": len(judged),
        **{f"judged {SPOKEN[k]}": n for k, n in Counter(one.kind for one in judged).items()},
    }
    found = {key: {str(count)} for key, count in counts.items()}
    where = " and ".join(", ".join(f"the {one}" for one in there).rsplit(", ", 1))
    found[f"places {where}"] = {str(most), str(placed.total())}
    found["tied places"] = {str(len(there)), str(most), str(placed.total())}
    for name in {one.product for one in done}:
        mine = [one for one in done if one.product == name]
        bad = len([one for one in mine if one.verdict == "anomalous"])
        found[f"share {name}"] = {str(bad), str(len(mine)), f"{100 * bad / len(mine):.1f}"}
    moments = [period.start, period.end, *(one.at for one in rows if one.alarm)]
    local = [moment.astimezone(period.zone) for moment in moments]
    found["clock"] = {part for one in local for part in (f"{one:%H}", f"{one:%M}")}
    found["date"] = {part for one in local for part in (str(one.day), str(one.year))}
    minutes = int((period.end - period.start).total_seconds() // 60)
    return found | {"hour": {str(minutes // 60)}, "minute": {str(minutes % 60)}}


def swapped_names(sentence: str, seen: Sequence[Seen]) -> list[str]:
    """The sentence with each of its names changed for one that it is not true of.

    Each twice: as the summary writes names, and as a model might, with a capital and no quotes.
    """
    kinds = [*KINDS, NO_KIND, *OWN_KINDS]
    there = {one.product for one in seen} | {d.kind for one in seen for d in one.defects}
    found = []
    for names in (PRODUCTS, kinds, PLACES):  # of places, a sentence names all that it is true of
        named = set(re.findall("|".join(_patterns(names)), sentence)) | there
        others = [name for name in names if name not in named]
        for match in re.finditer("|".join(_patterns(names)), sentence) if others else ():
            mark = "'" * match.group().startswith("'")
            for other in (f"{mark}{others[0]}{mark}", others[-1].capitalize()):
                found.append(f"{sentence[: match.start()]}{other}{sentence[match.end() :]}")
    return found


def _patterns(names: Sequence[str]) -> list[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return [rf"'{re.escape(one)}'|\b{re.escape(one)}\b" for one in longest_first]


def _as_said(kind: str, regions: Sequence[Defect]) -> str:
    return f"'{kind}'" if any(one.own for one in regions if one.kind == kind) else kind


SPOKEN = {
    "right": "verdict confirmed", "wrong": "verdict called wrong", "fine": "part called fine",
    "mask": "mask drawn", "answer": "answer written", "ranking": "ranking of",
    "up": "answer called good", "down": "answer called bad",
}  # fmt: skip


def write_rows(store: Store, seen: Sequence[Seen], said: Sequence[Said]) -> None:
    """Drawn rows as a server would have kept them."""
    rows = [_inspection(one, number) for number, one in enumerate(seen)]
    with store.session() as session:
        session.add_all(rows)
        session.flush()
        if rows:
            session.add_all(
                CorrectionRow(
                    inspection=rows[0].id, product=one.product, kind=one.kind, detail={},
                    by="drawn", created_at=one.at,
                )
                for one in said
            )  # fmt: skip


def _inspection(one: Seen, number: int) -> InspectionRow:
    record = {"verdict": one.verdict, "regions": [_region(region) for region in one.defects]}
    return InspectionRow(
        id=f"{_milliseconds(one.at):012x}{number:012x}", created_at=one.at, product=one.product,
        picture="drawn.png", name=f"drawn-{number}.png", source="api", by="drawn", owner="server",
        false_alarm_rate=0.05, state="done" if one.verdict else "failed" if one.failed else
        "queued", verdict=one.verdict, score=1.0, p_value=one.p_value,
        record=record if one.verdict else None,
        alarm=f"scores of accepted parts of {one.product!r} have changed" if one.alarm else None,
    )  # fmt: skip


def _region(defect: Defect) -> dict[str, Any]:
    kind = None if defect.own or defect.kind == "no known kind" else defect.kind
    return {"kind": kind, "called": defect.kind if defect.own else "", "place": defect.place}


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _empty(store: Store) -> None:
    from sqlalchemy import delete

    with store.session() as session:
        session.execute(delete(CorrectionRow))
        session.execute(delete(InspectionRow))


def _without_names(sentence: str, seen: Sequence[Seen]) -> str:
    """The sentence with names of products and kinds blotted out, as long as before."""
    names = {one.product for one in seen} | {d.kind for one in seen for d in one.defects}
    for name in sorted(names, key=len, reverse=True):
        sentence = sentence.replace(f"'{name}'", "." * (len(name) + 2))
    return sentence


def _next(number: str) -> str:
    """The number above it, written as it is."""
    if "." in number:
        return f"{float(number) + 0.1:.1f}"
    return str(int(number) + 1).zfill(len(number))
