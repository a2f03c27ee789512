"""What became of a proposed language model: the record that is kept beside it."""

from dataclasses import dataclass
from typing import Any, Self

from anomalyst.evaluation.gate.figures import ROWS, GateDecision, GateFigures, RowFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What became of a proposed model."""

    version: str
    live: GateFigures  # of the model that was live
    live_version: str
    new: GateFigures
    decision: GateDecision
    fingerprint: str  # of the gate: dialogues and record together
    dialogues: int
    recorded: int  # questions of last month's record
    left_out: int  # of it, because somebody judged the answer
    proposed: str  # ISO 8601, UTC
    by: str
    frozen: str = ""  # fingerprint of the dialogues alone; empty: a record of before
    frozen_before: str = ""  # of those that the last proposal was judged on; empty: not known

    @property
    def note(self) -> str:
        """What must be known to compare these figures with those of the last proposal."""
        if self.frozen_before in ("", self.frozen):
            return ""
        return (
            f"The held-out questions are not those of the last proposal ({self.frozen_before}), so "
            "its figures cannot be compared with these."
        )

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        figures = {"live": self.live.as_dict(), "new": self.new.as_dict()}
        plain = (
            "version", "live_version", "fingerprint", "dialogues", "recorded", "left_out",
            "proposed", "by", "frozen", "frozen_before",
        )  # fmt: skip
        decided = {"passes": self.decision.passes, "reasons": list(self.decision.reasons)}
        held = {name: getattr(self, name) for name in plain}
        return held | figures | decided

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The proposal of which `as_dict` gave the values."""
        held = {k: v for k, v in values.items() if k not in ("passes", "reasons")}
        return cls(
            **held
            | {
                "live": GateFigures.from_dict(values["live"]),
                "new": GateFigures.from_dict(values["new"]),
                "decision": GateDecision(values["passes"], tuple(values["reasons"])),
            }
        )


def gate_table(proposal: Proposal) -> list[tuple[str, str, str]]:
    """What the gate counted, a row each: what, the live model's, the new one's."""
    figures = (proposal.live, proposal.new)

    def right(row: RowFigures) -> str:
        return f"{row.right} of {row.answers}" if row.answers else "none asked"

    table = [(f"{row}, right", *(right(one.rows[row]) for one in figures)) for row in ROWS]
    counted = {
        "contradictions": "contradictions, in its own words",
        "unfinished": "answers without an end",
        "silent": "recorded questions, nothing claimed",
        "words": "words of an answer",
        "shown_contradictions": "contradictions, shown",
        "corrected": "shown answers that grounding cut",
    }
    for name, words in counted.items():
        found = (getattr(one, name) for one in figures)
        table.append((words, *("not judged" if n is None else f"{n:g}" for n in found)))
    return [(what, live, new) for what, live, new in table]
