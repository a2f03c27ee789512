"""A set filled with pictures: each made by a job of its own, in parallel, and gone on with later.

    OUT/made.json                what is made here; another making is refused
    OUT/.rows.jsonl              a line per finished picture, until index.csv is written
    OUT/CATEGORY/...             pictures and masks in MVTec-AD layout
    OUT/CATEGORY/index.csv       one row per picture: where it comes from, how it was made

A job depends on nothing but itself, so the result is the same in any order, on any number of
cores, and after any interruption.
"""

import csv
import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import Protocol

import cv2
import numpy as np

from anomalyst.datasets.findings import Fault
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.io.files import write_bytes, write_csv, write_text
from anomalyst.io.pictures import encoded, open_mask, open_picture
from anomalyst.synthetic.anomalies.methods import Made
from anomalyst.types import Sample
from anomalyst.version import __version__

Row = Mapping[str, str]  # a column of index.csv -> its cell; `file` and `mask` as `Job.files`
Key = tuple[str, str]  # category, file
FEW = 64  # so many pictures are made before other processes have started


class Job(Protocol):
    """One picture to be made; sent to other processes, so of plain values."""

    @property
    def category(self) -> str:
        """Where it belongs."""

    @property
    def file(self) -> str:
        """The picture, relative to its category."""

    def make(self, folder: Path) -> Row:
        """Write the picture, its mask before it, below the category's folder; its row.

        Raises PictureError where this one picture cannot be made; any other error ends the making.
        """


@dataclass(frozen=True, slots=True)
class Copy:
    """A job: a picture and its mask, byte for byte; a mask in several files becomes one."""

    category: str
    file: str
    image: Path
    mask: Path | None
    row: Row

    @classmethod
    def of(cls, category: str, file: str, sample: Sample, columns: Row) -> "Copy":
        """Of a sample and its mask; `columns`: what else its row says."""
        row = {"file": file}
        if sample.mask is not None:
            suffix = ".png" if sample.mask.is_dir() else sample.mask.suffix.lower()
            row["mask"] = mask_name(file).removesuffix(".png") + suffix
        return cls(category, file, sample.image, sample.mask, {**row, **columns})

    def make(self, folder: Path) -> Row:
        """Copy both; the mask keeps its own suffix."""
        if self.mask is not None and self.mask.is_dir():
            picture = open_picture(self.image)
            mask = open_mask(self.mask, (picture.shape[0], picture.shape[1]))
            write_bytes(folder / self.row["mask"], encoded(mask))
        elif self.mask is not None:
            write_bytes(folder / self.row["mask"], self.mask.read_bytes())
        write_bytes(folder / self.file, self.image.read_bytes())
        return self.row


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What a making led to."""

    rows: Mapping[str, Sequence[Row]]  # category -> a row per picture, in the jobs' order
    faults: Sequence[Fault]
    made_now: int  # pictures made by this call; the others were there


@dataclass(frozen=True, slots=True)
class MadeRows:
    """The rows of a making, and the file that holds them until they are written elsewhere."""

    rows: Mapping[Key, Row]
    faults: Sequence[Fault]
    made_now: int
    journal: Path


def fill(
    out: Path,
    jobs: Sequence[Job],
    settings: Mapping[str, object],
    *,
    workers: int | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> Filled:
    """Do the jobs that are not done yet and write every index.csv.

    `settings` say what is made: a folder begun with others is refused. `workers` are processes,
    one per core if None. A picture that cannot be made is a fault, and the making goes on. Raises
    AnomalystError if `out` holds something else, cannot be written, or the disk is full; what was
    made until then is kept, and the same call goes on.
    """
    begin(out, jobs, settings)
    made = make_rows(out, jobs, _indexed(out, jobs), workers=workers, on_picture=on_picture)
    rows: dict[str, list[Row]] = {}
    for job in jobs:
        if (job.category, job.file) in made.rows:
            rows.setdefault(job.category, []).append(made.rows[job.category, job.file])
    for category, of_category in rows.items():
        write_csv(out / category / "index.csv", of_category)
    made.journal.unlink()
    return Filled(rows=rows, faults=made.faults, made_now=made.made_now)


def make_rows(
    out: Path,
    jobs: Sequence[Job],
    before: Mapping[Key, Row],
    *,
    workers: int | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> MadeRows:
    """The rows of all jobs: of those in `before` or in the journal as they are, else made now.

    A row counts where its files are there. The journal stays, for the caller to delete once the
    rows are written where they belong.
    """
    journal = out / ".rows.jsonl"
    done = _there(out, {**before, **_journalled(journal)})
    todo = [job for job in jobs if (job.category, job.file) not in done]
    for _ in range(len(jobs) - len(todo)):
        on_picture()
    faults = []
    with journal.open("a", encoding="utf-8") as lines:
        for job, row in _made(out, todo, workers):
            if isinstance(row, Fault):
                faults.append(row)
            else:
                done[job.category, job.file] = row
                lines.write(json.dumps([job.category, row]) + "\n")
                lines.flush()
            on_picture()
    faults.sort(key=lambda fault: (fault.path, fault.reason))
    return MadeRows(done, faults, len(todo) - len(faults), journal)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """uint8 (H, W, 3), grey as one channel, or bool (H, W) as 0 and 255; whole, as PNG."""
    if picture.ndim == 3 and (picture[..., :1] == picture).all():
        picture = picture[..., 0]
    write_bytes(path, encoded(picture))


def write_made(folder: Path, row: Row, made: Made) -> Row:
    """The mask, then the picture; the row with the truth about them."""
    write_picture(folder / row["mask"], made.mask)
    write_picture(folder / row["file"], made.picture)
    return {
        **row,
        "description": made.description,
        "centres": json.dumps([[round(v, 1) for v in centre] for centre in made.centres_xy]),
        "parameters": json.dumps(made.parameters),
    }


def mask_name(file: str) -> str:
    """Where the mask of a picture lies: test/crack/007.png -> ground_truth/crack/007_mask.png."""
    path = Path(file)
    return f"ground_truth/{path.parent.name}/{path.stem}_mask.png"


def begin(out: Path, jobs: Sequence[Job], settings: Mapping[str, object]) -> None:
    """Take the folder, or find it taken by the same making."""
    digest = hashlib.sha256("\n".join(map(repr, jobs)).encode()).hexdigest()
    said = {**settings, "pictures": len(jobs), "digest": digest}
    note = {"anomalyst": __version__, **json.loads(json.dumps(said))}
    file = out / "made.json"
    if file.is_file():
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        for key in note:
            if before.get(key) != note[key]:
                about = {"digest": "other pictures", "anomalyst": "another version"}.get(key)
                raise AnomalystError(
                    f"{out}: holds a set made with {about or f'{key} = {before.get(key)!r}'}, "
                    f"{'now' if about else f'now it is {note[key]!r}'}; choose another folder with "
                    "--out, or delete this one."
                )
        return
    if out.is_file():
        raise AnomalystError(f"{out}: is a file; a folder is needed for the new set.")
    if out.exists() and any(out.iterdir()):
        raise AnomalystError(f"{out}: holds files already; choose an empty folder with --out.")
    write_text(file, json.dumps(note, indent=2) + "\n")


def _indexed(out: Path, jobs: Sequence[Job]) -> dict[Key, Row]:
    """The rows of a set that was finished before."""
    known: dict[Key, Row] = {}
    for category in dict.fromkeys(job.category for job in jobs):
        index = out / category / "index.csv"
        if index.is_file():
            with index.open(encoding="utf-8", newline="") as text:
                for row in csv.DictReader(text):
                    known[category, row["file"]] = {k: v for k, v in row.items() if v}
    return known


def _journalled(journal: Path) -> dict[Key, Row]:
    known: dict[Key, Row] = {}
    for line in journal.read_text(encoding="utf-8").splitlines() if journal.is_file() else []:
        try:
            category, row = json.loads(line)
        except ValueError:  # the line that an interruption cut
            continue
        known[category, row["file"]] = row
    return known


def _there(out: Path, known: Mapping[Key, Row]) -> dict[Key, Row]:
    """The rows of pictures that are there with their masks."""
    return {
        (category, file): row
        for (category, file), row in known.items()
        if all((out / category / name).is_file() for name in (file, row.get("mask")) if name)
    }


def _made(out: Path, jobs: Sequence[Job], workers: int | None) -> Iterator[tuple[Job, Row | Fault]]:
    """Copies here, as the disk is the slower part of them; the others in processes."""
    heavy = [job for job in jobs if not isinstance(job, Copy)]
    count = min(workers or os.cpu_count() or 1, len(heavy))
    alone = count <= 1 or len(heavy) <= FEW
    for job in jobs:
        if alone or isinstance(job, Copy):
            yield job, _make(job, out)
    if alone:
        return
    # Spawned, not forked: a fork of a process with busy threads may never wake up.
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin_worker)
    try:
        waiting = {pool.submit(_make, job, out): job for job in heavy}
        for one in as_completed(waiting):
            yield waiting[one], one.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker() -> None:
    """Processes share the cores already; one whose parent was killed ends, too.

    Ctrl-C reaches all of them: the parent ends them, and they print no traces of their own.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _make(job: Job, out: Path) -> Row | Fault:
    try:
        return job.make(out / job.category)
    except PictureError as error:
        return Fault(path=str(error.path), reason=f"{job.category}/{job.file}: {error.reason}")
