"""What a making is about to do, before a picture is touched: jobs, counts, faults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anomalyst.datasets.builders.build_job import Job
from anomalyst.datasets.checks import Measured
from anomalyst.datasets.findings import Fault
from anomalyst.errors import AnomalystError

HEADS = ("category", "good to train", "after", "defective", "after")
Balance = tuple[str, int, int, int, int]  # HEADS: pictures before and after


@dataclass(frozen=True, slots=True, kw_only=True)
class MakingPlan:
    """Everything `fill` needs, and what a person should know first."""

    title: str
    jobs: Sequence[Job]
    settings: Mapping[str, object]
    balance: Sequence[Balance]
    faults: Sequence[Fault] = ()
    notes: Sequence[str] = ()

    def sentences(self) -> list[str]:
        """The notes, and how even the classes are before and after."""
        said = list(self.notes)
        for name, before, after in (("good", 1, 2), ("defective", 3, 4)):
            ratios = [_unevenness([int(row[i]) for row in self.balance]) for i in (before, after)]
            if all(ratios) and ratios[0] != ratios[1]:
                said.append(
                    f"Largest class to smallest, {name} pictures: {ratios[0]:.2f} before, "
                    f"{ratios[1]:.2f} after."
                )
        return said


def refuse_mixed(category: str, pictures: Sequence[Measured]) -> None:
    """AnomalystError if some pictures are grey and some in colour: a blend of both would show."""
    grey = [one for one in pictures if one.grey]
    if grey and len(grey) < len(pictures):
        few = grey if 2 * len(grey) <= len(pictures) else [one for one in pictures if not one.grey]
        raise AnomalystError(
            f"{category}: {len(grey)} of its {len(pictures)} pictures are grey and the others in "
            f"colour, as {few[0].sample.image.name} is; a piece of one would show in the other. "
            "Save them alike, or leave one kind out."
        )


def _unevenness(counts: Sequence[int]) -> float | None:
    held = [count for count in counts if count]
    return round(max(held) / min(held), 2) if len(held) > 1 else None
