"""How far the people agree who judged the same: verdicts, thumbs, and which answer is better."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from anomalyst.evaluation.agreement import cohen_kappa, fleiss_kappa
from anomalyst.server.records.evaluated import agreement_lines, mask_agreement
from anomalyst.server.records.judged import not_undone, opinion
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow

What = Literal["verdicts", "thumbs", "answers compared"]
Votes = dict["Thing", dict[str, str]]  # thing -> person -> what they said
ENOUGH = 10  # inspections judged by the same people; below it a kappa is mostly chance
MOST_SHOWN = 5  # things that people disagree about most


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing that several people may judge."""

    what: What
    product: str
    inspection: str
    about: str  # in words


def votes_of(store: Store, product: str | None = None) -> Votes:
    """What each person last said of each thing and did not undo."""
    found: Votes = defaultdict(dict)
    for row, seen in reversed(not_undone(store, product)):  # what is said later counts
        for thing, said in _votes(row, seen):
            found[thing][row.by] = said
    return dict(found)


def _votes(row: CorrectionRow, seen: InspectionRow) -> Iterator[tuple[Thing, str]]:
    def thing(what: What, about: str) -> Thing:
        return Thing(what, row.product, row.inspection, about)

    detail = row.detail
    if (spoiled := opinion(row, seen)) is not None:
        yield thing("verdicts", seen.name), "anomalous" if spoiled else "normal"
    elif row.kind in ("up", "down"):
        answer = detail["answers"][0]["text"]
        yield thing("thumbs", f"{detail['question']} {answer}"), row.kind
    elif row.kind == "ranking":
        ranked = sorted(zip((a["text"] for a in detail["answers"]), detail["ranks"], strict=True))
        for (one, rank), (other, against) in combinations(ranked, 2):
            said = "first" if rank < against else "second" if rank > against else "tie"
            yield thing("answers compared", f"{one!r} or {other!r}"), said


def agreement_report(store: Store, product: str | None = None) -> str:
    """Kappa of each two people and of all, what they disagree about most; or that few overlap."""
    found = votes_of(store, product)
    shared = {thing: said for thing, said in found.items() if len(said) > 1}
    if not shared:
        people = {name for said in found.values() for name in said}
        alone = "; without --keys all are 'local'" if people == {"local"} else ""
        return (
            f"Nobody judged the same as another yet ({len(found)} judged by one person{alone}); "
            "let two people review the same inspections, or rank the same answers."
        )
    lines = []
    for what in ("verdicts", "thumbs", "answers compared"):
        of_kind = [(thing, said) for thing, said in shared.items() if thing.what == what]
        lines += [f"{what}:", *_pairs(of_kind), *_all(of_kind)] if of_kind else []
    if drawn := agreement_lines(mask_agreement(store, product)):
        lines += ["defects drawn:", *drawn]
    return "\n".join([*lines, *_disputed(shared)])


VotedOn = tuple[Thing, dict[str, str]]


def _pairs(judged: list[VotedOn]) -> Iterator[str]:
    people = sorted({name for _, said in judged for name in said})
    for one, other in combinations(people, 2):
        both = [(thing, said) for thing, said in judged if one in said and other in said]
        if both:
            pairs = [(said[one], said[other]) for _, said in both]
            kappa = cohen_kappa(*zip(*pairs, strict=True))
            same = sum(a == b for a, b in pairs)
            yield f"  {one} and {other}: Cohen's kappa {_told(kappa, both)}, {same} the same"


def _all(judged: list[VotedOn]) -> Iterator[str]:
    """Fleiss' kappa over the things that the same number of people judged."""
    labels = sorted({label for _, said in judged for label in said.values()})
    for raters in sorted({len(said) for _, said in judged}):
        if raters > 2:
            some = [(thing, said) for thing, said in judged if len(said) == raters]
            given = [Counter(said.values()) for _, said in some]
            counts = np.array([[one[label] for label in labels] for one in given])
            yield f"  {raters} people each: Fleiss' kappa {_told(fleiss_kappa(counts), some)}"


def _told(kappa: float | None, judged: list[VotedOn]) -> str:
    """Comparisons of the answers of one set hang together: inspections are counted, too."""
    value = "not defined, for all said the same" if kappa is None else f"{kappa:.2f}"
    inspections = len({thing.inspection for thing, _ in judged})
    few = f", too few to tell (at least {ENOUGH} are needed)" if inspections < ENOUGH else ""
    return f"{value} (n = {len(judged)} of {inspections} inspections{few})"


def _disputed(shared: Votes) -> Iterator[str]:
    """The things on which the largest share is in the minority, those judged by most first."""

    def apart(said: dict[str, str]) -> tuple[float, int]:
        return 1 - max(Counter(said.values()).values()) / len(said), len(said)

    worst = sorted(shared.items(), key=lambda item: apart(item[1]), reverse=True)
    worst = [(thing, said) for thing, said in worst if apart(said)[0] > 0][:MOST_SHOWN]
    if worst:
        yield "They disagree most about:"
    for thing, said in worst:
        votes = ", ".join(f"{name}: {label}" for name, label in sorted(said.items()))
        where = f"{thing.product}, inspection {thing.inspection}, {thing.about}"
        yield f"  {thing.what}, {where}: {votes}"
