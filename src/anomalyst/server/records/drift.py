"""Drift alarms: a sentence when the scores of accepted parts have been seen to change."""

import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anomalyst.calibration.drift import DriftTest, causes
from anomalyst.server.metrics import Metrics
from anomalyst.server.records import products
from anomalyst.server.records.figures import COMPARED, drift_test
from anomalyst.server.storage.store import Store

log = logging.getLogger(__name__)
LOOK_AT = {
    "image": "look at light, camera and parts, or teach pictures of how it is now.",
    "audio": "listen to machine and microphone, or teach recordings of how it is now.",
    "series": "look at sensors and machine, or teach recordings of how it is now.",
}


class DriftAlarms:
    """One test for each product, begun anew when the product or its false-alarm rate changes."""

    def __init__(self, store: Store, products: Path, metrics: Metrics):
        self.store, self.products, self.metrics = store, products, metrics
        self._tests: dict[str, tuple[str, DriftTest]] = {}  # product -> its revision and test
        self._told: dict[str, str] = {}  # product -> the revision of which it was told
        self._taken: dict[str, deque[Mapping[str, float]]] = {}  # how its newest pictures were

    def forget(self, product: str) -> None:
        """Begin the product's test anew."""
        self._tests.pop(product, None)
        self._told.pop(product, None)
        self._taken.pop(product, None)

    def see(self, product: str, revision: str, record: dict[str, Any]) -> str | None:
        """The alarm, if this inspection raises it; whoever writes that down keeps it, too.

        The database is asked before anything is counted, so that a try that fails may be repeated.
        """
        if (record.get("verdict_before_rules") or record["verdict"]) != "normal":
            return None
        test = self._test(product, revision)
        self._taken[product].append(record.get("conditions", {}))
        self.metrics.drift.labels(product).set(test.see(record["score"]))
        # Once: evidence that falls below the limit and reaches it again says nothing new.
        if not test.alarm or self._told.get(product) == revision:
            return None
        self._told[product] = revision
        text = (
            f"scores of accepted parts of {product!r} have changed (evidence {test.strength:.0f} "
            f"to 1); {self._moved(product)}"
            f"{LOOK_AT.get(record.get('sense', 'image'), LOOK_AT['image'])}"
        )
        log.warning(text, extra={"product": product})
        return text

    def _test(self, product: str, revision: str) -> DriftTest:
        known = self._tests.get(product)
        if known is None or known[0] != revision:
            summary = products.summary(product, self.products)
            test = drift_test(summary, self.store.false_alarm_rate(product))
            self._taken[product] = deque(maxlen=COMPARED)
            known = self._tests[product] = (revision, test)
        return known[1]

    def _moved(self, product: str) -> str:
        """What of how pictures are taken is no longer as it was, in words; "" if that is unknown.

        The database is not asked: what is counted already may not fail now.
        """
        summary = products.summary(product, self.products)
        good = summary["conditions"]
        if not good:
            return ""
        found = causes(good, list(self._taken[product]), placed=summary["pose"] == "fixed")
        told = "; ".join(found) or "light, focus and position are as they were"
        return f"what has moved: {told}; "
