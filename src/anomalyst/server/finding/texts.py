"""Search in the record by meaning: inspections as lines of text, in a text model's space."""

import hashlib
from dataclasses import dataclass

from anomalyst.errors import AnomalystError
from anomalyst.senses.space import Embedded, SensedFile
from anomalyst.server.finding.items import Item
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.store import Store
from anomalyst.vlm.texts.loading import TextModel, folder_of
from anomalyst.vlm.texts.records import NOTE, RECORD, record_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldFile(SensedFile):
    """An inspection's leading file, and what its record and people say in words."""

    text: str

    @property
    def read_as(self) -> str:
        """Its vector is the words'."""
        return "text"


class TextSpace:
    """A text model's space: sentences, and inspections by what is said of them."""

    across = ""
    senses: tuple[str, ...] = ("image", "depth", "thermal", "audio", "series", "video")

    def __init__(self, model: TextModel):
        self.model, self.name = model, f"texts:{model.name}"
        digest = hashlib.sha256()
        for path in sorted(folder_of(model.name).glob("*.safetensors")):
            state = path.stat()
            digest.update(f"{path.name} {state.st_size} {state.st_mtime_ns}\n".encode())
        self.fingerprint = digest.hexdigest()[:16]

    def of_text(self, text: str) -> Embedded:
        """Where the record of what a sentence says would lie."""
        vector = self.model.embed([NOTE + text])
        heads = self.model.heads
        return Embedded((heads.query(vector) if heads else vector)[0].numpy())

    def of_file(self, file: SensedFile) -> Embedded:
        """Where an inspection's words lie. Raises AnomalystError for a file without words."""
        if not isinstance(file, ToldFile):
            raise AnomalystError(
                f"--encoder {self.name}: reads words; give --text, and search the record."
            )
        vector = self.model.embed([RECORD + file.text])
        heads = self.model.heads
        return Embedded((heads.record(vector) if heads else vector)[0].numpy())


def told_items(store: Store, wanted: Filter) -> list[Item]:
    """Every inspection wanted that is done, as words: its record and people's comments."""
    comments: dict[str, list[str]] = {}
    for said in store.every_correction(wanted.product):
        if comment := str(said.detail.get("comment") or "").strip():
            comments.setdefault(said.inspection, []).append(comment)
    found = []
    for row in store.every_inspection(wanted):
        if row.record is None:
            continue
        text = ". ".join([record_text(row.record), *comments.get(row.id, [])])
        file = ToldFile(
            sense=row.sense.partition("+")[0], path=store.pictures.path(row.picture), text=text
        )
        found.append(
            Item(
                file=file,
                digest=hashlib.sha256(text.encode()).hexdigest(),
                name=row.name,
                inspection=row.id,
                product=row.product,
                verdict=row.verdict,
                created_at=row.created_at,
            )
        )
    return found
