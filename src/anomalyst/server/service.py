"""Every action of the workbench, once: REST, pages and watch all come here."""

import hashlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as WaitedTooLong
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from anomalyst.calibration.conformal import Calibration, checked_rate
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.product_index import check_name, product_folder, product_names
from anomalyst.server.auth import Tickets
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import Busy, Conflict, NotFound, TooLarge
from anomalyst.server.jobs.queue import JobQueue, ProcessQueue
from anomalyst.server.jobs.tasks import Ask, Inspect, Resemble, Task, Teach
from anomalyst.server.metrics import Metrics
from anomalyst.server.records import products
from anomalyst.server.records.figures import drift_test, statistics
from anomalyst.server.storage.database import open_database
from anomalyst.server.storage.pictures import Pictures
from anomalyst.server.storage.store import Asked, Filter, Store
from anomalyst.server.storage.tables import DeliveryRow, InspectionRow, TurnRow
from anomalyst.vlm.dialogue import checked_question

log = logging.getLogger(__name__)
Say = Callable[[str], None]
Done = Callable[[InspectionRow], None]
WAIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A picture that was taken in, and what its sender calls it."""

    picture: str
    name: str


class Service:
    """Products, inspections and dialogues over one store and one queue."""

    def __init__(
        self,
        config: ServingConfig,
        queue: JobQueue | None = None,
        *,
        owner: str = "server",
        sinks: Sequence[str] = (),
    ):
        self.config = config
        self.owner, self.sinks = owner, tuple(sinks)
        self.metrics = Metrics()
        self.pictures = Pictures(config.home / "pictures")
        self.store = Store(open_database(config.database_url), self.pictures)
        self.queue = queue or ProcessQueue(config, self.metrics.batch)
        self.tickets = Tickets()
        self.closing = False
        self._flying: dict[str, Future[InspectionRow]] = {}
        self._flying_lock = threading.Lock()
        # One writer: results are written down in the order they come, beside the model's work.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._drift: dict[str, Any] = {}

    def start(self) -> None:
        """Begin to read the model."""
        self.queue.start()

    def resume(self, on_done: Done = lambda _: None) -> int:
        """Take up what an earlier server acknowledged and did not finish; returns how many."""
        wanted, count, before = Filter(state="queued", owner=self.owner), 0, None
        while rows := self.store.history(wanted, before=before, limit=500):
            for row in rows:
                self._start(row, on_done)
            count, before = count + len(rows), rows[-1].id
        return count

    def close(self, seconds: float = 30.0) -> None:
        """Finish the batch in hand and write it down; the rest waits in the store."""
        self.closing = True
        self.queue.close(seconds)
        self._writer.shutdown(wait=True)
        self.store.engine.dispose()

    # Products

    def teach(
        self,
        name: str,
        sent: Sequence[Sent],
        *,
        by: str,
        new: bool = False,
        pose: str = "auto",
        describe: str | None = None,
        say: Say = lambda _: None,
    ) -> dict[str, Any]:
        """Teach a product from good pictures, or add them to one that is known."""
        check_name(name)
        known = name in self.product_names()
        if new and known:
            raise Conflict(f"there is a product {name!r} already; add references to it instead.")
        if not known and not sent:
            raise AnomalystError(f"product {name!r}: at least one good picture is needed.")
        if pose not in ("auto", "fixed", "free"):
            raise AnomalystError(f"pose {pose!r} is none of auto, fixed, free.")
        good = tuple((self.pictures.path(one.picture), one.name) for one in sent)
        task = Teach(product=name, good=good, pose=pose, describe=describe)  # type: ignore[arg-type]
        self.done(task, say, {str(path): shown for path, shown in good})
        kind = "taught" if not known else "extended" if sent else "described"
        self.store.note(name, kind, by, pictures=[one.name for one in sent], describe=describe)
        return self.product(name)

    def product(self, name: str) -> dict[str, Any]:
        """What is known of a product. Raises UnknownProduct with the nearest names."""
        found = products.summary(name, self.config.products)
        return found | {"false_alarm_rate": self.store.false_alarm_rate(name)}

    def product_names(self) -> list[str]:
        """The products taught."""
        return product_names(self.config.products)

    def products(self) -> list[dict[str, Any]]:
        """All products, with what is known of them."""
        return products.summaries(self.config.products)

    def reference(self, name: str, number: int) -> Path:
        """A good picture of a product, from 1. Raises NotFound."""
        paths = products.reference_paths(name, self.config.products)
        if not 1 <= number <= len(paths):
            raise NotFound(f"product {name!r} has {len(paths)} good pictures, numbered from 1.")
        return paths[number - 1]

    def set_false_alarm_rate(self, name: str, rate: float, by: str) -> dict[str, Any]:
        """The share of good parts that may be called anomalous, from now on."""
        product_folder(name, self.config.products)
        self.store.set_false_alarm_rate(name, checked_rate(rate))
        self.store.note(name, "described", by, false_alarm_rate=rate)
        self._drift.pop(name, None)
        return self.product(name)

    def bring_in(self, packed: Path, name: str | None, by: str) -> dict[str, Any]:
        """Take in a product that was exported."""
        own = products.unpack(packed, self.config.products, name)
        self.store.note(own, "imported", by)
        return self.product(own)

    def delete_product(self, name: str, by: str) -> None:
        """Delete a product; its inspections stay in the history."""
        products.delete(name, self.config.products)
        self.store.forget_settings(name)
        self.store.note(name, "deleted", by)

    def statistics(self, name: str) -> dict[str, Any]:
        """Counts, recent scores and drift of a product."""
        return statistics(self.store, self.product(name))

    # Inspections

    def take(self, stream: IO[bytes], name: str | None) -> Sent:
        """Keep a picture that somebody sent. Raises PictureError if it is none."""
        shown = shown_name(name)
        return Sent(picture=self.pictures.take(stream, shown), name=shown)

    def take_file(self, path: Path) -> Sent:
        """The same with a file of this machine, by its name."""
        with path.open("rb") as stream:
            return self.take(stream, path.name)

    def acknowledge(
        self,
        sent: Sequence[Sent],
        product: str,
        *,
        by: str,
        source: str,
        question: str | None = None,
        key: str | None = None,
        on_done: Done = lambda _: None,
    ) -> list[str]:
        """Take pictures in to be inspected; they are not lost from here on. Returns their ids.

        With an idempotency key that was used before: the ids of what that request made.
        """
        self._product_there(product)
        if not sent:
            raise AnomalystError("no picture was sent; send at least one.")
        if len(sent) > self.config.limits.batch:
            raise TooLarge(
                f"{len(sent)} pictures at once; the limit is {self.config.limits.batch}."
            )
        if self.queue.waiting + len(sent) > self.config.limits.queued:
            raise Busy(f"{self.queue.waiting} inspections wait already; come back in a minute.")
        asked = checked_question(question) if question is not None else None
        rate = self.store.false_alarm_rate(product)
        rows = [
            InspectionRow(
                product=product,
                picture=one.picture,
                name=one.name,
                source=source,
                by=by,
                owner=self.owner,
                question=asked,
                false_alarm_rate=rate,
                state="queued",
            )
            for one in sent
        ]
        print_of = _fingerprint(product, asked, [one.picture for one in sent])
        request = Asked(by=by, key=key, fingerprint=print_of) if key is not None else None
        ids = self.store.acknowledge(rows, request)
        for row in self.store.inspections(ids):
            if row.state == "queued":
                self._start(row, on_done)
        return ids

    @property
    def under_way(self) -> int:
        """Inspections acknowledged here and not written down yet."""
        return len(self._flying)

    def wait(self, id: str, seconds: float = WAIT_SECONDS) -> InspectionRow:
        """An inspection, once it is done or cannot be; as it is after so many seconds."""
        with self._flying_lock:
            flying = self._flying.get(id)
        if flying is not None:
            try:
                return flying.result(seconds)
            except WaitedTooLong:
                log.info("still waiting", extra={"inspection": id})
        return self.store.inspection(id)

    def ask(self, id: str, question: str, *, by: str, say: Say = lambda _: None) -> TurnRow:
        """A question about an inspection; the turn is kept. `say` hears each sentence."""
        row = self.done_row(id)
        turns = tuple((turn.question, turn.answer) for turn in self.store.turns(id))
        task = Ask(
            question=checked_question(question),
            record=row.record or {},
            heat=self.pictures.existing(str(row.heat)),
            shown=self.pictures.existing(str(row.shown)),
            turns=turns,
        )
        answer = self.done(task, say)
        return self.store.add_turn(id, task.question, answer, by)

    def hear(self, id: str, question: str, *, by: str) -> Iterator[str | TurnRow]:
        """`ask`, sentence by sentence as they come; then the turn that is kept."""
        said: queue.Queue[str | None] = queue.Queue()
        aside = ThreadPoolExecutor(1, thread_name_prefix="asking")
        asking = aside.submit(self.ask, id, question, by=by, say=said.put)
        asking.add_done_callback(lambda _: said.put(None))
        while (sentence := said.get()) is not None:
            yield sentence
        aside.shutdown(wait=False)
        yield asking.result()

    def resemblance(self, id: str, box: tuple[int, int, int, int]) -> dict[str, Any]:
        """The place of a good picture that a box of an inspected picture looks like."""
        row = self.done_row(id)
        image = self.pictures.existing(row.picture)
        return self.done(Resemble(product=row.product, image=image, box=box))

    def done_row(self, id: str) -> InspectionRow:
        """An inspection that is done. Raises NotFound, or Conflict for one that is not."""
        row = self.store.inspection(id)
        if row.state != "done":
            raise Conflict(f"inspection {id} is {row.state}; only one that is done can be used.")
        return row

    def _product_there(self, name: str) -> None:
        """UnknownProduct if it is not; while it is saved it is away for an instant."""
        try:
            product_folder(name, self.config.products)
        except AnomalystError:
            time.sleep(0.1)
            product_folder(name, self.config.products)

    def done(
        self, task: Task, say: Say = lambda _: None, names: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """A task's result; pictures in its errors are called as their senders call them."""
        try:
            return self.queue.submit(task, say).result(WAIT_SECONDS)
        except CancelledError:
            raise Busy("the server is closing; ask again when it is back.") from None
        except PictureError as error:
            raise PictureError(
                (names or {}).get(str(error.path), "the picture"), error.reason
            ) from None

    def _start(self, row: InspectionRow, on_done: Done = lambda _: None) -> None:
        finished: Future[InspectionRow] = Future()
        with self._flying_lock:
            if row.id in self._flying:
                return
            self._flying[row.id] = finished
        task = Inspect(
            image=self.pictures.path(row.picture),
            product=row.product,
            false_alarm_rate=row.false_alarm_rate,
            question=row.question,
        )
        try:
            doing = self.queue.submit(task)
        except AnomalystError:
            with self._flying_lock:
                del self._flying[row.id]
            raise
        doing.add_done_callback(
            lambda result: self._writer.submit(self._finish, row, result, finished, on_done)
        )

    def _finish(
        self,
        row: InspectionRow,
        result: "Future[dict[str, Any]]",
        finished: "Future[InspectionRow]",
        on_done: Done,
    ) -> None:
        """Write a result down, then tell who waits for it."""
        try:
            if not result.cancelled():  # else the server is closing: it stays queued
                row = self._written(row, result)
                on_done(row)
            finished.set_result(row)
        except Exception as error:
            log.exception("a result could not be written", extra={"inspection": row.id})
            finished.set_exception(error)
        finally:
            with self._flying_lock:
                self._flying.pop(row.id, None)

    def _written(self, row: InspectionRow, result: "Future[dict[str, Any]]") -> InspectionRow:
        error = result.exception()
        if error is not None:
            reason = error.reason if isinstance(error, PictureError) else str(error)
            if not isinstance(error, AnomalystError):
                log.error("an inspection failed: %s", reason, extra={"inspection": row.id})
                reason = "our fault; it is in the server's log."
            self.metrics.failures.inc()
            told = self._deliveries(row, {"problem": reason})
            return self.store.finish(row.id, beside=told, state="failed", problem=reason)
        found = result.result()
        record = found["record"] | {"image": row.name}
        verdict = record["verdict"]
        self.metrics.inspections.labels(row.product, verdict, row.source).inc()
        self.metrics.seconds.observe(time.time() - row.created_at.timestamp())
        alarm = self._drifted(row.product, found["revision"], record)
        beside: list[TurnRow | DeliveryRow] = [*self._deliveries(row, record, alarm)]
        if record.get("words") is not None:
            said = {"question": str(row.question), "answer": record["words"], "by": row.by}
            beside.append(TurnRow(inspection=row.id, **said))
        return self.store.finish(
            row.id,
            beside=beside,
            state="done",
            verdict=verdict,
            score=record["score"],
            p_value=record["p_value"],
            uncertainty=1.0 if verdict == "unsure" else 2 * (1 - record["confidence"]),
            record=record,
            heat=found["heat"],
            shown=found["shown"],
            revision=found["revision"],
            alarm=alarm,
        )

    def _deliveries(
        self, row: InspectionRow, record: dict[str, Any], alarm: str | None = None
    ) -> list[DeliveryRow]:
        """A message for each sink about an inspection."""
        told = ("verdict", "score", "p_value", "confidence", "guaranteed", "answer", "regions")
        payload = {
            "id": row.id,
            "product": row.product,
            "picture": row.name,
            "taken_at": row.created_at.isoformat(),
            **{name: record.get(name) for name in told},
            "problem": record.get("problem"),
            "drift_alarm": alarm,
        }
        return [DeliveryRow(sink=sink, payload=payload) for sink in self.sinks]

    def _drifted(self, product: str, revision: str, record: dict[str, Any]) -> str | None:
        """A sentence when the scores of accepted parts have just been seen to change."""
        if record["verdict"] != "normal":
            return None
        known = self._drift.get(product)
        if known is None or known[0] != revision:
            summary = products.summary(product, self.config.products)
            calibration = Calibration.from_dict(summary["calibration"])
            rate = self.store.false_alarm_rate(product)
            known = self._drift[product] = (revision, drift_test(calibration, rate))
        test = known[1]
        before = test.alarm
        self.metrics.drift.labels(product).set(test.see(record["score"]))
        if before or not test.alarm:
            return None
        text = (
            f"scores of accepted parts of {product!r} have changed (evidence {test.strength:.0f} "
            "to 1); look at light, camera and parts, or teach pictures of how it is now."
        )
        self.store.note(product, "drift", "anomalyst", text=text)
        log.warning(text, extra={"product": product})
        return text


def shown_name(name: str | None) -> str:
    """What a sender calls a picture: its last part, in letters that can be shown."""
    last = (name or "picture").replace("\\", "/").rstrip("/").rpartition("/")[2]
    clean = "".join(c for c in last if c.isprintable()).strip()
    return clean.encode("utf-8", "replace").decode()[:200] or "picture"


def _fingerprint(*asked: Any) -> str:
    return hashlib.sha256(repr(asked).encode()).hexdigest()
