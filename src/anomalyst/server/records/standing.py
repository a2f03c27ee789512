"""The masks that hold of a picture: of each person the newest of a kind, unless it was undone."""

from collections.abc import Iterable

from anomalyst.server.records.drawn import Drawn, Said, shows_defect


def standing(said: Iterable[Said]) -> list[Said]:
    """Of what was said of one picture and not undone, newest first: the masks that hold.

    A person's mask replaces their former one of the same kind. An empty one says that there is no
    defect: it takes back all defects that the same person drew before, and a later one takes it
    back.
    """
    found: list[Said] = []
    held: set[tuple[str, str, str]] = set()  # person, defect or part, kind
    settled: set[str] = set()  # people of whose defects nothing older holds
    for row, seen in said:
        if row.kind != "mask":
            continue
        drawn = Drawn.of(row.detail)
        key = (row.by, drawn.what, drawn.label)
        if key in held or (drawn.what == "defect" and row.by in settled):
            continue
        if drawn.what == "defect" and not row.detail["boxes_xyxy"]:
            settled.add(row.by)
            if any(by == row.by and what == "defect" for by, what, _ in held):
                continue
        held.add(key)
        found.append((row, seen))
    return found


def standing_defects(said: Iterable[Said]) -> list[Said]:
    """Of those, the masks that show a defect; none is empty."""
    return [
        (row, seen)
        for row, seen in standing(said)
        if shows_defect(row) and row.detail["boxes_xyxy"]
    ]
