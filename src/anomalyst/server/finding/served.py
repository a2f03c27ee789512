"""A search of a running server: its model process embeds, between the inspections."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.senses.space import Embedded, SensedFile
from anomalyst.server.config import MB
from anomalyst.server.errors import TooLarge
from anomalyst.server.finding.items import ENDINGS, LeftOut, Readings, of_sense
from anomalyst.server.finding.record import record_items
from anomalyst.server.finding.search import Found, Kept, Query, search
from anomalyst.server.jobs.tasks import Embed
from anomalyst.server.received import shown_name
from anomalyst.server.service import Service
from anomalyst.server.storage.filters import Filter


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A file that somebody looks for."""

    sense: str
    stream: IO[bytes]
    name: str | None


class ServedSpace:
    """The shipped towers in the model process; one file a task, so that inspections come between.

    It is a `Space`.
    """

    def __init__(self, service: Service, query: Query):
        self.service, asked = service, query.what
        # A problem of the query is told by its sender's name; those of others are told by search.
        self.names = {str(asked.path): query.name} if isinstance(asked, SensedFile) else {}
        about = service.run_task(Embed())
        self.name, self.fingerprint = str(about["name"]), str(about["fingerprint"])
        self.senses, self.across = tuple(about["senses"]), str(about["across"])

    def of_file(self, file: SensedFile) -> Embedded:
        """Where a file lies. Raises PictureError."""
        return self._embedded(file)

    def of_text(self, text: str) -> Embedded:
        """Where a sentence lies. Raises AnomalystError."""
        return self._embedded(text)

    def _embedded(self, what: SensedFile | str) -> Embedded:
        found = self.service.run_task(Embed(what=what), names=self.names)
        return Embedded(np.asarray(found["vector"], np.float32), tuple(found["notes"]))


def find_in_record(
    service: Service,
    asked: str | Sent,
    wanted: Filter,
    *,
    readings: Readings,
    sense: str | None = None,
    top: int = 10,
) -> Found:
    """Inspections of the record that resemble a sentence or a sent file, which is not kept.

    Raises AnomalystError for a query that cannot be used, or a record that holds nothing to find.
    """
    left_out = LeftOut()
    whole = wanted == Filter(state="done") and sense is None
    items = record_items(service.store, wanted, service.config.products, left_out)
    items = of_sense(items, sense)
    if not items:
        raise AnomalystError(
            "the record holds nothing that could be found." + " ".join(["", *left_out.notes()])
        )
    kept = Kept(folder=service.config.home / "embeddings", name="record", whole=whole)
    with _folder(asked, service.config.home) as folder:
        query = _query(service, asked, folder, readings)
        space = ServedSpace(service, query)
        return search(query, items, space, kept, top=top, left_out=left_out)


def _folder(asked: str | Sent, home: Path) -> AbstractContextManager[str]:
    """A place for a sent file that the model process sees, too."""
    if isinstance(asked, str):
        return nullcontext("")
    return TemporaryDirectory(prefix=".query-", dir=home)


def _query(service: Service, asked: str | Sent, folder: str, readings: Readings) -> Query:
    if isinstance(asked, str):
        return Query(what=asked, name=asked)
    most = service.config.limits.upload_mb * MB
    data = asked.stream.read(most + 1)
    if len(data) > most:
        raise TooLarge(f"the file is larger than {service.config.limits.upload_mb} MB.")
    name = shown_name(asked.name)
    suffix = Path(name).suffix.lower()
    # The ending alone: a sender's name could be any, and readers go by endings.
    path = Path(folder) / f"query{suffix if suffix in ENDINGS else ''}"
    path.write_bytes(data)
    reading = readings.of(asked.sense)
    return Query(what=SensedFile(sense=asked.sense, path=path, reading=reading), name=name)
