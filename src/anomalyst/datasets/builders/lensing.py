"""A labelled set of lensing pictures: a folder per class, numbers that do not tell the class.

OUT/train/CLASS/000123.png   OUT/test/CLASS/000007.png
OUT/record.jsonl             a line per picture: what was drawn, in the pictures' order
OUT/preview.png              some of each class to look at
OUT/made.json                what is made here; another making is refused
OUT/.rows.jsonl              a line per finished picture, until record.jsonl is written
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from anomalyst.datasets.builders.build_job import Key, Row, begin, make_rows
from anomalyst.datasets.builders.dealing import dealt
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
        told = {"file": f"{self.category}/{self.file}", "seed": self.key[0], **drawn.truth}
        return {"file": self.file, "truth": json.dumps(told)}


def plan_lensing(wanted: LensingSet, config: LensingConfig) -> list[LensingJob]:
    """A job per picture."""
    rng = np.random.default_rng((wanted.seed, wanted.count, wanted.classes))
    parts = {"test": wanted.num_test, "train": wanted.count - wanted.num_test}
    jobs = []
    for number, (part, which) in enumerate(dealt(rng, parts, wanted.classes)):
        kind = wanted.kinds[which]
        name = f"{number:06d}.png"
        jobs.append(LensingJob(f"{part}/{kind}", name, kind, (wanted.seed, number), config))
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
    made = make_rows(out, jobs, _recorded(out), workers=workers, on_picture=on_picture)
    for fault in made.faults:
        raise AnomalystError(fault.reason)
    lines = [made.rows[job.category, job.file]["truth"] + "\n" for job in jobs]
    write_text(out / "record.jsonl", "".join(lines))
    write_bytes(out / "preview.png", encoded(preview(wanted.kinds, wanted.seed, config)))
    made.journal.unlink()
    return made.made_now


def _recorded(out: Path) -> dict[Key, Row]:
    """The rows of a set that was finished before."""
    path = out / "record.jsonl"
    rows: dict[Key, Row] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        category, file = json.loads(line)["file"].rsplit("/", 1)
        rows[category, file] = {"file": file, "truth": line}
    return rows
