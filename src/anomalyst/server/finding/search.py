"""A query against many files: encoded where they are new, and the nearest first."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.senses.space import SensedFile, Space
from anomalyst.server.finding.items import Item, LeftOut
from anomalyst.server.finding.ranking import nearest_first
from anomalyst.server.finding.vectors import Vectors

SAVE_SECONDS = 20.0  # what was encoded so far survives an interruption
FEW = 8  # files of a sense, below which nothing is called typical
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for: a sentence or a file."""

    what: str | SensedFile
    name: str  # the sentence, or what the file is called

    @property
    def sense(self) -> str:
        """`text`, or the file's."""
        return "text" if isinstance(self.what, str) else self.what.sense


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Where vectors are kept."""

    folder: Path
    name: str  # of what is searched: record, among
    whole: bool = False  # all there is was looked through: vectors of other things may go


@dataclass(frozen=True, slots=True)
class Hit:
    """Something found."""

    item: Item
    similarity: float  # cosine, -1 to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found, the most similar first."""

    query: Query
    space: str
    hits: tuple[Hit, ...]
    searched: int  # files compared
    encoded: int  # of these, for the first time
    typical: dict[str, float]  # sense -> median similarity to the query, to tell a hit by
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "query": {"sense": self.query.sense, "name": self.query.name},
            "encoder": self.space,
            "searched": self.searched,
            "encoded": self.encoded,
            "typical": {sense: round(value, 4) for sense, value in self.typical.items()},
            "notes": list(self.notes),
            "hits": [_hit_values(hit) for hit in self.hits],
        }


def search(
    query: Query,
    items: Sequence[Item],
    space: Space,
    kept: Kept,
    *,
    top: int,
    left_out: LeftOut | None = None,
    told: Told = lambda *_: None,
) -> Found:
    """The `top` most similar inspections or files; an inspection counts by its nearest sense.

    What cannot be used is left out, with a note. Raises AnomalystError for a query that cannot be
    used, or where nothing is left to compare it with.
    """
    left_out = left_out or LeftOut()
    asked = space.of_text(query.what) if isinstance(query.what, str) else space.of_file(query.what)
    usable = _usable(items, space, left_out)
    vectors = Vectors.read(kept.folder, kept.name, space.fingerprint)
    new = _encode(usable, space, vectors, left_out, told)
    wanted = {item.key for item in usable} if kept.whole else set(vectors.known)
    problems = _saved(vectors, wanted) if new or vectors.known.keys() - wanted else []
    there = [item for item in usable if item.key in vectors.known]
    if not there:
        reasons = " ".join(left_out.notes()) or "there is none."
        raise AnomalystError(f"nothing could be compared with the query: {reasons}")
    order, cosines = nearest_first(
        asked.vector, np.stack([vectors.known[item.key] for item in there])
    )
    hits = [Hit(there[i], float(cosines[i])) for i in order]
    best = tuple(_one_each(hits, top))
    notes = [*(f"the query: {note}" for note in asked.notes), *left_out.notes(), *problems]
    if space.across and any(_seen_by(hit.item.file.sense) != _seen_by(query.sense) for hit in best):
        notes.append(space.across)
    return Found(
        query=query,
        space=space.name,
        hits=best,
        searched=len(there),
        encoded=new,
        typical=_typical(there, cosines),
        notes=tuple(notes),
    )


def _usable(items: Sequence[Item], space: Space, left_out: LeftOut) -> list[Item]:
    """Items whose sense the space knows."""
    unknown = Counter(i.file.sense for i in items if i.file.sense not in space.senses)
    for sense, count in unknown.items():
        files = f"{count} {sense} file{'s' if count > 1 else ''}"
        left_out.add(files, f"{space.name} has no tower for that sense.")
    return [item for item in items if item.file.sense in space.senses]


def _encode(
    items: Sequence[Item], space: Space, vectors: Vectors, left_out: LeftOut, told: Told
) -> int:
    """Fill in the vectors that are missing; how many these were."""
    new = {item.key: item for item in items if item.key not in vectors.known}
    saved, count = time.monotonic(), 0
    try:
        for done, (key, item) in enumerate(new.items(), start=1):
            try:
                vectors.known[key] = space.of_file(item.file).vector
                count += 1
            except PictureError as error:
                left_out.add(item.name, error)
            if time.monotonic() - saved > SAVE_SECONDS:
                _saved(vectors, set(vectors.known))
                saved = time.monotonic()
            told(done, len(new))
    except KeyboardInterrupt:
        _saved(vectors, set(vectors.known))
        raise
    return count


def _saved(vectors: Vectors, only: set[str]) -> list[str]:
    """Keep them; a folder that cannot be written costs the next search time, not this one."""
    try:
        vectors.save(only)
    except AnomalystError as error:
        return [f"the vectors were not kept for the next search: {error}"]
    return []


def _one_each(hits: Sequence[Hit], top: int) -> Iterator[Hit]:
    """The first of each inspection or file, at most `top`."""
    seen: set[str] = set()
    for hit in hits:
        if len(seen) == top:
            return
        what = hit.item.inspection or str(hit.item.file.path)
        if what not in seen:
            seen.add(what)
            yield hit


def _typical(items: Sequence[Item], cosines: np.ndarray) -> dict[str, float]:
    """The median similarity of each sense that has enough files."""
    found = {}
    for sense in dict.fromkeys(item.file.sense for item in items):
        mine = cosines[[item.file.sense == sense for item in items]]
        if len(mine) >= FEW:
            found[sense] = float(np.median(mine))
    return found


def _seen_by(sense: str) -> str:
    """The tower of a sense: films are seen by that of pictures."""
    return "image" if sense == "video" else sense


def _hit_values(hit: Hit) -> dict[str, Any]:
    item = hit.item
    own = {"similarity": round(hit.similarity, 4), "sense": item.file.sense, "name": item.name}
    if item.inspection is None:
        return own
    when = item.created_at.isoformat() if item.created_at else None
    about = {"id": item.inspection, "product": item.product, "verdict": item.verdict}
    return own | about | {"created_at": when}
