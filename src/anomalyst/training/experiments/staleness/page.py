"""The bench of staleness as a page: what the reports say, curves, tables, failures."""

from collections.abc import Sequence
from pathlib import Path

from anomalyst.report.sections import Section
from anomalyst.training.experiments.staleness.bench import Found
from anomalyst.training.experiments.staleness.claims import answers
from anomalyst.training.experiments.staleness.config import BOUNDED
from anomalyst.training.experiments.staleness.plots import (
    draw_lags,
    draw_shares,
    draw_staleness_curves,
    label_of,
)
from anomalyst.training.experiments.staleness.results import Result
from anomalyst.training.studies.page import write_page

HEADS = (
    "run", "workers", "straggler", "loss", "accuracy %", "worst worker %", "seconds", "samples/s",
    "idle %", "idle % of the others", "exchange %", "steps of each", "MB server", "MB worker",
)  # fmt: skip
TITLES = {
    "server": "Parameter server",
    "ring": "Ring: each averages with the two beside it",
    "random": "Random partners: pairs are drawn anew in each iteration",
    "local": "Local SGD: the mean of all, every H steps",
    "diloco": "DiLoCo-like: an outer Nesterov step on that mean",
}


def write_staleness_page(found: Found, out: Path) -> str:
    """OUT/staleness.html and staleness.md with their pictures; the Markdown."""
    work = found.bench.work
    most = max(found.bench.workers)
    intro = [
        f"Workers train a small LeNet-5 on {work.pictures:,} drawn digits, each on its own shard, "
        f"with plain SGD; every run sees {work.batches} batches of {work.batch} pictures in all.",
        f"A step of a worker lasts {found.step_ms:.0f} ms: what is left after computing is slept, "
        "so that workers do not compete for cores, and a straggler's step lasts a multiple. A "
        "bound of 0 iterations ahead of the slowest is BSP, none is ASP, between them SSP.",
        "Seconds were taken on one machine in one go; runs without BSP's order differ from time "
        "to time.",
    ]
    sections = [_answers(found)]
    for topology in found.bench.topologies:
        some = [one for one in found.results if one.case.topology == topology]
        if some:
            sections.append(_curves(some, TITLES[topology], most))
            sections.append(_table(some, f"{TITLES[topology]}: figures"))
    sections += _waiting(found.results, most)
    if found.failures:
        sections.append(_failures(found))
    if found.ray:
        sections.append(_beside_ray(found))
    return write_page(out, "staleness", "BSP, SSP and ASP", intro, sections)


def _answers(found: Found) -> Section:
    rows = [
        [one.claim, "yes" if one.holds else "no", one.figures]
        for one in answers(found.results, found.failures)
    ]
    told = (
        "Yes where the difference's 95 % interval over the settings (workers and stragglers) "
        "leaves out 0. SSP is the mean of its bounds."
    )
    return Section(
        title="What the reports say", sentences=[told], heads=["claim", "holds", "figures"],
        rows=rows,
    )  # fmt: skip


def _curves(results: Sequence[Result], title: str, workers: int) -> Section:
    some = [one for one in results if one.case.workers == workers]
    return Section(
        title=title,
        sentences=[f"{workers} workers. Left: the same pictures; right: the same time."],
        picture=draw_staleness_curves(some or results),
        shows="loss against batches and against seconds",
    )


def _table(results: Sequence[Result], title: str) -> Section:
    return Section(title=title, heads=HEADS, rows=[_row(one) for one in results])


def _row(one: Result) -> list[str]:
    return [
        label_of(one),
        str(one.case.workers),
        f"{one.case.straggler:g}x",
        f"{one.loss:.3f}",
        f"{100 * one.accuracy:.1f}",
        f"{100 * one.worst_accuracy:.1f}",
        f"{one.seconds:.1f}",
        f"{one.samples_per_second:.0f}",
        f"{100 * one.idle_share:.0f}",
        f"{100 * one.fast_idle_share:.0f}",
        f"{100 * one.exchange_share:.0f}",
        " ".join(map(str, one.steps)),
        f"{one.server_mb:.0f}" if one.server_mb else "",
        f"{one.worker_mb:.0f}",
    ]


def _waiting(results: Sequence[Result], workers: int) -> list[Section]:
    """Shares of time, and how stale what was read; of the largest number of workers."""
    some = [one for one in results if one.case.workers == workers]
    bounded = [one for one in some if one.case.topology in BOUNDED]
    found = [
        Section(
            title="What workers do with their time", sentences=[f"{workers} workers."],
            picture=draw_shares(some), shows="computing, exchanging, idle",
        )
    ]  # fmt: skip
    if bounded:
        found.append(
            Section(
                title="Staleness met",
                sentences=["How many iterations ahead of the slowest a worker was when it went on "
                           "(on a ring: of its neighbours). A bound of s allows s."],
                picture=draw_lags(bounded), shows="histograms, a line for each run",
                heads=["run", "straggler", "iterations ahead: how often"],
                rows=[[label_of(one), f"{one.case.straggler:g}x",
                       ", ".join(f"{lag}: {count}" for lag, count in one.lag.items())]
                      for one in bounded],
            )
        )  # fmt: skip
    return found


def _failures(found: Found) -> Section:
    heads = ["run", "who fails", "how", "batches before", "after", "longest pause, s",
             "what goes on", "accuracy %"]  # fmt: skip
    rows = []
    for one in found.failures:
        right = "lost" if one.accuracy is None else f"{100 * one.accuracy:.1f}"
        label = f"{one.case.topology} {one.case.rule}"
        rows.append([label, one.victim, one.how, str(one.batches_before), str(one.batches_after),
                     f"{one.longest_pause_s:.1f}", one.goes_on, right])  # fmt: skip
    told = (
        "Half way a process gets SIGKILL (the others notice at once), or SIGSTOP: it never returns "
        f"and nobody is told, so the others give it up after {found.bench.work.patience_s:g} s."
    )
    return Section(title="A process fails", sentences=[told], heads=heads, rows=rows)


def _beside_ray(found: Found) -> Section:
    ours = {one.case: one for one in found.results}
    heads = ["rule", "workers", "straggler", "loss", "Ray's loss", "seconds", "Ray's seconds",
             "samples/s", "Ray's samples/s", "steps of each", "of Ray's each"]  # fmt: skip
    rows = []
    for one in found.ray:
        own = ours[one.case]
        rows.append([
            one.case.rule, str(one.case.workers), f"{one.case.straggler:g}x",
            f"{own.loss:.4f}", f"{one.loss:.4f}", f"{own.seconds:.1f}", f"{one.seconds:.1f}",
            f"{own.samples_per_second:.0f}", f"{one.samples_per_second:.0f}",
            " ".join(map(str, own.steps)), " ".join(map(str, one.steps)),
        ])  # fmt: skip
    told = (
        "The same network, pictures, workers and pace with Ray's actors, as Ray's documentation "
        "writes a parameter server: synchronous beside BSP, asynchronous beside ASP."
    )
    return Section(title="Beside Ray", sentences=[told], heads=heads, rows=rows)
