"""Two versions of a product beside each other, on pictures that were inspected."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from anomalyst.errors import PictureError
from anomalyst.inspector import Inspector
from anomalyst.product import Product
from anomalyst.server.jobs.tasks import Compare, Inspect
from anomalyst.teaching.known_defects.ranking import auroc
from anomalyst.types import Inspection

TOGETHER = 8
Judged = tuple[str, float]  # verdict and score


def compare(inspector: Inspector, task: Compare, say: Callable[[str], None]) -> dict[str, Any]:
    """How each version judges the pictures: counts, AUROC where people judged, what differs."""
    products = [Product.load(folder) for folder in (task.before, task.after)]
    seen: list[list[Judged | None]] = [[], []]
    for start in range(0, len(task.pictures), TOGETHER):
        some = task.pictures[start : start + TOGETHER]
        for product, own in zip(products, seen, strict=True):
            own += _judged(inspector, product, some)
        say(f"{len(seen[0])} of {len(task.pictures)} pictures")
    both = [
        (number, *pair)
        for number, pair in enumerate(zip(*seen, strict=True))
        if pair[0] is not None and pair[1] is not None
    ]
    differ = [
        {
            "id": task.ids[number],
            "name": task.names[number],
            "spoiled": task.spoiled[number],
            "before": {"verdict": before[0], "score": round(before[1], 4)},
            "after": {"verdict": after[0], "score": round(after[1], 4)},
        }
        for number, before, after in both
        if before[0] != after[0]
    ]
    truth = [task.spoiled[number] for number, *_ in both]
    return {
        "pictures": len(both),
        "unread": len(task.pictures) - len(both),
        "judged": sum(one is not None for one in truth),
        "before": _figures([before for _, before, _ in both], truth),
        "after": _figures([after for *_, after in both], truth),
        "differ": differ,
    }


def _judged(
    inspector: Inspector, product: Product, tasks: Sequence[Inspect]
) -> list[Judged | None]:
    rate = tasks[0].false_alarm_rate
    if product.companions:
        found: Sequence[Any] = [_part(inspector, product, task) for task in tasks]
    else:
        found = inspector.inspect_together(
            [task.image for task in tasks], product, false_alarm_rate=rate
        )
    return [
        (one.verdict, float(one.score)) if isinstance(one, Inspection) else None for one in found
    ]


def _part(inspector: Inspector, product: Product, task: Inspect) -> Any:
    try:
        files = {product.sense_kind: task.image, **dict(task.beside)}
        return inspector.inspect_part(files, product, false_alarm_rate=task.false_alarm_rate)
    except PictureError as error:
        return error


def _figures(said: Sequence[Judged], truth: Sequence[bool | None]) -> dict[str, Any]:
    verdicts = [verdict for verdict, _ in said]
    known = [(bool(t), *one) for t, one in zip(truth, said, strict=True) if t is not None]
    labels = np.array([int(spoiled) for spoiled, *_ in known])
    told = bool(known) and 0 < labels.sum() < len(labels)
    return {
        "verdicts": {one: verdicts.count(one) for one in ("normal", "unsure", "anomalous")},
        "missed": sum(spoiled and verdict == "normal" for spoiled, verdict, _ in known),
        "false_alarms": sum(not s and verdict == "anomalous" for s, verdict, _ in known),
        "auroc": round(float(auroc(labels, np.array([s for *_, s in known]))), 4) if told else None,
    }
