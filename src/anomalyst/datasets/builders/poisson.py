"""More defective test pictures: labelled defects blended onto good parts by Poisson editing."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from scipy.stats import ks_2samp

from anomalyst.config import to_mapping
from anomalyst.datasets.builders.build_job import Filled, Row, write_made
from anomalyst.datasets.builders.picture_cache import opened, product_on
from anomalyst.datasets.builders.plan import MakingPlan, refuse_mixed
from anomalyst.datasets.builders.source_set import Category, Originals
from anomalyst.datasets.checks import Measured
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.pictures import open_mask, open_picture
from anomalyst.synthetic.anomalies.moves import Move, draw_move
from anomalyst.synthetic.anomalies.poisson import border_steps
from anomalyst.synthetic.anomalies.transplant import (
    Labelled,
    TransplantConfig,
    described,
    transplant,
)
from anomalyst.synthetic.foreground import has_outline, segmenter_of
from anomalyst.types import Sample

TARGETS = 4  # good pictures that one defect is tried on
STAND_INS = 4  # other defects of the same kind that are tried where it finds no place
LOOKED_AT = 9  # good pictures that say whether a product has an outline
MOVE_LOT = 1  # keeps what moves a picture apart from what the blend is drawn from


@dataclass(frozen=True, slots=True)
class TransplantJob:
    """One defect onto one good part: the first of the pairs that blends well."""

    category: str
    file: str
    pairs: tuple[tuple[Path, Path, Path], ...]  # defective picture, its mask, good picture
    seed: tuple[int, int, int]
    config: TransplantConfig
    segmenter: str  # empty: the surface fills the picture
    rows: tuple[Row, ...]  # of each pair
    move: Move = field(default=Move(), repr=False)  # of the whole picture; the rows say it

    def make(self, folder: Path) -> Row:
        """Try the pairs in their order; a fault names the first defect and the last reason."""
        rng = np.random.default_rng(self.seed)
        for (image, mask, good), row in zip(self.pairs, self.rows, strict=True):
            source = _labelled(image, mask, self.segmenter)
            target = _labelled(good, None, self.segmenter)
            try:
                made = transplant(source, target, rng, self.config)
            except AnomalystError as error:
                said = str(error)
                continue
            made = self.move.made(made)
            words = described(made.centres_xy, made.mask.shape)
            return write_made(folder, row, replace(made, description=words))
        raise PictureError(self.pairs[0][0], said)


def _labelled(image: Path, mask: Path | None, segmenter: str) -> Labelled:
    picture = opened(image)
    return Labelled(
        picture=picture,
        product=product_on(image, segmenter),
        mask=None if mask is None else open_mask(mask, (picture.shape[0], picture.shape[1])),
    )


def plan_transplants(
    originals: Originals,
    *,
    factor: float,
    seed: int,
    config: TransplantConfig,
    segmenter: str,
    flip: bool = False,
    turn: bool = False,
) -> MakingPlan:
    """The set as it is, and `factor` - 1 times as many new defective test pictures.

    Each of them with its mask is flipped and turned afterwards, as a whole, if that is asked for.

    The good parts are test pictures; training pictures only where a category has no good test
    picture, which a note says. A category without masks is left as it is, and is a note, too.
    Raises AnomalystError if no category has masks, or one mixes grey and colour.
    """
    if factor < 1:
        raise AnomalystError(f"--factor is {factor:g}; 1 or more is needed, and 2 doubles.")
    segmenter_of(segmenter)  # an unknown one is told before anything is made
    jobs, balance, notes = list[TransplantJob](), [], []
    for name in originals.categories:
        category = Category(originals, name, seed)
        good, bad = len(category.good()), category.bad
        masked = [one for one in bad if one.sample.mask is not None]
        count = round((factor - 1) * len(masked))
        targets, note = _targets(category)
        notes += [f"{name}: {note}"] if note else []
        if count and not targets:
            raise AnomalystError(f"{name}: has no good picture to put defects on.")
        if count:
            refuse_mixed(name, [*masked, *targets])
            made = _jobs(category, masked, targets, count, config, _found(segmenter, targets))
            square = all(one.size_hw and one.size_hw[0] == one.size_hw[1] for one in targets)
            jobs += _moved(made, flip=flip, turn=turn, square=square) if flip or turn else made
            if turn and not square:
                notes.append(f"{name}: has pictures that are not square, so turns are half turns.")
        balance.append((name, good, good, len(bad), len(bad) + count))
    if not any(one.sample.mask for some in originals.categories.values() for one in some):
        raise AnomalystError(
            f"{originals.root}: no defective picture has a mask; Poisson editing needs to know "
            "where the defects are. Keep masks in ground_truth/DEFECT/NAME_mask.png."
        )
    settings = {"method": "poisson", "factor": factor, "seed": seed, "segmenter": segmenter}
    settings |= to_mapping(config)
    if flip or turn:
        settings |= {"flip": flip, "turn": turn}
        notes.append(
            "Only made pictures are moved, and all of them are defective: whoever sees that a part "
            "lies otherwise could tell them without seeing a defect."
        )
    return originals.plan(", defects on other good parts", jobs, balance, settings, notes)


def _targets(category: Category) -> tuple[list[Measured], str]:
    """The good pictures that take defects, and what a person should know of the choice."""
    targets, bad = category.good("test"), category.bad
    if bad and not any(one.sample.mask for one in bad):
        return targets, (
            f"none of its {len(bad)} defective pictures has a mask, so it is left as it is."
        )
    if targets or not bad:
        return targets, ""
    return category.good(), "has no good test picture, so defects lie on training ones."


def seam_note(out: Path, filled: Filled) -> str:
    """How the outlines of blends differ from those of real defects, in one sentence.

    The Kolmogorov-Smirnov distance of the changes across the outline, 0 (alike) to 1.
    """
    found: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = {}
    for category, rows in filled.rows.items():
        for row in rows:
            if row.get("mask"):
                picture = open_picture(out / category / row["file"])
                mask = open_mask(out / category / row["mask"], picture.shape[:2])
                steps = border_steps(picture, mask)
                found.setdefault(category, ([], []))[row["method"] == "poisson"].append(steps)
    both = {name: pair for name, pair in found.items() if all(pair)}
    if not both:
        return ""
    real, made = (np.concatenate([s for pair in both.values() for s in pair[i]]) for i in (0, 1))
    apart = {
        name: ks_2samp(*(np.concatenate(steps) for steps in pair)).statistic
        for name, pair in both.items()
    }
    return (
        f"Across the outlines of {sum(len(pair[1]) for pair in both.values())} blends the picture "
        f"changes by {made.mean():.1f} grey levels on average, across those of "
        f"{sum(len(pair[0]) for pair in both.values())} real defects by {real.mean():.1f}; "
        f"Kolmogorov-Smirnov distance {ks_2samp(made, real).statistic:.3f}, by category "
        f"{', '.join(f'{name} {distance:.3f}' for name, distance in apart.items())}."
    )


def _jobs(
    category: Category,
    bad: Sequence[Measured],
    targets: Sequence[Measured],
    count: int,
    config: TransplantConfig,
    segmenter: str,
) -> list[TransplantJob]:
    order = category.rng.permutation(len(targets))
    alike = defaultdict[str | None, list[Sample]](list)
    for one in bad:
        alike[one.sample.defect].append(one.sample)
    jobs = []
    for index in range(count):
        sample = bad[in_turn(index, count, len(bad))].sample
        kin = alike[sample.defect]
        at = kin.index(sample)
        sources = [sample] * TARGETS + [kin[(at + k + 1) % len(kin)] for k in range(STAND_INS)]
        goods = [targets[order[(index + k) % len(order)]].sample for k in range(len(sources))]
        file = category.new_file(f"poisson_{index:04d}.png", sample)
        both, mine = list(zip(sources, goods, strict=True)), category.seed_of(index)
        pairs = tuple((s.image, s.mask, good.image) for s, good in both if s.mask is not None)
        rows = tuple(category.row(file, g, s, method="poisson", seed=mine) for s, g in both)
        jobs.append(TransplantJob(category.name, file, pairs, mine, config, segmenter, rows))
    return jobs


def _moved(
    jobs: Sequence[TransplantJob], *, flip: bool, turn: bool, square: bool
) -> list[TransplantJob]:
    """The same blends, each with a move of its own seed, which its rows say."""
    moved = []
    for job in jobs:
        rng = np.random.default_rng((*job.seed, MOVE_LOT))
        move = draw_move(rng, flip=flip, turn=turn, square=square)
        rows = tuple({**row, "moved": str(move)} for row in job.rows)
        moved.append(replace(job, move=move, rows=rows))
    return moved


def in_turn(index: int, count: int, of: int) -> int:
    """Which of `of` things the job `index` of `count` takes: each in turn, the last ones spread."""
    rest = count % of
    return index % of if index < count - rest else (index - count + rest) * of // rest


def _found(segmenter: str, good: Sequence[Measured]) -> str:
    """The segmenter, or none where it sees an outline on fewer than half of the good pictures."""
    seen = [has_outline(product_on(one.sample.image, segmenter)) for one in good[:LOOKED_AT]]
    return segmenter if 2 * sum(seen) >= len(seen) else ""
