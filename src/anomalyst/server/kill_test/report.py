"""Kills as a table: where they hit, what was left, what was wrong."""

from collections import Counter
from collections.abc import Sequence

from anomalyst.server.kill_test.rounds import Kill

PLACES = ("nothing yet", "between writes", "pictures", "product", "versions", "backup", "database")
HEADS = ["killed", "times", *PLACES, "all done", "steps hit", "acknowledged", "half-written",
         "wrong"]  # fmt: skip


def under_way(kill: Kill) -> str:
    """What was being done when it was killed, as one of `PLACES`."""
    step = kill.last_step
    if step == "nothing written yet":
        return "nothing yet"
    if kill.computing:
        return "between writes"
    if "home/pictures" in step:
        return "pictures"
    if "products/.versions" in step:
        return "versions"
    if "products" in step or "exchange folders" in step or "home/.part" in step:
        return "product"
    return "backup" if ".gz" in step or ".part" in step else "database"


def row(name: str, kills: Sequence[Kill]) -> list[str]:
    """Some kills as a row."""
    going = [kill for kill in kills if not kill.finished]
    places = Counter(under_way(kill) for kill in going)
    return [
        name,
        str(len(kills)),
        *(str(places[place]) for place in PLACES),
        str(len(kills) - len(going)),
        str(len({kill.last_step for kill in going})),
        str(sum(kill.acknowledged for kill in kills)),
        str(sum(kill.left for kill in kills)),
        str(sum(bool(kill.problems) for kill in kills)),
    ]
