"""Good pictures that look odd beside the others: told when a product is taught, and decided on.

Each good picture has a score against the others, as the calibration needs it. A score that is too
high among those of the others is that of a defective part, or of a good one that nothing else
taught looks like. Which of the two a person must say: of a picture called good nothing more can be
computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anomalyst.calibration.conformal import Calibration
from anomalyst.types import Region

SET_RATE = 0.05  # of sets of good pictures alone in which one or more are called odd, at most
FEWEST = 4  # good pictures: of fewer nobody can say which is the odd one
MOST_SHARE = 0.25  # of the pictures that may be odd: more are a second kind, and no exception


@dataclass(frozen=True, slots=True, kw_only=True)
class OddPicture:
    """A good picture that looks odd beside the others."""

    image: Path
    spreads: float  # its score over the others' middle, in their spreads
    p_value: float  # in how many sets of as many good pictures one looks as odd by chance, at most
    regions: tuple[Region, ...]  # where, the oddest first, one at least
    kept: bool = False  # a person said that it is good

    @property
    def place(self) -> str:
        """Where the oddest place lies, in words and as a box."""
        first = self.regions[0]
        return f"{first.place} (box {', '.join(map(str, first.box_xyxy))})"

    def as_dict(self, file: str) -> dict[str, Any]:
        """It as plain JSON values, its picture called `file`."""
        return {
            "file": file,
            "spreads": round(self.spreads, 3),
            "p_value": round(self.p_value, 6),
            "regions": [region.as_dict() for region in self.regions],
            "kept": self.kept,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], image: Path) -> "OddPicture":
        """The odd picture of which `as_dict` gave the values."""
        return cls(
            image=image,
            spreads=float(values["spreads"]),
            p_value=float(values["p_value"]),
            regions=tuple(Region.from_dict(one) for one in values["regions"]),
            kept=bool(values["kept"]),
        )


def odd_ones(groups: Sequence[Mapping[int, float]], *, usual: bool) -> dict[int, float]:
    """Which pictures are odd among their group, by number: the p-value of each, the oddest first.

    At most one set of good pictures in `1 / SET_RATE` has any, if its scores are normal, whatever
    their spread; how often in fact, `anomalyst bench odd` counts. `usual`: scores are of the scale
    whose spread is known from drawn products; a picture must be odd by that, too.
    """
    large = [one for one in groups if len(one) >= FEWEST]
    found: dict[int, float] = {}
    for one in large:
        found |= _odd_of(one, SET_RATE / len(large), usual=usual)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _odd_of(scores: Mapping[int, float], rate: float, *, usual: bool) -> dict[int, float]:
    """The odd ones of one group.

    Generalised extreme Studentized deviate (Rosner 1983), one-sided: the k-th highest score is
    judged among those below it, for each k from the most there may be, so that two defective
    pictures do not hide each other by the spread they make. p-values are multiplied by how many
    pictures one was picked from, and by how many k there are (Bonferroni).
    """
    ordered = sorted(scores, key=lambda i: -scores[i])
    most = max(1, int(MOST_SHARE * len(ordered)))
    for count in range(most, 0, -1):
        below = Calibration(scores=tuple(scores[i] for i in ordered[count:]), method="split")
        tries = most * (len(ordered) - count + 1)
        p_values = {
            i: min(1.0, tries * _chance(scores[i], below, usual=usual)) for i in ordered[:count]
        }
        if max(p_values.values()) <= rate:
            return p_values
    return {}


def _chance(score: float, others: Calibration, *, usual: bool) -> float:
    """How seldom a good picture is as odd: by the others' spread, and not by a chance small one."""
    by_others = others.estimated_p_value(score, usual=False)
    return max(by_others, others.estimated_p_value(score)) if usual else by_others


def odd_note(undecided: Sequence[tuple[str, str]], total: int, *, kept: bool = True) -> str:
    """What a product says of itself while nobody has decided: (name, place) of each odd picture.

    `kept`: the product is kept, and can be told what was decided.
    """
    how = " (`anomalyst teach NAME --leave-odd-out` or `--keep-odd`; page Products)" if kept else ""
    named = "; ".join(f"{name} at the {place}" for name, place in undecided)
    one = len(undecided) == 1
    return (
        f"{len(undecided)} of the {total} good pictures look{'s' if one else ''} odd beside the "
        f"others, and nobody has said yet whether {'it is' if one else 'they are'} good: {named}. "
        f"A defect among the good pictures is missed from then on: leave it out or keep it{how}."
    )
