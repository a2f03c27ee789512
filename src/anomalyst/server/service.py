"""Every action of the workbench, once: REST, pages and watch all come here."""

import hashlib
import queue
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from anomalyst.calibration.conformal import checked_rate
from anomalyst.errors import AnomalystError, PictureError
from anomalyst.product_index import (
    product_folder,
    product_names,
    product_senses,
    refuse_other_senses,
)
from anomalyst.server.auth import Tickets
from anomalyst.server.config import MB, ServingConfig
from anomalyst.server.errors import CLOSING, Busy, Conflict, NotFound, Stale, TooLarge
from anomalyst.server.jobs.background import Background
from anomalyst.server.jobs.in_flight import Done, InFlight
from anomalyst.server.jobs.lanes import Lanes
from anomalyst.server.jobs.queue import JobQueue
from anomalyst.server.jobs.tasks import (
    Ask,
    DecideOdd,
    LookBack,
    Resemble,
    SetAreas,
    SetMeasuring,
    Task,
    Transcribe,
)
from anomalyst.server.metrics import Metrics
from anomalyst.server.places import ServerPlace
from anomalyst.server.received import ReceivedPicture, shown_name, take
from anomalyst.server.records import measuring, packing, products
from anomalyst.server.records.areas import areas_of, checked_areas
from anomalyst.server.records.drift import DriftAlarms
from anomalyst.server.records.figures import statistics
from anomalyst.server.records.turns import changing
from anomalyst.server.sign_in.sessions import Sessions
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.left_behind import clear_left_behind
from anomalyst.server.storage.owed import Owed
from anomalyst.server.storage.store import IdempotentRequest, Store
from anomalyst.server.storage.tables import InspectionRow, TurnRow, now
from anomalyst.server.teaching import Teaching, ended
from anomalyst.server.telemetry import tracing
from anomalyst.vlm.dialogue import checked_question

if TYPE_CHECKING:
    import numpy as np

    from anomalyst.voice.transcriber import Transcript

Say = Callable[[str], None]
WAIT_SECONDS = 300.0
LOOK_SECONDS = 0.2  # between looks for what another server does
ORPHAN_SECONDS = 60.0  # then what nobody does is taken up: its acknowledgement was lost
LONG_SECONDS = 1800.0  # of what looks at all pictures of a product, perhaps behind a teaching


class Service:
    """Products, inspections and dialogues over one store and one queue."""

    def __init__(
        self,
        config: ServingConfig,
        queue: JobQueue | None = None,
        *,
        owner: str | None = None,
        sinks: Sequence[str] = (),
        line: str | None = None,
    ):
        """`owner`: who takes up what it leaves; None: one of the servers over this home."""
        self.config, self.line = config, line
        self.metrics = Metrics()
        self.store = Store.open(config)
        self.place: ServerPlace | None = None
        if owner is None:
            self.place = ServerPlace(config.home / "servers")
            owner = self.place.owner
        self.owner = owner
        self.pictures = self.store.pictures
        self.queue = queue or Lanes(config, self.metrics.batch)
        self.drift = DriftAlarms(self.store, config.products, self.metrics)
        self.tracing = tracing(config.otlp)
        self.in_flight = InFlight(
            self.store, self.queue, self.metrics, self.drift, sinks, self.tracing
        )
        self.owed = Owed()
        self.background = Background(self.store, self.queue, owner, self.tracing, self._is_gone)
        self.teaching = Teaching(self)
        self.tickets, self.sessions = Tickets(), Sessions()
        self.closing = False

    def resume(self, on_done: Done = lambda _: None) -> int:
        """Take up what an earlier server acknowledged and did not finish, in the order it came.

        Half-written files of killed servers are cleared away. Returns how many inspections and
        jobs are taken up.
        """
        self._take_over()
        clear_left_behind(self.config)
        wanted = Filter(state="queued", owner=self.owner)
        found = list(self.store.every_inspection(wanted))
        for row in reversed(found):
            self.in_flight.start(row, on_done)
        return len(found) + self.background.resume()

    def look_around(self) -> int:
        """Take up what a server that is gone left, and what an outage of the database left of ours.

        Returns how many inspections and jobs that are.
        """
        taken = self._take_over()
        late = now() - timedelta(seconds=0 if taken else ORPHAN_SECONDS)
        wanted = Filter(state="queued", owner=self.owner, until=late)
        ours = self.in_flight.ids()  # before the look: what is done meanwhile is not queued then
        found = [row for row in self.store.every_inspection(wanted) if row.id not in ours]
        for row in reversed(found):
            self.in_flight.start(row)
        return len(found) + (self.background.resume() if taken else 0)

    def _is_gone(self, owner: str) -> bool:
        """Whether a server that took something in is not there any more."""
        return self.place is None or self.place.is_gone(owner)

    def _take_over(self) -> int:
        """Make ours what servers left that are gone."""
        if self.place is None:
            return 0
        left = [one for one in self.store.waiting_owners() if self._is_gone(one)]
        return sum(self.store.take_over(one, self.owner) for one in left)

    def close(self, seconds: float = 30.0) -> None:
        """Finish the batch in hand and write it down; the rest, and what is taught, waits."""
        self.closing = True
        self.background.begin_closing()
        self.queue.close(seconds)
        self.background.close()
        self.in_flight.close()
        self.owed.close()
        self.tracing.close()
        self.store.engine.dispose()
        if self.place is not None:
            self.place.leave()

    # Products

    def teach(
        self,
        name: str,
        sent: Sequence[ReceivedPicture],
        *,
        say: Say = lambda _: None,
        **wanted: Any,
    ) -> dict[str, Any]:
        """Teach a product from good parts and wait for it; `wanted` as `Teaching.start` takes."""
        row = self.teaching.start(name, sent, say=say, **wanted)
        ended(self.background.wait(row.id))
        return self.product(name)

    def product(self, name: str) -> dict[str, Any]:
        """What is known of a product. Raises UnknownProduct with the nearest names."""
        found = products.summary(name, self.config.products)
        version = f"{self.store.version(name)}-{found['revision']}"
        return found | {
            "false_alarm_rate": self.store.false_alarm_rate(name), "version": version,
        }  # fmt: skip

    def claim(self, name: str, version: str) -> None:
        """Nobody has changed a product since this version. Raises Stale if somebody has."""
        now = str(self.product(name)["version"])
        number = version.partition("-")[0]
        if version != now or not self.store.claim(name, int(number)):
            raise Stale(
                f"product {name!r} was changed since you read it (version {version[:60]}, now "
                f"{now}); read it again, and then change it."
            )

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

    def odd_drawings(self, name: str) -> dict[int, "np.ndarray"]:
        """Good pictures that look odd and wait to be decided on, by number, drawn (records)."""
        return products.odd_drawings(name, self.config.products)

    def decide_odd(
        self,
        name: str,
        *,
        leave_out: Sequence[int] = (),
        keep: Sequence[int] = (),
        by: str,
        say: Say = lambda _: None,
    ) -> dict[str, Any]:
        """Leave good pictures out that look odd, or keep them; by their numbers, from 1.

        The product is learnt anew without those left out. Raises AnomalystError for a number that
        is no odd picture's, or is both left out and kept.
        """
        odd = {one["number"]: one["name"] for one in self.product(name)["odd"]}
        for number in (*leave_out, *keep):
            if number not in odd:
                raise AnomalystError(
                    f"product {name!r}: good picture {number} is none of those that look odd "
                    f"({', '.join(map(str, sorted(odd))) or 'there are none'})."
                )
        both = set(leave_out) & set(keep)
        if both or not (leave_out or keep):
            raise AnomalystError("say of each odd picture once whether it is left out or kept.")
        paths = products.reference_paths(name, self.config.products)
        folder = product_folder(name, self.config.products)
        out, kept = (
            tuple(paths[number - 1].relative_to(folder).as_posix() for number in some)
            for some in (leave_out, keep)
        )
        task = DecideOdd(product=name, leave_out=out, keep=kept)
        self.run_task(task, say, seconds=LONG_SECONDS)
        told = {
            "left_out": [odd[number] for number in leave_out],
            "kept": [odd[number] for number in keep],
        }
        self.store.note(name, "odd", by, **told)
        self.drift.forget(name)
        return self.product(name)

    def set_false_alarm_rate(self, name: str, rate: float, by: str) -> dict[str, Any]:
        """The share of good parts that may be called anomalous, from now on."""
        product_folder(name, self.config.products)
        self.store.set_false_alarm_rate(name, checked_rate(rate), by)
        self.drift.forget(name)
        return self.product(name)

    def areas(self, name: str) -> dict[str, Any]:
        """What of a product's pictures counts."""
        return areas_of(name, self.config.products)

    def set_areas(
        self,
        name: str,
        drawn: Sequence[dict[str, Any]],
        *,
        on_product: bool,
        by: str,
        say: Say = lambda _: None,
    ) -> dict[str, Any]:
        """Other areas for a product, which is calibrated anew; what counts from now on."""
        names = checked_areas(name, self.config.products, drawn)
        task = SetAreas(product=name, areas=tuple(drawn), on_product=on_product)
        self.run_task(task, say, seconds=LONG_SECONDS)
        self.store.note(name, "areas", by, areas=names, on_product=on_product)
        return self.areas(name)

    def measuring(self, name: str) -> dict[str, Any]:
        """Scale and acceptance rules of a product."""
        return measuring.told(product_folder(name, self.config.products))

    def set_measuring(self, name: str, wanted: Mapping[str, Any], by: str) -> dict[str, Any]:
        """Set a product's scale or acceptance rules (records/measuring.py), from now on."""
        found = measuring.changed(product_folder(name, self.config.products), wanted)
        self.run_task(SetMeasuring(product=name, measuring=found.as_dict()))
        self.store.note(name, "measuring", by, rules=list(found.rules))
        self.drift.forget(name)
        return self.measuring(name)

    def import_product(self, packed: Path | IO[bytes], name: str | None, by: str) -> dict[str, Any]:
        """Take in a product that was exported."""
        own = packing.unpack(packed, self.config.products, name)
        self.store.note(own, "imported", by)
        return self.product(own)

    def export_product(self, name: str) -> Path:
        """A product as one file, alone in a new temporary folder."""
        product_folder(name, self.config.products)
        target = Path(tempfile.mkdtemp(prefix="anomalyst-")) / f"{name}.zip"
        packing.pack(name, self.config.products, target)
        return target

    def delete_product(self, name: str, by: str) -> None:
        """Delete a product; its inspections stay in the history. Conflict while it is taught."""
        self.background.refuse_while_active(name)
        with changing(name, self.config.products):
            products.delete(name, self.config.products)
        self.store.forget_settings(name)
        self.store.note(name, "deleted", by)

    def statistics(self, name: str) -> dict[str, Any]:
        """Counts, recent scores and drift of a product."""
        return statistics(self.store, self.product(name))

    # Inspections

    def take(self, stream: IO[bytes], name: str | None, sense: str = "image") -> ReceivedPicture:
        """Keep a picture, or a file of another sense. Raises PictureError if it is none."""
        return take(self.pictures, stream, name, sense)

    def take_file(self, path: Path) -> ReceivedPicture:
        """The same with a picture of this machine, by its name."""
        with path.open("rb") as stream:
            return self.take(stream, path.name)

    def acknowledge(
        self,
        sent: Sequence[ReceivedPicture],
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
        self._check_room(len(sent))
        asked = checked_question(question) if question is not None else None
        self._check_senses(product, asked, sent)
        rate = self.store.false_alarm_rate(product)
        rows = [
            InspectionRow(
                product=product, picture=one.picture, name=one.name, source=source, by=by,
                beside={sense: file.picture for sense, file in one.beside.items()} or None,
                owner=self.owner, line=self.line, question=asked, false_alarm_rate=rate,
                state="queued",
            )
            for one in sent
        ]  # fmt: skip
        request = None
        if key is not None:
            files = [tuple(file.picture for file in one.files.values()) for one in sent]
            digest = hashlib.sha256(repr((product, asked, files)).encode())
            request = IdempotentRequest(by=by, key=key, fingerprint=digest.hexdigest())
        ids = self.store.acknowledge(rows, request)
        ours = ids == [row.id for row in rows]  # else what the same request made before
        for row in rows if ours else self.store.inspections(ids):
            if row.state == "queued" and row.owner == self.owner:
                self.in_flight.start(row, on_done)
        return ids

    def wait(self, id: str, seconds: float = WAIT_SECONDS) -> InspectionRow:
        """An inspection, once it is done or cannot be; as it is after so many seconds.

        One that another server does is looked for in the store.
        """
        end = time.monotonic() + seconds
        while True:
            row = self.in_flight.wait(id, end - time.monotonic()) or self.store.inspection(id)
            if row.state != "queued" or time.monotonic() > end or self.closing:
                return row
            time.sleep(LOOK_SECONDS)

    def ask(self, id: str, question: str, *, by: str, say: Say = lambda _: None) -> TurnRow:
        """A question about an inspection; the turn is kept. `say` hears each sentence."""
        task = Ask(**self.asking(self.done_row(id), question, self.store.turns(id)))
        answer = self.run_task(task, say)
        return self.store.add_turn(id, task.question, answer, by)

    def looked_back(self, id: str, turn: str) -> dict[str, Any]:
        """Where each word of an answer looked (explaining/answers.py), computed when it is asked.

        Raises NotFound for a turn that this inspection does not have.
        """
        row, turns = self.done_row(id), self.store.turns(id)
        place = next((n for n, one in enumerate(turns) if one.id == turn), None)
        if place is None:
            raise NotFound(f"inspection {id} has no turn {turn}; it has {len(turns)}.")
        asked = turns[place]
        task = LookBack(**self.asking(row, asked.question, turns[:place]), answer=asked.answer)
        return self.run_task(task)

    def hear_question(self, stream: IO[bytes], name: str | None) -> "Transcript":
        """What is said in a sound file that somebody sent; the sound is not kept.

        Raises RecordingError for what is no sound that can be used.
        """
        from anomalyst.voice.transcriber import Transcript

        most = self.config.limits.upload_mb * MB
        sound = stream.read(most + 1)
        if len(sound) > most:
            raise TooLarge(f"the recording is larger than {self.config.limits.upload_mb} MB.")
        shown = shown_name(name)
        task = Transcribe(sound=sound, name=shown)
        return Transcript(**self.run_task(task, names={shown: shown}))

    def asking(self, row: InspectionRow, question: str, turns: Sequence[TurnRow]) -> dict[str, Any]:
        """What a task needs to answer a question about an inspection, asked after some turns."""
        if row.sense != "image":
            raise AnomalystError(f"questions are about photographs; {row.name} is {row.sense}.")
        return {
            "question": checked_question(question),
            "record": row.record or {},
            "heat": self.pictures.existing(str(row.heat)),
            "shown": self.pictures.existing(str(row.shown)),
            "turns": tuple((turn.question, turn.answer) for turn in turns),
        }

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
        return self.run_task(Resemble(product=row.product, image=image, box=box))

    def done_row(self, id: str) -> InspectionRow:
        """An inspection that is done. Raises NotFound, or Conflict for one that is not."""
        row = self.store.inspection(id)
        if row.state != "done":
            raise Conflict(f"inspection {id} is {row.state}; only one that is done can be used.")
        return row

    def _check_room(self, count: int) -> None:
        if not count:
            raise AnomalystError("no picture was sent; send at least one.")
        if count > self.config.limits.batch:
            raise TooLarge(f"{count} pictures at once; the limit is {self.config.limits.batch}.")
        if self.queue.waiting + count > self.config.limits.queued:
            raise Busy(f"{self.queue.waiting} inspections wait already; come back in a minute.")

    def senses(self, product: str) -> list[str]:
        """The senses a product was taught with, the leading one first. Raises UnknownProduct."""
        self._product_there(product)
        return product_senses(product_folder(product, self.config.products))

    def _check_senses(
        self, product: str, question: str | None, sent: Sequence[ReceivedPicture]
    ) -> None:
        """Raise AnomalystError for a part that lacks a sense, or a question about none to see."""
        senses = self.senses(product)
        for one in sent:
            about = f"{one.name}: product {product!r}"
            refuse_other_senses(about, senses, list(one.files), in_order=True)
        if question is not None and senses != ["image"]:
            raise AnomalystError(
                f"questions are about photographs; product {product!r} was taught with {senses[0]}."
            )

    def _product_there(self, name: str) -> None:
        """UnknownProduct if it is not; while it is saved it is away for an instant."""
        try:
            product_folder(name, self.config.products)
        except AnomalystError:
            time.sleep(0.1)
            product_folder(name, self.config.products)

    def run_task(
        self,
        task: Task,
        say: Say = lambda _: None,
        names: dict[str, str] | None = None,
        *,
        seconds: float = WAIT_SECONDS,
    ) -> dict[str, Any]:
        """A task's result; pictures in its errors are called as their senders call them."""
        doing = self.queue.submit(task, say)
        try:
            return doing.result(seconds)
        except TimeoutError:
            if self.queue.cancel(doing):
                raise Busy(f"it took longer than {seconds:.0f} s and was given up.") from None
            raise Busy("it is still being done; look again in a minute.") from None
        except CancelledError:
            raise Busy(CLOSING) from None
        except PictureError as error:
            name = (names or {}).get(str(error.path), "the picture")
            raise PictureError(name, error.reason) from None
