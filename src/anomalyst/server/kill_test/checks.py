"""What must hold after any kill: as it was left, after the next start, and after a later one."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.product_index import product_names
from anomalyst.server.kill_test.acts import BY, Act, Said
from anomalyst.server.kill_test.commands import make_older, record_faults
from anomalyst.server.kill_test.workplace import PRODUCT, Workplace, checked_files, hidden_below
from anomalyst.server.records.versions import VERSIONS
from anomalyst.server.storage.filters import Filter
from anomalyst.server.storage.left_behind import clear_left_behind, clear_parts
from anomalyst.server.storage.retention import back_up
from anomalyst.server.storage.store import Store

AGED_S = 2 * 24 * 3600.0  # by which what is left is made older before the later start


def make_beginning(place: Workplace) -> None:
    """A product of one good picture, two inspections, a backup of the first, an old database."""
    place.now.mkdir()
    with place.served() as corrections:
        service = corrections.service
        sent = [service.take_file(path) for path in place.good[:1]]
        service.teach(PRODUCT, sent, by=BY, new=True, pose="fixed")
        for number in range(2):
            sent = [service.take_file(place.new[0])]
            [id] = service.acknowledge(sent, PRODUCT, by="line", source="api")
            service.wait(id)
            if number == 0:
                back_up(place.config, place.now / "backup.tar.gz")
    make_older(place.now / "older")


def checked(place: Workplace, act: Act, said: Said, judged: list[str]) -> dict[str, Any]:
    """What is wrong after a kill, in words, and what the product makes of a picture in the end.

    `judged`: what it makes of it before and after the act; none: not known yet.
    """
    problems = [f"as it was left: {one}" for one in _as_left(place, act, said, judged)]
    after = act.next_start(place, said)
    problems += after.problems
    found = place.judged_now()
    if judged and found != judged[after.changed]:
        problems.append(
            f"the product judges otherwise than {'after' if after.changed else 'before'}"
        )
    problems += _faults(place)
    return {"problems": problems + _still_left(place), "judged": found}


def _as_left(place: Workplace, act: Act, said: Said, judged: list[str]) -> list[str]:
    if product_names(place.config.products) != [PRODUCT]:
        return [f"products {product_names(place.config.products)}"]
    try:
        found = place.judged_now()
    except AnomalystError as error:
        return [str(error)]
    wrong = [] if not judged or found in judged else ["the product judges as no version of it did"]
    return wrong + _faults(place) + act.found(place, said)


def _faults(place: Workplace) -> list[str]:
    """Of the record, the pictures and the versions of the product."""
    store = Store.open(place.config)
    wrong = record_faults(store)
    missing = [
        name
        for row in store.history(Filter())
        for name in (row.picture, row.heat, row.shown)
        if name is not None and name not in store.pictures
    ]
    store.engine.dispose()
    wrong += [f"picture {name[:8]} is named and not there" for name in missing]
    wrong += [
        f"picture {name[:8]} does not hold what its name says"
        for name in checked_files(place.config.home)
    ]
    for folder in sorted((place.config.products / VERSIONS / PRODUCT).glob("[0-9]*")):
        try:
            place.judged(folder)
        except AnomalystError as error:
            wrong.append(f"version {folder.name}: {error}")
    return wrong


def _still_left(place: Workplace) -> list[str]:
    """What neither a start two days later cleans nor the next backup."""
    _age(place.now)
    clear_left_behind(place.config)
    clear_parts(place.now)  # as the next backup does
    wrong = [f"is never cleaned: {name}" for name in hidden_below(place.now)]
    return wrong + [
        f"is never cleaned: {path.name}" for path in Path(tempfile.gettempdir()).iterdir()
    ]


def _age(folder: Path) -> None:
    """All that a kill left is made older."""
    then = time.time() - AGED_S
    for name in hidden_below(folder):
        path = folder / name
        for one in [path, *path.rglob("*")]:
            os.utime(one, (then, then))
