"""The line that a watch stands at: its name, and the gate through which its parts go."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.server.jobs.in_flight import Done, Follower
from anomalyst.server.jobs.tasks import Inspect
from anomalyst.server.service import Service
from anomalyst.server.storage.tables import ChangeRow, DeliveryRow, InspectionRow, new_id, now
from anomalyst.server.streaming.signals.gate import TAKEN_UP, Gate, LatePart

log = logging.getLogger(__name__)
LATE, BLIND = "late part", "blind camera"  # kinds of messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line; without a gate its parts have no deadline."""

    name: str | None = None
    gate: Gate | None = None

    def __post_init__(self) -> None:
        if self.name is not None and not 1 <= len(self.name.strip()) <= 60:
            raise AnomalystError("--line: 1 to 60 letters are needed.")


class Gated(Follower):
    """A part on its way through a gate."""

    def __init__(self, gate: Gate, mark: str, done: Done):
        self.gate, self.mark, self.done = gate, mark, done

    def __call__(self, row: InspectionRow) -> None:
        """It is written down."""
        self.done(row)

    def found(self, verdict: str | None, problem: str) -> None:
        """The gate hears of it at once."""
        self.gate.found(self.mark, verdict, problem)

    def kept(self) -> dict[str, Any]:
        """What became of its signal."""
        return self.gate.kept(self.mark)


class TakenUp(Follower):
    """A part of an earlier run: it has passed long ago, and had no signal."""

    def __init__(self, done: Done):
        self.done = done

    def __call__(self, row: InspectionRow) -> None:
        """It is written down."""
        self.done(row)

    def found(self, verdict: str | None, problem: str) -> None:
        """A signal now would reject another part."""

    def kept(self) -> dict[str, Any]:
        """Why it had none."""
        return {"signal_ms": None, "late": TAKEN_UP}


def tell_of_late(
    service: Service, product: str, line: str | None, sinks: Sequence[str], part: LatePart
) -> None:
    """Leave a message for each sink; the part's own message says it again when it is judged."""
    payload = {
        "kind": LATE,
        "product": product,
        "line": line,
        "picture": part.name,
        "why": part.why,
        "rejected": part.rejected,
        "line_stopped": part.stops,
        "at": now().isoformat(),
    }
    _leave(service, sinks, payload)


def tell_of_blind(
    service: Service,
    product: str,
    line: str | None,
    sinks: Sequence[str],
    camera: str,
    why: str | None,
) -> None:
    """Keep that a camera is blind, or sees again (no `why`), and leave a message for each sink."""
    about = {"line": line, "camera": camera, "why": why, "sees": why is None}
    payload = {"kind": BLIND, "product": product, **about, "at": now().isoformat()}
    change = {"product": product, "kind": "camera", "detail": about, "by": "anomalyst"}
    _leave(service, sinks, payload, change)


def _leave(
    service: Service, sinks: Sequence[str], payload: dict[str, Any], *beside: dict[str, Any]
) -> None:
    """Keep them once the database takes them; nobody at the line waits for that."""

    ids = [new_id() for _ in sinks]  # they go out in the order of what they tell of

    def write() -> None:
        with service.store.session() as session:
            session.add_all(ChangeRow(**one) for one in beside)
            session.add_all(
                DeliveryRow(id=id, sink=sink, payload=payload)
                for id, sink in zip(ids, sinks, strict=True)
            )

    service.owed.write(write, f"the message of a {payload['kind']}")


def warm_up(service: Service, product: str, ended: Callable[[], bool]) -> None:
    """Have the model read, and the product judged once, before parts come that have a deadline."""
    try:
        picture = service.reference(product, 1)
    except AnomalystError:  # of a sense without pictures
        picture = None
    service.queue.start()
    if picture is not None:
        rate, begun = service.store.false_alarm_rate(product), time.monotonic()
        asked = Inspect(image=picture, product=product, false_alarm_rate=rate)
        doing = service.queue.submit(asked)
        while not doing.done() and not ended():
            time.sleep(0.05)
        log.info("ready to judge after %.1f s", time.monotonic() - begun)
    while not service.queue.ready and not ended():
        time.sleep(0.05)
