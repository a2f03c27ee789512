"""A small installation that is made anew for each kill, over a model that is read once."""

import hashlib
import json
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import torch

from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.product import Product
from anomalyst.server.config import ServingConfig
from anomalyst.server.corrections import Corrections
from anomalyst.server.demonstration import DEMO
from anomalyst.server.jobs.queue import ProcessQueue, work
from anomalyst.server.jobs.worker import Model
from anomalyst.server.records.turns import LOCKS
from anomalyst.server.records.versions import VERSIONS
from anomalyst.server.service import Service
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.jobs import jobs
from anomalyst.types import Inspection

PRODUCT = "flange"
PICTURE_PX = 96  # the drawn pictures are made so small
SIDE_PX = 64  # at which they are looked at
SETTLING_S = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Folders, small pictures and a model in memory."""

    folder: Path  # `begun` is copied to `now` before each kill
    model: Model  # of `now`
    good: list[Path]
    new: list[Path]

    @property
    def config(self) -> ServingConfig:
        """Of the installation that is worked on."""
        return config_in(self.now)

    @property
    def now(self) -> Path:
        """The installation that is worked on."""
        return self.folder / "now"

    def begin(self) -> None:
        """Make the installation what it was in the beginning."""
        shutil.rmtree(self.now, ignore_errors=True)
        shutil.copytree(self.folder / "begun", self.now)

    def keep_as_beginning(self) -> None:
        """What is there now is what every kill begins with."""
        shutil.rmtree(self.folder / "begun", ignore_errors=True)
        self.now.rename(self.folder / "begun")

    @contextmanager
    def served(self) -> Iterator[Corrections]:
        """The service and its model process, without HTTP; closed as a server is."""
        service = self.open()
        try:
            yield Corrections(service)
        finally:
            service.close()

    def open(self) -> Service:
        """The service; its model process is a fork that has the model already."""
        queue = ProcessQueue(self.config, starter=self._forked)
        queue.start()  # before there is a thread
        return Service(self.config, queue)

    def settle(self, corrections: Corrections) -> None:
        """What a start does, until nothing waits any more."""
        service = corrections.service
        service.resume()
        corrections.resume()
        until = time.monotonic() + SETTLING_S
        waiting = Filter(state="queued")
        while service.store.count(waiting) or jobs(service.store, active=True):
            if time.monotonic() > until:
                raise AssertionError(f"{service.store.count(waiting)} inspections wait for ever")
            time.sleep(0.01)

    def judged(self, folder: Path) -> str:
        """What the product in a folder makes of a picture, to the last bit."""
        found = self.model.inspector.inspect(self.new[0], Product.load(folder))
        return told(found)

    def judged_now(self) -> str:
        """The same of the product that serves."""
        return self.judged(self.config.products / PRODUCT)

    def _forked(
        self, config: ServingConfig, ours: Connection, theirs: Connection, _: bool
    ) -> BaseProcess:
        def do() -> None:
            ours.close()  # or it would never hear that the server closed
            work(config, theirs, self.model)

        process = multiprocessing.get_context("fork").Process(target=do, daemon=True)
        process.start()
        return process


def told(found: Inspection) -> str:
    """An inspection as a digest."""
    said = found.as_dict()
    for varies in ("image", "seconds"):
        said.pop(varies, None)
    words = json.dumps(said, sort_keys=True, default=str)
    return hashlib.sha256(words.encode() + found.map.tobytes()).hexdigest()[:16]


def config_in(folder: Path) -> ServingConfig:
    """An installation in one folder."""
    return ServingConfig(home=folder / "home", products=folder / "products")


def make_workplace(folder: Path) -> Workplace:
    """Small pictures and the model, on one thread: a fork has no others, and must need none."""
    import alembic.command  # noqa: F401  here, so that no fork has to

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    folder = folder.resolve()
    good = _small(sorted((DEMO / PRODUCT / "good").glob("*.jpg"))[:3], folder / "pictures")
    new = _small(sorted((DEMO / PRODUCT / "test").glob("*.jpg"))[:4], folder / "pictures")
    inspector = Inspector.load("embedded", InspectorConfig(side_px=SIDE_PX, engine="torch"))
    model = Model(config_in(folder / "now"), inspector)
    return Workplace(folder=folder, model=model, good=good, new=new)


def checked_files(folder: Path) -> list[str]:
    """Names of kept pictures that do not hold what their names say."""
    wrong = []
    for path in (folder / "pictures").glob("??/*"):
        if hashlib.sha256(path.read_bytes()).hexdigest() != path.stem:
            wrong.append(path.name)
    return wrong


def hidden_below(folder: Path) -> list[str]:
    """Files and folders that a kill left half-written.

    Those that begin with a dot, but for versions
    and locks, which stay.
    """
    found: list[str] = []
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            if name.startswith(".") and name not in (VERSIONS, LOCKS):
                found.append(str((Path(place) / name).relative_to(folder)))
        folders[:] = [name for name in folders if not name.startswith(".") or name == VERSIONS]
    return sorted(found)


def _small(paths: list[Path], folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for path in paths:
        picture = cv2.resize(
            cv2.imread(str(path)), (PICTURE_PX, PICTURE_PX), interpolation=cv2.INTER_AREA
        )
        made.append(folder / f"{path.stem}.png")
        cv2.imwrite(str(made[-1]), picture)
    return made
