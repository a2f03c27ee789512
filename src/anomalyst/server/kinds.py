"""A product learns what people call its defects from the masks that they drew and named."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.io.masks import union_of
from anomalyst.product_index import product_folder, read_record
from anomalyst.server.errors import Conflict
from anomalyst.server.jobs.tasks import LearnKinds, NamedDefect
from anomalyst.server.records.documents import as_png
from anomalyst.server.records.drawn import Drawn, Said, mask_of
from anomalyst.server.records.judged import judgements
from anomalyst.server.service import Service
from anomalyst.server.storage.tables import CorrectionRow

LEARNT, NOT_TAKEN, UNLEARNT = "kinds learnt", "kinds not learnt", "kinds unlearnt"  # changes
SECONDS = 1800.0
Say = Callable[[str], None]


def learn_kinds(
    service: Service, product: str, *, by: str, dry_run: bool = False, say: Say = lambda _: None
) -> dict[str, Any]:
    """Learn the kinds of defects of a product, and how well they are told on pictures left out.

    Raises Conflict, and changes nothing, where nobody named a defect.
    """
    named = named_defects(service, product)
    if not named:
        raise Conflict(
            f"product {product!r}: nobody drew a defect and said what kind it is; give masks a "
            "label on the Inspect page, or import some."
        )
    task = LearnKinds(product=product, named=named, keep=not dry_run)
    found = service.run_task(
        task, say, {str(one.image): one.name for one in named}, seconds=SECONDS
    )
    if not dry_run:
        service.store.note(product, LEARNT if found["taken"] else NOT_TAKEN, by, **found)
    return found


def unlearn_kinds(service: Service, product: str, *, by: str) -> None:
    """Let the shipped kinds name the defects again. Raises Conflict if nothing was learnt."""
    if not known_kinds(service, product):
        raise Conflict(f"product {product!r} has learnt no kinds of its own.")
    service.run_task(LearnKinds(product=product, named=()), seconds=SECONDS)
    service.store.note(product, UNLEARNT, by)


def forget_mask(service: Service, row: CorrectionRow, *, by: str) -> None:
    """After a mask was undone: kinds that it taught are learnt without it, or unlearnt."""
    if row.id not in known_kinds(service, row.product).get("corrections", ()):
        return
    try:
        learnt = learn_kinds(service, row.product, by=by)["taken"]
    except Conflict:  # no other was named
        learnt = False
    if not learnt:
        unlearn_kinds(service, row.product, by=by)


def known_kinds(service: Service, product: str) -> dict[str, Any]:
    """What product.json says of the product's own kinds; nothing where it has none."""
    if product not in service.product_names():
        return {}
    return read_record(product_folder(product, service.config.products)).get("kinds") or {}


def named_defects(service: Service, product: str) -> tuple[NamedDefect, ...]:
    """The defects that people drew and named on pictures called spoiled: one a picture and kind."""
    found = []
    for one in judgements(service.store, product).spoiled:
        of_kind: dict[str, list[Said]] = defaultdict(list)
        for pair in one.defects:
            if label := " ".join(Drawn.of(pair[0].detail).label.lower().split()):
                of_kind[label].append(pair)
        named = (_named(service, *some) for some in of_kind.items())
        found += [each for each in named if each is not None]
    return tuple(found)


def _named(service: Service, label: str, said: list[Said]) -> NamedDefect | None:
    """The union of what people drew of one kind; None where it is no longer kept."""
    pictures = service.pictures
    try:
        mask = union_of([mask_of(row, seen, pictures) for row, seen in said])
        image = pictures.existing(said[0][1].picture)
    except AnomalystError:
        return None
    return NamedDefect(
        image=image,
        name=said[0][1].name,
        mask=pictures.path(pictures.keep(as_png(mask), ".png")),
        label=label,
        corrections=tuple(row.id for row, _ in said),
    )


def told(product: str, found: dict[str, Any], dry_run: bool) -> list[str]:
    """What was learnt, in words."""
    kinds = ", ".join(f"{name} ({count})" for name, count in found["kinds"].items())
    lines = [f"{product}: kinds and their pictures: {kinds or 'none'}."]
    if found["left_out"]:
        few = ", ".join(f"{name} ({count})" for name, count in found["left_out"].items())
        lines.append(f"Left out, of too few pictures: {few}.")
    lines += [f"Left out: {one}" for one in found["unread"]]
    if not found["taken"]:
        return [*lines, f"Not taken: {found['reason']}. The product is as it was."]
    lines.append(
        f"Of pictures left out, {found['own']:.0%} of {found['places']} places are named right; "
        f"by the shipped kinds {found['shipped']:.0%}, by one name for all "
        f"{found['commonest']:.0%}."
    )
    return [*lines, "Nothing was changed." if dry_run else "Regions are called so from now on."]
