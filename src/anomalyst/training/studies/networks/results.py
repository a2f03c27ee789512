"""All that tables, plots and the paper of the study are made of, and its file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.classifiers.costs import Costs, FormatCost
from anomalyst.evaluation.classifiers.delong import Difference
from anomalyst.evaluation.classifiers.figures import ClassifierFigures
from anomalyst.io.files import write_text

RESULTS = "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """One run of an arm, judged on the test split."""

    arm: str
    group: str
    network: str
    seed: int
    parameters: int  # trainable
    seconds: float  # of training
    figures: ClassifierFigures
    curve: tuple[Mapping[str, float], ...]  # lines of the log, thinned


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What the study found; `results.json` holds all of it, so that pages can be made anew."""

    study: Mapping[str, Any]  # what was asked
    recipes: Mapping[str, Mapping[str, Any]]  # arm -> its recipe as run with seed 0
    counts: Mapping[str, Mapping[str, int]]  # split -> class -> pictures
    trained: tuple[Trained, ...]
    stopped: Mapping[str, str]  # arm and seed -> why it has no figures
    against_best: Mapping[str, tuple[Difference, ...]]  # arm -> by seed, its AUROC less the best's
    costs: tuple[Costs, ...]
    machine: str

    def of(self, arm: str) -> list[Trained]:
        """The runs of an arm, by seed."""
        return [one for one in self.trained if one.arm == arm]

    def arms(self, *groups: str) -> list[str]:
        """Names in the order in which they are trained."""
        return list(dict.fromkeys(one.arm for one in self.trained if one.group in groups))

    def aurocs(self, arm: str) -> list[float]:
        """By seed."""
        return [one.figures.area.value for one in self.of(arm)]

    def best(self, *groups: str, networks: Sequence[str] = ()) -> str:
        """The arm of the highest mean AUROC, of these groups and networks; all if none is named.

        "" where there is none.
        """
        chosen = [
            one.arm
            for one in self.trained
            if (not groups or one.group in groups) and (not networks or one.network in networks)
        ]
        arms = dict.fromkeys(chosen)
        return max(arms, key=lambda arm: float(np.mean(self.aurocs(arm))), default="")

    @property
    def seeds(self) -> int:
        """Of each arm but those of an ablation."""
        return max(len(self.of(arm)) for arm in self.arms("scratch"))


def write_results(out: Path, results: Results) -> None:
    """OUT/results.json."""
    plain = asdict(results)
    for row, one in zip(plain["trained"], results.trained, strict=True):
        row["figures"] = one.figures.to_dict()
    write_text(out / RESULTS, json.dumps(plain, indent=1) + "\n")


def read_results(out: Path) -> Results:
    """What `write_results` wrote. Raises AnomalystError where there is none, or another file."""
    path = out / RESULTS
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        return Results(
            study=plain["study"],
            recipes=plain["recipes"],
            counts=plain["counts"],
            trained=tuple(
                Trained(**{**row, "figures": ClassifierFigures.from_dict(row["figures"])})
                for row in plain["trained"]
            ),
            stopped=plain["stopped"],
            against_best={
                arm: tuple(Difference(**one) for one in row)
                for arm, row in plain["against_best"].items()
            },
            costs=tuple(
                Costs(**{**row, "formats": tuple(FormatCost(**one) for one in row["formats"])})
                for row in plain["costs"]
            ),
            machine=plain["machine"],
        )
    except FileNotFoundError as error:
        raise AnomalystError(
            f"{path}: is not there; the study writes it when its runs have ended."
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise AnomalystError(f"{path}: holds no results of this study ({error!r}).") from error
