"""How fast pictures are made."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalyst.datasets.builders.build_job import Copy, Job, fill, mask_name, write_picture
from anomalyst.datasets.builders.plan import MakingPlan
from anomalyst.datasets.builders.poisson import plan_transplants
from anomalyst.datasets.builders.source_set import Originals, read_originals
from anomalyst.datasets.builders.synthesize import plan_synthesis
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import open_mask, open_picture, shrink_mask
from anomalyst.synthetic.anomalies.methods import METHODS
from anomalyst.synthetic.anomalies.transplant import TransplantConfig

SIDE_PX = 256
MOST = 60  # pictures of a kind and category that are brought to that size


@dataclass(frozen=True, slots=True)
class Speed:
    """Pictures per second of one method."""

    method: str
    pictures: int
    not_made: int
    whole: float  # pictures a second, with the start of the processes
    steady: float  # after the first tenth


def bench_making(
    dataset: Path, categories: Sequence[str], out: Path, *, count: int, say: Callable[[str], None]
) -> list[Speed]:
    """Make `count` pictures a category by every method at 256 px on all cores, and time it.

    `out` is an empty folder: what is there already would not be made again.
    """
    _at_256(dataset, categories, out / "set-256")
    originals, found = read_originals(out / "set-256", out / "made"), []
    for method in (*METHODS, "poisson"):
        one = _timed(method, _plan(method, originals, count), out / "made" / method)
        say(f"{method}: {one.whole:.1f} pictures/s, {one.steady:.1f} once running")
        found.append(one)
    return found


def _plan(method: str, originals: Originals, count: int) -> MakingPlan:
    if method != "poisson":
        return plan_synthesis(originals, method=method, count=count, constants="estimated", seed=0)
    bad = [s for some in originals.categories.values() for s in some if s.sample.mask]
    factor = 1 + count * len(originals.categories) / max(1, len(bad))
    return plan_transplants(
        originals, factor=factor, seed=0, config=TransplantConfig(), segmenter="default"
    )


def _timed(method: str, plan: MakingPlan, folder: Path) -> Speed:
    """Only making is measured, not copying."""
    jobs: list[Job] = [job for job in plan.jobs if not isinstance(job, Copy)]
    ends: list[float] = []
    start = time.perf_counter()
    filled = fill(folder, jobs, plan.settings, on_picture=lambda: ends.append(time.perf_counter()))
    warm = len(ends) // 10
    whole = len(ends) / (ends[-1] - start)
    steady = (len(ends) - 1 - warm) / (ends[-1] - ends[warm])
    return Speed(method, len(ends), len(filled.faults), whole, steady)


def _at_256(dataset: Path, categories: Sequence[str], folder: Path) -> None:
    """At most MOST pictures of each kind, squared to 256 px, with their masks."""
    originals = read_originals(dataset, folder, categories=categories)
    size_hw = (SIDE_PX, SIDE_PX)
    held: Counter[tuple[str, str]] = Counter()
    for copy in originals.copies:
        file = Path(copy.file).with_suffix(".png").as_posix()
        kind = (copy.category, str(Path(file).parent))
        held[kind] += 1
        if held[kind] > MOST:
            continue
        picture = open_picture(copy.image)
        if copy.mask is not None:
            truth = open_mask(copy.mask, (picture.shape[0], picture.shape[1]))
            write_picture(folder / copy.category / mask_name(file), shrink_mask(truth, size_hw))
        write_picture(folder / copy.category / file, resize(picture, size_hw))
