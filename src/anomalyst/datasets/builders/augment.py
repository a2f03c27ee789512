"""Categories brought to an equal number of pictures by augmentation, picture and mask together."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalyst.datasets.builders.build_job import Row, write_picture
from anomalyst.datasets.builders.plan import MakingPlan
from anomalyst.datasets.builders.source_set import Category, Originals
from anomalyst.datasets.checks import Measured
from anomalyst.errors import AnomalystError
from anomalyst.io.pictures import open_mask, open_picture
from anomalyst.synthetic.augmentation import Plan, Plans, Step, augmented, draw_steps

Effect = tuple[bytes, tuple[Step, ...]]

REDRAWN = 60  # times that steps are drawn again because this picture had them before


@dataclass(frozen=True, slots=True)
class AugmentJob:
    """One picture once more, with its mask."""

    category: str
    file: str
    image: Path
    mask: Path | None
    steps: tuple[Step, ...]
    fill: str
    row: Row

    def make(self, folder: Path) -> Row:
        """Open, do the same to both, write both."""
        picture = open_picture(self.image)
        mask = None if self.mask is None else open_mask(self.mask, picture.shape[:2])
        picture, mask = augmented(picture, mask, self.steps, self.fill)
        if mask is not None:
            write_picture(folder / self.row["mask"], mask)
        write_picture(folder / self.file, picture)
        return self.row


def plan_augmentation(
    originals: Originals, plans: Plans, *, target: int, defects: int | None, seed: int
) -> MakingPlan:
    """The set as it is, and as many augmented pictures as each category lacks.

    `target` good training pictures a category; `defects`: so many defective ones, too, masks
    moved with them. Raises AnomalystError if a category has more already, no plan, or too few
    pictures for so many different ones.
    """
    jobs, balance = list[AugmentJob](), []
    for name in originals.categories:
        category, plan = Category(originals, name, seed), plans.of(name)
        good, bad = category.good(), category.bad
        jobs += _more(category, good, target, plan)
        if defects is not None and bad:
            jobs += _more(category, bad, defects, plan)
        after = len(bad) if defects is None or not bad else defects
        balance.append((name, len(good), target, len(bad), after))
    settings = {"method": "augment", "target": target, "defects": defects, "seed": seed}
    return originals.plan(f", augmented to {target}", jobs, balance, settings)


def _more(
    category: Category, pictures: Sequence[Measured], target: int, plan: Plan
) -> list[AugmentJob]:
    """Jobs for the pictures that are lacking: every original in turn, in an order drawn by seed."""
    name = category.name
    what = "good training" if not pictures or pictures[0].sample.label == "normal" else "defective"
    if not pictures:
        raise AnomalystError(f"{name}: has no {what} pictures to augment.")
    if target < len(pictures):
        raise AnomalystError(
            f"{name}: has {len(pictures)} {what} pictures, the target is {target}; augmenting "
            f"only adds. Ask for {len(pictures)} or more."
        )
    order = [pictures[i] for i in category.rng.permutation(len(pictures))]
    seen, jobs = set[tuple[Path, Effect]](), []
    for index in range(target - len(pictures)):
        one = order[index % len(order)]
        steps = _new_steps(plan, one, category.rng, seen)
        if steps is None:
            raise AnomalystError(
                f"{name}: its plan has no {target} different pictures in it; add an operation with "
                "a range (rotate, brightness), or ask for fewer."
            )
        _refuse_swapped_sides(steps, one, name)
        sample = one.sample
        file = category.new_file(f"{sample.image.stem}_aug{index:04d}.png", sample)
        row = category.row(file, sample, method="augment", seed=(category.seed,)) | {
            "description": ", ".join(_said(*step) for step in steps),
            "parameters": json.dumps({"steps": steps, "fill": plan.fill}),
        }
        jobs.append(AugmentJob(name, file, sample.image, sample.mask, steps, plan.fill, row))
    return jobs


def _new_steps(
    plan: Plan, one: Measured, rng: np.random.Generator, seen: set[tuple[Path, Effect]]
) -> tuple[Step, ...] | None:
    """Steps whose picture is not there yet: the same picture twice would count double."""
    for _ in range(REDRAWN):
        steps = draw_steps(plan, rng)
        effect = _effect(steps)
        if effect != _effect(()) and (one.sample.image, effect) not in seen:
            seen.add((one.sample.image, effect))
            return steps
    return None


def _effect(steps: Sequence[Step]) -> Effect:
    """What steps come to: a half turn is both flips, and two half turns are nothing."""
    moves = ("rotate_right", "flip_horizontal", "flip_vertical")
    probe = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    moved = augmented(probe, None, [step for step in steps if step[0] in moves])[0]
    return moved.tobytes(), tuple(step for step in steps if step[0] not in moves)


def _refuse_swapped_sides(steps: Sequence[Step], one: Measured, category: str) -> None:
    turn = sum(value for name, value in steps if name == "rotate_right")
    assert one.size_hw is not None
    height, width = one.size_hw
    if turn % 180 and height != width:
        raise AnomalystError(
            f"{category}: a right angle would turn its {width}x{height} pictures into "
            f"{height}x{width}; leave only 180 among the angles of rotate_right."
        )


def _said(name: str, value: float) -> str:
    words = name.replace("_", " ")
    return words if name.startswith("flip") else f"{words} {value:g}"
