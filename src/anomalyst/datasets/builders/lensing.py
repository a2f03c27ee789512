"""A labelled set of lensing pictures: a folder per class, numbers that do not tell the class.

OUT/train/CLASS/000123.png   OUT/test/CLASS/000007.png
OUT/record.jsonl             a line per picture: what was drawn, in the pictures' order
OUT/preview.png              some of each class to look at
OUT/made.json                what is made here; another making is refused
OUT/.rows.jsonl              a line per finished picture, until record.jsonl is written
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.datasets.builders.build_job import Row, begin, make
from anomalyst.datasets.findings import Fault
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_bytes, write_text
from anomalyst.io.pictures import encoded
from anomalyst.synthetic.lensing.picture import draw_picture
from anomalyst.synthetic.lensing.preview import preview
from anomalyst.synthetic.lensing.scene import KINDS, LensingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LensingSet:
    """How large the set is; classes are equally many, in train and in test, give or take one."""

    count: int = 10_000
    classes: int = 3  # 2: none and spherical; 3: vortex, too
    test_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes not in (2, 3):
            raise AnomalystError(
                f"--classes is {self.classes}; 2 are none and spherical, 3 are vortex, too."
            )
        if not 0 < self.test_share < 1:
            raise AnomalystError(
                f"--test-share is {self.test_share}; a share between 0 and 1 is needed."
            )
        if min(self.num_test, self.count - self.num_test) < self.classes:
            raise AnomalystError(
                f"--count is {self.count}, {self.num_test} of them to test; at least one picture "
                f"of each of {self.classes} classes is needed in train and in test."
            )
        if self.seed < 0:
            raise AnomalystError(f"--seed is {self.seed}; 0 or more is needed.")

    @property
    def num_test(self) -> int:
        """Pictures to test with."""
        return round(self.count * self.test_share)

    @property
    def kinds(self) -> Sequence[str]:
        """The names of the classes."""
        return KINDS[: self.classes]


@dataclass(frozen=True, slots=True)
class LensingJob:
    """One picture; `category` is its folder, as train/none."""

    category: str
    file: str
    kind: str
    key: tuple[int, int]
    config: LensingConfig

    def make(self, folder: Path) -> Row:
        """Draw it, write it, tell the truth about it."""
        drawn = draw_picture(self.kind, self.key, self.config)
        write_bytes(folder / self.file, encoded(drawn.pixels))
        return {"file": f"{self.category}/{self.file}", "truth": json.dumps(drawn.truth)}


def plan_lensing(wanted: LensingSet, config: LensingConfig) -> list[LensingJob]:
    """A job per picture. Classes are dealt by chance: no order of numbers tells them."""
    rng = np.random.default_rng((wanted.seed, wanted.count, wanted.classes))
    parts = np.array(["test"] * wanted.num_test + ["train"] * (wanted.count - wanted.num_test))
    kinds = np.concatenate([np.arange((parts == part).sum()) for part in ("test", "train")])
    order = rng.permutation(wanted.count)
    jobs = []
    for number, at in enumerate(order):
        kind = wanted.kinds[kinds[at] % wanted.classes]
        name = f"{number:06d}.png"
        jobs.append(LensingJob(f"{parts[at]}/{kind}", name, kind, (wanted.seed, number), config))
    return jobs


def write_lensing(
    out: Path,
    wanted: LensingSet,
    config: LensingConfig,
    *,
    workers: int | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> int:
    """Fill `out`, or go on with it; the number of pictures made now.

    The same set and config give the same bytes, on any number of processes and after any
    interruption. Raises AnomalystError if `out` holds something else, or cannot be written.
    """
    jobs = plan_lensing(wanted, config)
    begin(out, jobs, {"set": asdict(wanted), "config": asdict(config)})
    done = _finished(out)
    todo = [job for job in jobs if f"{job.category}/{job.file}" not in done]
    for _ in range(len(jobs) - len(todo)):
        on_picture()
    journal = out / ".rows.jsonl"
    with journal.open("a", encoding="utf-8") as lines:
        for job, row in make(out, todo, workers):
            if isinstance(row, Fault):
                raise AnomalystError(f"{job.category}/{job.file}: {row.reason}")
            truth = {"file": row["file"], "seed": wanted.seed, **json.loads(row["truth"])}
            done[row["file"]] = truth
            lines.write(json.dumps(truth) + "\n")
            lines.flush()
            on_picture()
    ordered = [done[f"{job.category}/{job.file}"] for job in jobs]
    write_text(out / "record.jsonl", "".join(json.dumps(truth) + "\n" for truth in ordered))
    write_bytes(out / "preview.png", encoded(preview(wanted.kinds, wanted.seed, config)))
    journal.unlink()
    return len(todo)


def _finished(out: Path) -> dict[str, dict[str, Any]]:
    """What is told of pictures that are there."""
    done = {}
    for truth in (*_lines(out / "record.jsonl"), *_lines(out / ".rows.jsonl")):
        if (out / truth["file"]).is_file():
            done[truth["file"]] = truth
    return done


def _lines(path: Path) -> Iterable[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            yield json.loads(line)
        except ValueError:  # the line that an interruption cut
            continue
