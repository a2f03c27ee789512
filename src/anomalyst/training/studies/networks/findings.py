"""What the figures say, in sentences: each is decided by numbers, none is written beforehand."""

import math
from collections.abc import Iterator

import numpy as np

from anomalyst.evaluation.classifiers.delong import Area
from anomalyst.training.experiments.tables import interval
from anomalyst.training.studies.networks.plan import GROUPS, STUDENT, TEACHERS
from anomalyst.training.studies.networks.results import Results

TRANSFORMERS = ("vit", STUDENT)
CNNS = (*TEACHERS, "lenet")


def conclusions(results: Results) -> list[str]:
    """A sentence for each question of the study that was run."""
    return [*_best(results), *_vit_against_cnn(results), *_distilling(results), *_other(results)]


def abstract(results: Results) -> str:
    """The paper's in a few sentences."""
    test = results.counts["test"]
    begun = (
        f"{len(results.arms('scratch'))} networks of about "
        f"{results.trained[0].parameters / 1e6:.2f} million trainable parameters each were trained "
        f"on {sum(results.counts['train'].values())} labelled pictures of {len(test)} classes with "
        f"{_count(results.seeds, 'seed')}, and judged on {sum(test.values())} others."
    )
    return " ".join([begun, *conclusions(results)[:3]])


def comparison(results: Results, one: str, other: str) -> str:
    """How an arm's AUROC stands to another's, over the seeds that both have."""
    pairs = list(zip(results.aurocs(one), results.aurocs(other), strict=False))
    apart = [mine - theirs for mine, theirs in pairs]
    found = interval(apart)
    said = f"{found.mean:+.4f} ± {found.half_width:.4f}" if len(apart) > 1 else f"{apart[0]:+.4f}"
    if len(apart) < 2:
        return f"{said} with one seed, which decides nothing"
    if abs(found.mean) <= found.half_width:
        return f"{said}, an interval that holds 0: undecided over {len(apart)} seeds"
    return f"{said}: {'better' if found.mean > 0 else 'worse'} over {len(apart)} seeds"


def _best(results: Results) -> Iterator[str]:
    best = results.best()
    area = results.of(best)[0].figures.area
    yield (
        f"The highest mean AUROC is {np.mean(results.aurocs(best)):.4f}, by {best} (its first "
        f"seed {area.value:.4f}{_interval(area)}). It was chosen among "
        f"{len(results.arms(*GROUPS))} arms by these test pictures, which flatters it."
    )


def _vit_against_cnn(results: Results) -> Iterator[str]:
    vit, cnn = (results.best("scratch", networks=names) for names in (TRANSFORMERS, CNNS))
    if not vit or not cnn:
        return
    yield (
        f"From labels alone the best vision transformer, {vit}, less the best CNN, {cnn}: "
        f"{comparison(results, vit, cnn)}."
    )
    if "cvt" in results.arms("scratch"):
        yield f"CvT from labels alone less {cnn}: {comparison(results, 'cvt', cnn)}."
    student = results.best("distilled", networks=TRANSFORMERS)
    if student:
        yield (
            f"The best vision transformer with a teacher, {student}, less {cnn} from labels "
            f"alone: {comparison(results, student, cnn)}."
        )
        taught = results.best("distilled", networks=CNNS)
        if taught:
            said = comparison(results, student, taught)
            yield f"The same less the best CNN with a teacher, {taught}: {said}."


def _distilling(results: Results) -> Iterator[str]:
    for arm in results.arms("distilled"):
        network = results.of(arm)[0].network
        if network in results.arms("scratch"):
            yield f"{arm}, less {network} from labels alone: {comparison(results, arm, network)}."


def _other(results: Results) -> Iterator[str]:
    errors = {
        arm: float(np.mean([one.figures.ece for one in results.of(arm)]))
        for arm in results.arms("scratch")
    }
    low, high = min(errors, key=errors.__getitem__), max(errors, key=errors.__getitem__)
    yield (
        f"Calibration from labels alone: the expected calibration error is lowest for {low} "
        f"({errors[low]:.3f}) and highest for {high} ({errors[high]:.3f})."
    )
    times = {one.name: one.formats[0].milliseconds or np.inf for one in results.costs}
    quick = min(times, key=times.__getitem__)
    slow = max(times, key=times.__getitem__)
    yield (
        f"On {results.machine}, at float32 a picture takes {times[quick]:.2f} ms with {quick} "
        f"and {times[slow]:.2f} ms with {slow}, at about the same number of parameters."
    )


def _interval(area: Area) -> str:
    if math.isnan(area.low):
        return ", too few pictures for an interval"
    return f", DeLong's 95 % interval {area.low:.4f} to {area.high:.4f}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
