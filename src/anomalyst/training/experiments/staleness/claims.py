"""What the reports say of BSP, SSP and ASP, answered by the figures."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from anomalyst.training.experiments.staleness.config import BOUNDED, Topology
from anomalyst.training.experiments.staleness.failures import Failure
from anomalyst.training.experiments.staleness.results import Result
from anomalyst.training.experiments.tables import interval

Value = Callable[[Result], float]
RULES = ("BSP", "SSP", "ASP")


@dataclass(frozen=True, slots=True)
class Answer:
    """A claim, yes or no, and why."""

    claim: str
    holds: bool
    figures: str


def answers(results: Sequence[Result], failures: Sequence[Failure]) -> list[Answer]:
    """Of every claim that these runs can answer.

    A difference counts where its 95 % interval (Student's t, over workers and stragglers) leaves
    out 0; so "no" also means that no difference could be seen.
    """
    found = []
    for topology in BOUNDED:
        mine = [one for one in results if one.case.topology == topology]
        if len(_triples(mine, _loss)) > 1:
            found += _of_rules(mine, topology)
    found += _of_traffic(results)
    found += _of_agreement(results)
    return found + _of_failures(failures)


def _of_rules(results: Sequence[Result], topology: Topology) -> list[Answer]:
    where = {"server": "at a server", "ring": "on a ring", "random": "with random partners"}
    loss = _triples(results, _loss)
    slow = [one for one in results if one.case.straggler > 1]
    speed, idle = (_triples(slow, value) for value in (_speed, _idle))
    found = [
        _ordered(f"BSP converges best {where[topology]} (loss after the same pictures)", loss,
                 ((1, 0), (2, 0)), ".3f"),
        _ordered(f"ASP converges worse than BSP {where[topology]}", loss, ((2, 0),), ".3f"),
        _ordered(f"SSP converges between the two {where[topology]}", loss, ((1, 0), (2, 1)), ".3f"),
    ]  # fmt: skip
    if len(speed) > 1:
        found += [
            _ordered(f"BSP waits for the slowest {where[topology]} (idle share of the others)",
                     idle, ((0, 1), (0, 2)), ".2f"),
            _ordered(f"ASP makes the best use {where[topology]} (samples/s beside a straggler)",
                     speed, ((2, 0), (2, 1)), ".0f"),
            _ordered(f"SSP's use lies between {where[topology]} (samples/s beside a straggler)",
                     speed, ((1, 0), (2, 1)), ".0f"),
        ]  # fmt: skip
    return found


def _ordered(
    claim: str,
    triples: Sequence[tuple[float, float, float]],
    larger: Iterable[tuple[int, int]],
    digits: str,
) -> Answer:
    """Yes where in each pair of rules the first is larger than the second beyond doubt."""
    means = [statistics.mean(one[k] for one in triples) for k in range(3)]
    told, holds = [], True
    for more, less in larger:
        apart = interval([one[more] - one[less] for one in triples])
        holds = holds and apart.mean - apart.half_width > 0
        told.append(
            f"{RULES[more]} - {RULES[less]} = {apart.mean:{digits}} ± {apart.half_width:{digits}}"
        )
    mean = ", ".join(f"{name} {value:{digits}}" for name, value in zip(RULES, means, strict=True))
    return Answer(claim, holds, f"means of {len(triples)} settings: {mean}; {'; '.join(told)}")


def _triples(results: Sequence[Result], value: Value) -> list[tuple[float, float, float]]:
    """BSP, the mean of all SSP, ASP; of every number of workers and straggler that has them."""
    groups: dict[tuple[int, float], dict[int | None, float]] = {}
    for one in results:
        if one.case.servers == 1:
            group = groups.setdefault((one.case.workers, one.case.straggler), {})
            group[one.case.bound] = value(one)
    found = []
    for group in groups.values():
        between = [v for bound, v in group.items() if bound]
        if 0 in group and None in group and between:
            found.append((group[0], statistics.mean(between), group[None]))
    return found


def _of_traffic(results: Sequence[Result]) -> list[Answer]:
    """The busiest server beside the busiest worker, and beside a ring's."""
    one = [r for r in results if r.server_mb and r.case.servers == 1 and r.case.straggler == 1]
    if not one:
        return []
    ratios = {r.case.workers: r.server_mb / r.worker_mb for r in one if r.case.bound == 0}
    told = ", ".join(f"{p} workers: {ratio:.1f} times" for p, ratio in sorted(ratios.items()))
    shared = [r for r in results if r.case.servers > 1]
    if shared:
        told += (
            f"; with {shared[0].case.servers} servers "
            f"{statistics.mean(r.server_mb / r.worker_mb for r in shared):.1f} times"
        )
    claim = "The server is the bottleneck in traffic (its bytes over the busiest worker's)"
    return [Answer(claim, all(ratio > 1 for ratio in ratios.values()), told)]


def _of_agreement(results: Sequence[Result]) -> list[Answer]:
    apart = [one for one in results if one.case.topology in ("ring", "random")]
    if len(apart) < 2:
        return []
    loss = [100 * (one.accuracy - one.worst_accuracy) for one in apart]
    distance = interval([one.disagreement for one in apart])
    told = (
        f"weights lie {100 * distance.mean:.1f} ± {100 * distance.half_width:.1f} % of their norm "
        f"from their mean at the end; the worst worker's accuracy is {statistics.mean(loss):.1f} "
        f"points below the mean's, {max(loss):.1f} at most"
    )
    holds = distance.mean - distance.half_width > 0
    return [Answer("Without a server the weights are harder to keep the same", holds, told)]


def _of_failures(failures: Sequence[Failure]) -> list[Answer]:
    if not failures:
        return []
    at_server = [one for one in failures if one.victim == "server"]
    without = [one for one in failures if one.case.topology in ("ring", "random")]
    found = []
    if at_server:
        stop = sum(one.goes_on == "all stop" for one in at_server)
        told = f"all workers stop in {stop} of {len(at_server)} runs whose server is killed"
        claim = "A server is a single point of failure"
        found.append(Answer(claim, stop == len(at_server), told))
    if without:
        on = sum(one.goes_on == "goes on to the end" for one in without)
        told = f"the others go on in {on} of {len(without)} runs in which a worker fails"
        claim = "Without a server (a ring, random partners) there is no single point of failure"
        found.append(Answer(claim, on == len(without), told))
    return found


def _loss(one: Result) -> float:
    return one.loss


def _speed(one: Result) -> float:
    return one.samples_per_second


def _idle(one: Result) -> float:
    return one.fast_idle_share
