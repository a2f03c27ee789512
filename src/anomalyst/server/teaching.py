"""Teaching in the background, the versions of a product, and two of them beside each other."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspection.file_reading import AS_USUAL, FileReading
from anomalyst.product_index import check_name, product_folder, refuse_other_senses
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Busy, Conflict
from anomalyst.server.jobs.background import Background, Do
from anomalyst.server.jobs.queue import Stopped
from anomalyst.server.jobs.tasks import Compare, Inspect, Task, Teach
from anomalyst.server.received import ReceivedPicture
from anomalyst.server.records import products, versions
from anomalyst.server.records.drift import DriftAlarms
from anomalyst.server.records.judged import judgements
from anomalyst.server.records.turns import changing
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow, JobRow

Say = Callable[[str], None]
TEACH, COMPARE = "teach", "compare"  # kinds of jobs
POSES = ("auto", "fixed", "free")
COMPARED, COMPARED_MOST = 40, 200  # pictures


class Bench(Protocol):
    """What teaching needs of the service that it belongs to."""

    config: ServingConfig
    store: Store
    pictures: Pictures
    background: Background
    drift: DriftAlarms

    def product(self, name: str) -> dict[str, Any]:
        """What is known of a product."""

    def product_names(self) -> list[str]:
        """The products taught."""

    def senses(self, product: str) -> list[str]:
        """The senses a product was taught with."""

    def run_task(self, task: Task) -> dict[str, Any]:
        """A task's result."""


class Teaching:
    """Products learn from good parts while they, and all others, go on being inspected."""

    def __init__(self, service: Bench):
        self.service, self.store, self.config = service, service.store, service.config
        self.jobs = service.background
        self.jobs.handlers |= {TEACH: self._teach, COMPARE: self._compare}

    def start(
        self,
        name: str,
        sent: Sequence[ReceivedPicture],
        *,
        by: str,
        new: bool = False,
        pose: str = "auto",
        describe: str | None = None,
        reading: FileReading = AS_USUAL,
        say: Say = lambda _: None,
    ) -> JobRow:
        """Begin to teach a product, or to add good parts to one; the old one serves meanwhile.

        `reading`: how files of other senses are read. Raises Conflict for a new one that is known.
        """
        check_name(name)
        known = name in self.service.product_names()
        if new and (known or any(row.asked["new"] for row in self.jobs.active(name))):
            raise Conflict(f"there is a product {name!r} already; add references to it instead.")
        if not sent:
            raise AnomalystError(
                f"product {name!r}: at least one good picture, or file of another sense, is needed."
            )
        if pose not in POSES:
            raise AnomalystError(f"pose {pose!r} is none of {', '.join(POSES)}.")
        self._check_taught(name, sent, reading, known=known)
        parts = [
            {sense: [file.picture, file.name] for sense, file in one.files.items()} for one in sent
        ]
        asked = {
            "parts": parts, "pose": pose, "describe": describe, "reading": asdict(reading),
            "new": not known,
        }  # fmt: skip
        return self.jobs.start(TEACH, name, asked, by=by, say=say)

    def describe(self, name: str, words: str, *, by: str) -> None:
        """What to know of a product, in a person's words; done at once."""
        product_folder(name, self.config.products)
        self.service.run_task(Teach(product=name, good=(), describe=words))
        self.store.note(name, "described", by, describe=words)

    def versions(self, name: str) -> list[dict[str, Any]]:
        """The last versions of a product, the newest first."""
        return [one.as_dict() for one in versions.versions(name, self.config.products)]

    def bring_back(self, name: str, number: int, *, by: str) -> dict[str, Any]:
        """Make a product what it was; what it is now becomes a version. Raises NotFound.

        Raises Conflict while it is being taught.
        """
        self.jobs.refuse_while_active(name)
        with changing(name, self.config.products):
            versions.bring_back(name, self.config.products, number)
        self.store.note(name, "brought back", by, version=number)
        self.service.drift.forget(name)
        return self.service.product(name)

    def compare(
        self, name: str, before: int, after: int = 0, *, by: str, pictures: int = COMPARED
    ) -> JobRow:
        """Begin to judge recent pictures of the record with two versions; 0: the one that serves.

        Those that people judged come first. Raises Conflict where nothing was inspected.
        """
        if before == after:
            raise AnomalystError(f"version {before} is compared with itself; give two.")
        for number in (before, after):
            self._folder(name, number)
        if not self.store.count(Filter(product=name, state="done")):
            raise Conflict(f"product {name!r}: nothing was inspected yet to compare versions on.")
        count = max(1, min(pictures, COMPARED_MOST))
        asked = {"before": before, "after": after, "pictures": count}
        return self.jobs.start(COMPARE, name, asked, by=by)

    def _teach(self, row: JobRow, do: Do) -> dict[str, Any]:
        asked, pictures = row.asked, self.service.pictures
        good = tuple(
            {sense: (pictures.path(kept), called) for sense, (kept, called) in part.items()}
            for part in asked["parts"]
        )
        task = Teach(
            product=row.product,
            good=good,
            reading=FileReading(**asked["reading"]),
            pose=asked["pose"],
            describe=asked["describe"],
        )
        called = {str(path): name for part in good for path, name in part.values()}
        before = self._revision(row.product)
        try:
            do(task)
        except Stopped:
            if self._revision(row.product) == before:
                raise
            # It was written just before it was stopped.
        except PictureError as error:
            shown = called.get(str(error.path), "a picture")
            raise PictureError(shown, error.reason) from None
        kind = "taught" if asked["new"] else "extended"
        names = list(called.values())
        if not self._told(row):
            said = {"pictures": names, "describe": asked["describe"], "job": row.id}
            self.store.note(row.product, kind, row.by, **said)
        return {"product": row.product, "revision": self._revision(row.product)}

    def _told(self, row: JobRow) -> bool:
        """Whether a server that was killed before the job had ended wrote down what it did."""
        return any(one.detail.get("job") == row.id for one in self.store.changes(row.product))

    def _compare(self, row: JobRow, do: Do) -> dict[str, Any]:
        truth = self._judged(row.product)
        seen = self._recent(row.product, set(truth), row.asked["pictures"])
        rate = self.store.false_alarm_rate(row.product)
        pictures = self.service.pictures
        task = Compare(
            product=row.product,
            before=self._folder(row.product, row.asked["before"]),
            after=self._folder(row.product, row.asked["after"]),
            pictures=tuple(
                Inspect(
                    image=pictures.path(one.picture),
                    product=row.product,
                    false_alarm_rate=rate,
                    beside=tuple((s, pictures.path(f)) for s, f in (one.beside or {}).items()),
                )
                for one in seen
            ),
            names=tuple(one.name for one in seen),
            ids=tuple(one.id for one in seen),
            spoiled=tuple(truth.get(one.picture) for one in seen),
        )
        asked = row.asked
        return do(task) | {f"{side}_version": asked[side] for side in ("before", "after")}

    def _judged(self, name: str) -> dict[str, bool]:
        """Picture -> whether people call it spoiled."""
        found = judgements(self.store, name)
        both = ((found.spoiled, True), (found.fine, False))
        return {one.picture: spoiled for some, spoiled in both for one in some}

    def _recent(self, name: str, judged: set[str], count: int) -> list[InspectionRow]:
        """The newest inspections of a product, each picture once, those that were judged first."""
        found: dict[str, InspectionRow] = {}
        for row in self.store.history(Filter(product=name, state="done"), limit=500):
            if row.picture in self.service.pictures:
                found.setdefault(row.picture, row)
        first = sorted(found.values(), key=lambda row: row.picture not in judged)  # stable
        return first[:count]

    def _folder(self, name: str, number: int) -> Path:
        folder = product_folder(name, self.config.products)
        if number == 0:
            return folder
        return versions.version_folder(name, self.config.products, number)

    def _revision(self, name: str) -> str | None:
        """What tells this state of a product from another; None: it is not known."""
        if name not in self.service.product_names():
            return None
        return str(products.summary(name, self.config.products)["revision"])

    def _check_taught(
        self, product: str, sent: Sequence[ReceivedPicture], reading: FileReading, *, known: bool
    ) -> None:
        """Raise AnomalystError for good parts of other senses, or a reading that fits none."""
        wanted = self.service.senses(product) if known else list(sent[0].files)
        for one in sent:
            if known:
                refuse_other_senses(f"{one.name}: product {product!r}", wanted, list(one.files))
            elif set(one.files) != set(wanted):
                raise AnomalystError(
                    f"{one.name}: the part has {' and '.join(one.files)}, {sent[0].name} has "
                    f"{' and '.join(wanted)}; all good parts of a product have the same senses."
                )
        taught = products.senses_taught(product, self.config.products) if known else {}
        reading.senses(wanted, taught)


def ended(row: JobRow) -> dict[str, Any]:
    """The result of a job that was waited for. Raises AnomalystError for one that has none."""
    if row.state == "done":
        return row.result or {}
    if row.state == "failed":
        raise AnomalystError(str(row.problem))
    if row.state == "cancelled":
        raise Stopped(f"teaching {row.product!r} was cancelled; it is as it was.")
    raise Busy(f"{row.product!r} is taken up again when the server is back (job {row.id}).")
