"""What a language model did on a gate, and whether it may take the live one's place."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Row = Literal["presence", "place", "kind", "count"]
ROWS: tuple[Row, ...] = ("presence", "place", "kind", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFigures:
    """Answers that give what was asked for, and answers that give something else."""

    right: int = 0
    wrong: int = 0

    @property
    def answers(self) -> int:
        """Right or wrong."""
        return self.right + self.wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class GateFigures:
    """What a model did on the items of a gate.

    `rows`, `contradictions`, `unfinished`, `silent` and `words` are of the model's own words, the
    likeliest ones and unchecked; `shown_contradictions` and `corrected` of what people would be
    shown (None: not judged, for the model's own words had decided already).
    """

    items: int
    rows: dict[str, RowFigures]
    contradictions: int  # answers that go against the facts
    unfinished: int  # answers without an end, or empty
    silent: int = 0  # other answers to recorded questions that claim nothing of what is judged
    words: float  # of an answer, at the mean
    seconds: float
    wrong_items: dict[str, tuple[int, ...]] = field(default_factory=dict)  # where, by row
    shown_contradictions: int | None = None  # once grounded: none, or grounding is broken
    corrected: int | None = None  # answers of which grounding cut something

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The figures of which `as_dict` gave the values."""
        rows = {name: RowFigures(**row) for name, row in values["rows"].items()}
        where = {name: tuple(indices) for name, indices in values["wrong_items"].items()}
        return cls(**values | {"rows": rows, "wrong_items": where})


@dataclass(frozen=True, slots=True)
class GateDecision:
    """Whether a model may go live, and every reason why not."""

    passes: bool
    reasons: tuple[str, ...] = ()


def compare(live: GateFigures, new: GateFigures) -> GateDecision:
    """Whether `new` is no worse than `live` on the same items: counts as they are, no tolerance.

    A gate that forgives what chance explains would let many small losses add up.
    """
    reasons = []
    for row in ROWS:
        ours, theirs = new.rows[row], live.rows[row]
        if ours.wrong > theirs.wrong:
            reasons.append(
                f"{row}: {ours.wrong} of {ours.answers} wrong, "
                f"the live model has {theirs.wrong} of {theirs.answers}."
            )
    if new.unfinished > live.unfinished:
        reasons.append(
            f"unfinished: {new.unfinished} of {new.items} answers have no end, the live model has "
            f"{live.unfinished}."
        )
    if new.silent > live.silent:
        reasons.append(
            f"silent: {new.silent} answers to recorded questions claim nothing, the live model has "
            f"{live.silent} such."
        )
    if new.contradictions > live.contradictions:
        reasons.append(
            f"contradictions: {new.contradictions} of {new.items} answers go against the facts, "
            f"the live model has {live.contradictions}."
        )
    if new.shown_contradictions:
        reasons.append(
            f"contradictions: {new.shown_contradictions} answers would be shown that go against "
            "the facts; none may."
        )
    return GateDecision(not reasons, tuple(reasons))
