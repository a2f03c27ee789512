"""SKAB, a water circuit with valves (Katser and Kozitsin 2020): its files, and its F1, FAR, MAR."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from anomalyst.errors import AnomalystError

TRAINED_ON = 400  # first rows of each file that its notebooks learn from; the others are judged
NOT_VALUES = ("datetime", "anomaly", "changepoint")


@dataclass(frozen=True, slots=True, kw_only=True)
class SkabFile:
    """One experiment."""

    name: str  # as in valve1/0
    values: np.ndarray  # float32 (T, 8)
    anomalous: np.ndarray  # bool (T,)


def read_skab(folder: Path) -> list[SkabFile]:
    """The labelled experiments of a copy of the repository (its `data` folder, or that above it).

    Raises AnomalystError if there are none.
    """
    root = folder / "data" if (folder / "data").is_dir() else folder
    paths = sorted(path for path in root.glob("*/*.csv") if path.parent.name != "anomaly-free")
    if not paths:
        raise AnomalystError(
            f"{folder}: holds no experiments; the folder of SKAB with valve1/0.csv is needed."
        )
    return [_read(path) for path in paths]


def _read(path: Path) -> SkabFile:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    if len(rows) <= TRAINED_ON or "anomaly" not in rows[0]:
        raise AnomalystError(
            f"{path}: is no experiment of SKAB; more than {TRAINED_ON} rows with a column "
            "'anomaly' are needed."
        )
    names = [name for name in rows[0] if name not in NOT_VALUES]
    return SkabFile(
        name=f"{path.parent.name}/{path.stem}",
        values=np.array([[float(row[name]) for name in names] for row in rows], np.float32),
        anomalous=np.array([float(row["anomaly"]) == 1 for row in rows]),
    )


@dataclass(frozen=True, slots=True)
class Rates:
    """As in SKAB's leaderboard for outliers, over the samples of all files together."""

    f1: float  # [0, 1]
    far: float  # percent of good samples called anomalous
    mar: float  # percent of anomalous samples not called so


def rates(truth: Sequence[np.ndarray], called: Sequence[np.ndarray]) -> Rates:
    """Bool arrays (T_i,) each -> rounded to two digits as there; 0 where nothing can be missed."""
    true, said = np.concatenate(list(truth)), np.concatenate(list(called))
    hit, missed = int((true & said).sum()), int((true & ~said).sum())
    alarms, quiet = int((~true & said).sum()), int((~true & ~said).sum())
    return Rates(
        f1=round(_share(hit, hit + (missed + alarms) / 2), 2),
        far=round(100 * _share(alarms, alarms + quiet), 2),
        mar=round(100 * _share(missed, missed + hit), 2),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
