"""Learning from judgements, in the model process: the rule, and what it says of each picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from anomalyst.calibration.operating_rule import Costs, HeldOut
from anomalyst.inspector import Inspector
from anomalyst.product import Product
from anomalyst.product_index import BEFORE, RECORD
from anomalyst.server.jobs.learning_figures import Seen, figures_of
from anomalyst.server.jobs.tasks import JudgedPicture, Learn
from anomalyst.teaching.known_defects.defects import KnownDefects
from anomalyst.teaching.known_defects.limits import BAD_MOST, FINE_MOST
from anomalyst.types import Inspection

ASIDE_MOST = 50  # further spoiled, and further fine pictures, that only test
TOGETHER = 8  # pictures inspected at once
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """A product with judgements learnt, the one without, and how they compare."""

    before: Product
    after: Product
    figures: dict[str, Any]


def learn_judged(inspector: Inspector, product: Product, task: Learn, say: Say) -> Learnt:
    """The product with what people judged in place of what it had so learnt; nothing is saved.

    The newest judged pictures teach, up to 50 defective and 100 fine ones; some more only test.
    Raises AnomalystError for fewer than 3 defective pictures that can be read, or 4 good ones.
    """
    before = without_judgements(inspector, product)
    room = BAD_MOST - (len(before.bad.pictures) if before.bad else 0)
    spoiled, fine = task.spoiled[:room], task.fine[:FINE_MOST]
    aside = [(one, True) for one in task.spoiled[room:][:ASIDE_MOST]]
    aside += [(one, False) for one in task.fine[FINE_MOST:][:ASIDE_MOST]]
    counted = _counter(say, 2 * before.num_references + 3 * len([*spoiled, *fine]) + 2 * len(aside))
    after = inspector.teach(
        task.product,
        [],
        bad=_known(before.bad, spoiled, fine),
        product=before,
        pose=before.pose,
        adapted="kept",
        on_picture=lambda _: counted(1),
    )
    after.notes = before.notes
    held = _held_out(after, {one.image: one for one in (*spoiled, *fine)})
    seen = _seen(inspector, before, held, task.false_alarm_rate, counted)
    seen += _aside(inspector, before, after, aside, task.false_alarm_rate, counted)
    figures = figures_of(before, after, seen, len(held), task.false_alarm_rate)
    return Learnt(before=before, after=after, figures=figures)


def without_judgements(inspector: Inspector, product: Product) -> Product:
    """The product as it would be had it not learnt from judgements; itself if it has not.

    Where it was changed since it learnt (more good pictures, a place called fine), it is taught
    anew from all that it holds but those.
    """
    if product.bad is None or not product.bad.judged:
        return product
    assert product.folder is not None  # it was loaded
    if (product.folder / BEFORE / RECORD).exists():
        return Product.load(product.folder / BEFORE)
    left = replace(product, bad=product.bad.unjudged(), rule=None)
    again = inspector.teach(product.name, [], product=left, pose=product.pose, adapted="kept")
    return replace(again, notes=product.notes)


def _known(
    taught: KnownDefects | None, spoiled: Sequence[JudgedPicture], fine: Sequence[JudgedPicture]
) -> KnownDefects:
    """Defects that the product was taught with, those judged, and the fine pictures.

    Fine ones are no further good pictures of the product: see `KnownDefects.fine`.
    """
    return KnownDefects(
        pictures=((taught.pictures if taught else ()) + tuple(one.image for one in spoiled)),
        masks=(dict(taught.masks) if taught else {})
        | {one.image: one.mask for one in spoiled if one.mask},
        costs=taught.costs if taught else Costs(),
        sources=(dict(taught.sources) if taught else {})
        | {one.image: one.name for one in (*spoiled, *fine)},
        fine=tuple(one.image for one in fine),
        judged={one.image: one.picture for one in (*spoiled, *fine)},
    )


def _held_out(
    after: Product, judged: dict[Path, JudgedPicture]
) -> list[tuple[JudgedPicture, HeldOut]]:
    """What is said of each judged picture by a rule learnt without it."""
    assert after.rule is not None and after.bad is not None  # it was taught with defects
    order = [*after.bad.fine, *after.bad.pictures]
    said = after.rule.findings.held_out[-len(order) :]
    return [(judged[path], one) for path, one in zip(order, said, strict=True) if path in judged]


def _seen(
    inspector: Inspector,
    before: Product,
    held: Sequence[tuple[JudgedPicture, HeldOut]],
    rate: float,
    counted: Callable[[int], None],
) -> list[Seen]:
    first = _inspected(inspector, before, [one.image for one, _ in held], rate, counted)
    return [
        Seen(
            one=one, spoiled=said.defective, before=first[one.image].verdict,
            score=first[one.image].score, after=said.verdict, log_odds=said.log_odds,
        )
        for one, said in held
        if one.image in first
    ]  # fmt: skip


def _aside(
    inspector: Inspector,
    before: Product,
    after: Product,
    aside: Sequence[tuple[JudgedPicture, bool]],
    rate: float,
    counted: Callable[[int], None],
) -> list[Seen]:
    """Judged pictures that did not teach: both products look at them."""
    assert after.rule is not None
    images = [one.image for one, _ in aside]
    first, then = (_inspected(inspector, p, images, rate, counted) for p in (before, after))
    return [
        Seen(
            one=one, spoiled=spoiled, before=first[one.image].verdict,
            score=first[one.image].score, after=then[one.image].verdict,
            log_odds=after.rule.log_odds(then[one.image].score),
        )
        for one, spoiled in aside
        if one.image in first and one.image in then
    ]  # fmt: skip


def _inspected(
    inspector: Inspector,
    product: Product,
    images: Sequence[Path],
    rate: float,
    counted: Callable[[int], None],
) -> dict[Path, Inspection]:
    """What a product says of pictures; those that cannot be read are left out."""
    found: dict[Path, Inspection] = {}
    for start in range(0, len(images), TOGETHER):
        some = images[start : start + TOGETHER]
        said = inspector.inspect_together(some, product, false_alarm_rate=rate)
        found |= {i: one for i, one in zip(some, said, strict=True) if isinstance(one, Inspection)}
        counted(len(some))
    return found


def _counter(say: Say, total: int) -> Callable[[int], None]:
    done = 0

    def counted(more: int) -> None:
        nonlocal done
        done += more
        say(f"{min(done, total)} of {total} looks")

    return counted
