"""What a product learnt from judgements, said: a table before and after, and sentences."""

from typing import Any

Row = tuple[str, str, str]  # what, before, after


def table(found: dict[str, Any]) -> list[Row]:
    """Figures of a learning as rows."""
    before, after = found["before"], found["after"]
    spoiled, fine = found["spoiled"], found["fine"]
    rows = [
        (f"false alarms, of {fine} called fine", before["alarms"], after["alarms"]),
        (f"missed, of {spoiled} called spoiled", before["missed"], after["missed"]),
        (f"unsure, of {spoiled + fine}", before["unsure"], after["unsure"]),
        ("AUROC", _number(before["auroc"]), _number(after["auroc"])),
        ("false alarms, good pictures taught", *map(_part, (before, after))),
        ("threshold of the score", _number(before["threshold"]), _number(after["threshold"])),
        ("good pictures that calibrate", before["calibrates"], after["calibrates"]),
    ]
    return [(what, str(one), str(other)) for what, one, other in rows]


def sentences(found: dict[str, Any]) -> list[str]:
    """How it was measured, and what was chosen and why."""
    held, aside = found["held_out"], found["aside"]
    more = f"; {aside} more did not teach" if aside else ""
    said = [
        f"After: each of {held} judged pictures by a rule learnt without it (cross-validation)"
        f"{more}. Before: the product without what people judged. A spoiled one that is only "
        "unsure costs as one that is missed."
    ]
    said += [f"{reason[0].upper()}{reason[1:]}." for reason in found["reasons"]]
    if found["taken"]:
        said.append(
            "The verdict is by this threshold, and no longer by the false-alarm rate; p-values are "
            "still of good pictures alone."
        )
        if found["head"]:
            said.append("Scores are the head's log-odds now, so thresholds cannot be compared.")
    return said


def passed_over(found: dict[str, Any]) -> list[str]:
    """Judged pictures that could not be learnt from: why, how many, which."""
    return [
        f"{one['count']} passed over, {why}: {', '.join(one['names'])}"
        + (" and more" if one["count"] > len(one["names"]) else "")
        for why, one in found["passed"].items()
    ]


def told(product: str, found: dict[str, Any], dry_run: bool = False) -> list[str]:
    """All of it as lines."""
    lines = [f"{'':38}{'before':>10}{'after':>10}"]
    lines += [f"{what:38}{before:>10}{after:>10}" for what, before, after in table(found)]
    lines += [*sentences(found), *(f"{one}." for one in passed_over(found))]
    lines += [
        f"{one['name']}, called {one['called']}: {one['before']} -> {one['after']}"
        for one in found["changed"]
    ]
    state = "would be " if dry_run else ""
    done = f"{state}learnt" if found["taken"] else f"{state}not taken"
    return [*lines, f"{product}: {done}; {found['reason']}"]


def _part(side: dict[str, Any]) -> str:
    alarms, count = side["good_alarms"]
    return f"{alarms} of {count}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
