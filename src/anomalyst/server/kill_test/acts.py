"""Work of a server that is killed: teach, inspect, correct; and what must hold after it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from anomalyst.product import Product
from anomalyst.server.corrections import Corrections
from anomalyst.server.kill_test.workplace import PRODUCT, Workplace
from anomalyst.server.records.documents import as_png
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.jobs import jobs

Said = Sequence[Sequence[Any]]  # what was acknowledged: a word, and what it is about
Acknowledge = Callable[..., None]
BOX = (30, 30, 50, 52)
BY = "engineer"
FIRST = 2  # inspections of the beginning


@dataclass(frozen=True, slots=True, kw_only=True)
class After:
    """What the next start made of it."""

    problems: list[str]
    changed: bool = False  # whether the product must now be the changed one


class Act(Protocol):
    """One kind of work."""

    name: str

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """Do it; `acknowledge` is called when somebody would hear that it is done."""

    def found(self, place: Workplace, said: Said) -> list[str]:
        """What is wrong with what the kill left, before anything starts."""

    def next_start(self, place: Workplace, said: Said) -> After:
        """What is wrong after the next start took it up."""


class _Served(ABC):
    """Work of a server, which is started again."""

    def next_start(self, place: Workplace, said: Said) -> After:
        """A server that takes up what was left, until nothing waits."""
        with place.served() as corrections:
            place.settle(corrections)
            return After(
                problems=self.settled(place, corrections, said), changed=self.changed(corrections)
            )

    @abstractmethod
    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:
        """What is wrong then; this may ask again for what is missing."""

    @abstractmethod
    def changed(self, corrections: Corrections) -> bool:
        """Whether the product must now be the changed one."""


class TeachMore(_Served):
    """A further good picture is taught, as a job."""

    name = "teach"

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """From the upload to the new product."""
        with place.served() as corrections:
            service = corrections.service
            sent = [service.take_file(place.good[1])]
            row = service.teaching.start(PRODUCT, sent, by=BY, pose="fixed")
            acknowledge("job", row.id)
            service.background.wait(row.id)
            acknowledge("taught", row.id)

    def found(self, place: Workplace, said: Said) -> list[str]:
        """A product that was said to be taught is there."""
        known = Product.load(place.config.products / PRODUCT).num_references
        wanted = (2,) if any(word == "taught" for word, *_ in said) else (1, 2)
        return [] if known in wanted else [f"{known} good pictures"]

    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:  # noqa: ARG002
        """Every job that was acknowledged is done, once, and told once."""
        store = corrections.store
        rows = {row.id: row for row in jobs(store) if row.product == PRODUCT}
        wrong = [f"job {id} is lost" for word, id in said if word == "job" and id not in rows]
        wrong += [
            f"a job is {row.state}: {row.problem}" for row in rows.values() if row.state != "done"
        ]
        told = sum(row.kind == "extended" for row in store.changes(PRODUCT))
        asked = sum(not row.asked["new"] for row in rows.values())
        if told != asked:
            wrong.append(f"{asked} jobs are done, told of {told} times")
        return wrong

    def changed(self, corrections: Corrections) -> bool:
        """If the job is there."""
        return any(not row.asked["new"] for row in jobs(corrections.store))


class InspectThree(_Served):
    """Three pictures are sent one after the other, each under an idempotency key."""

    name = "inspect"

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """From the upload to the result."""
        with place.served() as corrections:
            for path in place.new[1:]:
                [id] = self._sent(corrections, path)
                acknowledge("inspection", path.stem, id)
                row = corrections.service.wait(id)
                acknowledge("result", path.stem, id, row.verdict, row.score)

    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:
        """Each is there once, with the result that was told; a client asks again for all."""
        service, wrong = corrections.service, []
        told = {(word, key): what for word, key, *what in said}
        for path in place.new[1:]:
            [id] = self._sent(corrections, path)
            row = service.wait(id)
            kept = told.get(("inspection", path.stem))
            if kept and kept != [id]:
                wrong.append(f"{path.stem} was acknowledged as {kept[0]} and is now {id}")
            if row.state != "done" or str(row.heat) not in service.pictures:
                wrong.append(f"{path.stem} is {row.state}: {row.problem}")
            result = told.get(("result", path.stem))
            if result and result != [id, row.verdict, row.score]:
                wrong.append(f"{path.stem} was {result} and is {row.verdict}, {row.score}")
        if (count := service.store.count(Filter())) != FIRST + len(place.new) - 1:
            wrong.append(f"{count} inspections in the store")
        return wrong

    def found(self, place: Workplace, said: Said) -> list[str]:  # noqa: ARG002
        """Nothing but what holds for all."""
        return []

    def changed(self, corrections: Corrections) -> bool:  # noqa: ARG002
        """Never."""
        return False

    @staticmethod
    def _sent(corrections: Corrections, path: Path) -> list[str]:
        service = corrections.service
        return service.acknowledge(
            [service.take_file(path)], PRODUCT, by="line", source="api", key=f"of {path.stem}"
        )


class CorrectThree(_Served):
    """A verdict is judged, a mask painted, a place called fine, which the product learns."""

    name = "correct"

    def work(self, place: Workplace, acknowledge: Acknowledge) -> None:
        """As a person does it."""
        with place.served() as corrections:
            newest, oldest = corrections.store.history(Filter())
            acknowledge("right", corrections.judge(oldest.id, True, by=BY).id)
            mask = np.zeros(newest.size_hw, bool)
            mask[20:40, 20:40] = True
            acknowledge("mask", corrections.repaint(newest.id, as_png(mask), by=BY).id)
            acknowledge("fine", corrections.fine(newest.id, [BOX], by=BY).id)

    def found(self, place: Workplace, said: Said) -> list[str]:
        """What was said to be learnt is."""
        product = Product.load(place.config.products / PRODUCT)
        names = {one.name for one in product.accepted}
        return [f"{id} is not learnt" for word, id in said if word == "fine" and id not in names]

    def settled(self, place: Workplace, corrections: Corrections, said: Said) -> list[str]:
        """What was acknowledged is there and not undone; what is there is learnt, and told once."""
        store = corrections.store
        rows = {row.id: row for row in store.every_correction(PRODUCT)}
        wrong = [f"{word} {id} is lost" for word, id in said if id not in rows]
        wrong += [
            f"{row.kind} is undone: {row.detail.get('problem')}"
            for row in store.corrections(product=PRODUCT)
            if row.undone_at
        ]
        fine = {row.id for row in rows.values() if row.kind == "fine"}
        wrong += [f"{id} waits for ever" for id in fine if rows[id].applied_at is None]
        product = Product.load(place.config.products / PRODUCT)
        if sorted(one.name for one in product.accepted) != sorted(fine):
            wrong.append(f"the product knows {len(product.accepted)} of {len(fine)} corrections")
        told = [
            row.detail["correction"] for row in store.changes(PRODUCT) if row.kind == "accepted"
        ]
        if sorted(told) != sorted(fine):
            wrong.append(f"{len(fine)} corrections are learnt, told of {len(told)} times")
        wrong += _without_mask(rows.values(), place)
        return wrong

    def changed(self, corrections: Corrections) -> bool:
        """If the correction is there."""
        return any(row.kind == "fine" for row in corrections.store.every_correction(PRODUCT))


def _without_mask(rows: Any, place: Workplace) -> list[str]:
    masks = [str(row.detail["mask"]) for row in rows if row.kind == "mask"]
    there = place.config.home / "pictures"
    return [f"mask {name} is lost" for name in masks if not (there / name[:2] / name).exists()]
