"""What a product's inspections add up to: counts, recent scores, drift."""

from typing import Any

from anomalyst.calibration.conformal import Calibration
from anomalyst.calibration.drift import ALARM_AT, DriftTest, causes
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import InspectionRow

RECENT = 200  # inspections that a product's page shows
COMPARED = 12  # newest of them that tell what has moved: an alarm comes soon after a change


def accepted_scores(
    calibration: Calibration, false_alarm_rate: float, normal_to: float | None = None
) -> list[float]:
    """The calibration scores of which the verdict would have been "normal".

    `normal_to`: the highest normal score, where a rule decides and not the rate.
    """
    if normal_to is not None:
        return [score for score in calibration.scores if score <= normal_to]
    least = 2 * false_alarm_rate
    return [score for score in calibration.scores if calibration.p_value(score) > least]


def _accepted(row: InspectionRow) -> bool:
    """Whether the score alone called the part normal, whatever acceptance rules made of it."""
    return ((row.record or {}).get("verdict_before_rules") or row.verdict) == "normal"


def drift_test(summary: dict[str, Any], false_alarm_rate: float) -> DriftTest:
    """A fresh test on the scores of a product's parts called normal."""
    calibration = Calibration.from_dict(summary["calibration"])
    rule = summary["rule"]
    normal_to = rule["normal_to"] if rule else None
    return DriftTest(accepted_scores(calibration, false_alarm_rate, normal_to))


def statistics(store: Store, summary: dict[str, Any]) -> dict[str, Any]:
    """What a product's page shows."""
    name, rate = summary["name"], store.false_alarm_rate(summary["name"])
    revision = summary["revision"]
    calibration = Calibration.from_dict(summary["calibration"])
    rows = store.scores(name, RECENT)
    test = drift_test(summary, rate)
    # The strength of the evidence after each inspection; None where the part was not accepted, or
    # by the product as it was before: its scores may be of another scale.
    strength = [
        test.see(row.score)
        if _accepted(row) and row.score is not None and row.revision == revision
        else None
        for row in rows
    ]
    newest = [(row.record or {}).get("conditions", {}) for row in rows if row.revision == revision]
    moved = causes(
        summary["conditions"] or [], newest[-COMPARED:], placed=summary["pose"] == "fixed"
    )
    counts = {verdict: count for (_, verdict), count in store.verdicts(name).items()}
    return {
        "product": name,
        "counts": counts,
        "false_alarm_rate": rate,
        "guaranteed": calibration.enough_for(rate),
        "rule": summary["rule"],
        "calibration": {"method": calibration.method, "scores": list(calibration.scores)},
        "drift": {
            "strength": next((s for s in reversed(strength) if s is not None), 1.0),
            "alarm_at": ALARM_AT,
            "alarm": any(s is not None and s >= ALARM_AT for s in strength),
            "moved": moved,
        },
        "recent": [
            {
                "id": row.id,
                "created_at": row.created_at.isoformat(),
                "score": row.score,
                "verdict": row.verdict,
                "drift": evidence,
                "revision": row.revision,
            }
            for row, evidence in zip(rows, strength, strict=True)
        ],
    }
