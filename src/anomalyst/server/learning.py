"""A product learns what people called fine or spoiled, and forgets it again."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.pictures import open_picture
from anomalyst.product_index import product_folder, read_record
from anomalyst.server.errors import Busy, Conflict
from anomalyst.server.jobs.tasks import JudgedPicture, Learn, Unlearn
from anomalyst.server.kinds import forget_mask
from anomalyst.server.records.documents import as_png
from anomalyst.server.records.drawn import shows_defect
from anomalyst.server.records.judged import Judged, Judgements, judgements
from anomalyst.server.records.products import digest, summary
from anomalyst.server.service import Service
from anomalyst.server.storage.tables import ChangeRow, CorrectionRow
from anomalyst.teaching.known_defects.limits import BAD_LEAST, GOOD_LEAST

LEARNT, NOT_TAKEN, UNLEARNT = "learnt", "not learnt", "unlearnt"  # kinds of changes
JUDGING = ("right", "wrong", "fine")  # corrections that say what a picture is; defects drawn, too
SECONDS = 1800.0  # that a learning may take: each picture is looked at twice
NAMED_MOST = 20
Say = Callable[[str], None]


class Learning:
    """Threshold and head of a product from judgements; `service` finds and does."""

    def __init__(self, service: Service):
        self.service, self.store = service, service.store
        # What is read of the record, learnt and noted belongs together: an undo waits.
        self.alone = threading.RLock()

    def learn(
        self, name: str, *, by: str, dry_run: bool = False, say: Say = lambda _: None
    ) -> dict[str, Any]:
        """Learn what people say now; the figures before and after, and whether it was taken.

        Raises Conflict, and changes nothing, where too few pictures were judged.
        """
        if dry_run:
            return self._learn(name, say=say, keep=False)
        with self.alone:
            found = self._learn(name, say=say)
            self.store.note(name, LEARNT if found["taken"] else NOT_TAKEN, by, **found)
        return found

    def unlearn(self, name: str, *, by: str) -> dict[str, Any]:
        """The product as it was before it learnt from judgements. Raises Conflict if it did not."""
        with self.alone:
            if not self._learnt(name):
                raise Conflict(f"product {name!r} has learnt nothing from judgements.")
            found = self.service.run_task(Unlearn(product=name), seconds=SECONDS)
            self.store.note(name, UNLEARNT, by, **found)
        return found

    def forget(self, row: CorrectionRow, *, by: str) -> None:
        """After a correction was undone: what the product learnt from it is learnt without it.

        Only of pictures that it has learnt already. Where too little is left, or that cannot be
        learnt or is not better than nothing, it is all unlearnt.
        """
        if shows_defect(row):
            forget_mask(self.service, row, by=by)
        name = row.product
        judges = row.kind in JUDGING or shows_defect(row)
        if not judges or name not in self.service.product_names():
            return
        learnt = self._learnt(name)
        if self.store.inspection(row.inspection).picture not in learnt:
            return
        try:
            found = self._learn(name, only=learnt)
        except Busy:  # nothing was tried
            raise
        except AnomalystError:
            found = {"taken": False}
        if found["taken"]:
            self.store.note(name, LEARNT, by, undone=row.id, **found)
        else:
            self.unlearn(name, by=by)

    def last(self, name: str) -> ChangeRow | None:
        """The last learning of a product, taken or not, or that it was undone."""
        kinds = (LEARNT, NOT_TAKEN, UNLEARNT)
        return next((row for row in self.store.changes(name, 500) if row.kind in kinds), None)

    def waiting(self, name: str) -> Judgements:
        """What there is to learn from now."""
        return judgements(self.store, name, known=self._taught(name))

    def _learnt(self, name: str) -> list[str]:
        """The pictures that the product has learnt from judgements, by their names."""
        rule = summary(name, self.service.config.products)["rule"]
        return rule["judged"] if rule else []

    def _learn(
        self,
        name: str,
        *,
        only: Sequence[str] | None = None,
        keep: bool = True,
        say: Say = lambda _: None,
    ) -> dict[str, Any]:
        """`only`: of these pictures."""
        found = judgements(self.store, name, known=self._taught(name))
        if only is not None:
            found.spoiled = [one for one in found.spoiled if one.picture in only]
            found.fine = [one for one in found.fine if one.picture in only]
        self._check_enough(name, found)
        task = Learn(
            product=name,
            spoiled=self._pictures(found.spoiled),
            fine=self._pictures(found.fine),
            false_alarm_rate=self.store.false_alarm_rate(name),
            keep=keep,
        )
        names = {str(one.image): one.name for one in (*task.spoiled, *task.fine)}
        figures = self.service.run_task(task, say, names, seconds=SECONDS)
        passed = {
            why: {"count": len(names), "names": names[:NAMED_MOST]}
            for why, names in found.passed.items()
        }
        return figures | {"passed": passed}

    def _check_enough(self, name: str, found: Judgements) -> None:
        record = read_record(product_folder(name, self.service.config.products))
        senses = self.service.senses(name)
        if senses != ["image"]:
            raise Conflict(
                f"product {name!r} is judged by {' and '.join(senses)}; judgements are learnt of "
                "photographs alone. Teach further good parts instead."
            )
        good = len(record["references"])
        taught = sum("judged" not in one for one in record.get("defective", []))
        spoiled = len(found.spoiled) + taught
        out = sum(map(len, found.passed.values()))
        apart = f" ({out} judged pictures cannot be used: {', '.join(found.passed)})" if out else ""
        if not found.spoiled and not found.fine:
            raise Conflict(f"product {name!r}: nobody has judged a picture of it yet{apart}.")
        if spoiled < BAD_LEAST:
            raise Conflict(
                f"product {name!r}: {_pictures(spoiled)} called spoiled{apart}; {BAD_LEAST} are "
                "needed. Mark more verdicts as right or wrong."
            )
        if good < GOOD_LEAST:
            raise Conflict(
                f"product {name!r} was taught from {good} good; {GOOD_LEAST} are needed to learn "
                "from judgements, for each is judged by the others. Teach more good pictures."
            )

    def _taught(self, name: str) -> set[str]:
        """The contents (SHA-256) of the pictures that a person taught the product with."""
        folder = product_folder(name, self.service.config.products)
        record = read_record(folder)
        taught = [*record["references"], *record.get("defective", [])]
        return {digest(folder / one["file"]) for one in taught if "judged" not in one}

    def _pictures(self, some: Sequence[Judged]) -> tuple[JudgedPicture, ...]:
        pictures = self.service.pictures
        return tuple(
            JudgedPicture(
                image=pictures.existing(one.picture),
                picture=one.picture,
                name=one.name,
                mask=self._mask(one),
            )
            for one in some
        )

    def _mask(self, one: Judged) -> Path | None:
        """All that people drew as defects of a picture, as one file; None: nothing is kept."""
        pictures = self.service.pictures
        paths = [pictures.path(name) for name in one.masks if name in pictures]
        if len(paths) < 2:
            return paths[0] if paths else None
        whole = np.logical_or.reduce([open_picture(path)[..., 0] > 127 for path in paths])
        return pictures.path(pictures.keep(as_png(whole), ".png"))


def _pictures(count: int) -> str:
    return "1 picture was" if count == 1 else f"{count or 'no'} pictures were"
