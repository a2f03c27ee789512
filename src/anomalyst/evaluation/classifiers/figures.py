"""All figures of one classifier on one labelled set, as they are kept beside a run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.classifiers.delong import (
    Area,
    area,
    checked_probabilities,
    macro_area,
)
from anomalyst.evaluation.classifiers.reliability import Reliability, reliability
from anomalyst.evaluation.metrics import rank

MOST_POINTS = 200  # of a kept ROC curve; a screen shows no more


@dataclass(frozen=True, slots=True, kw_only=True)
class RocCurve:
    """False alarm rate and recall, (P,) each from (0, 0) to (1, 1), P <= 200."""

    false_alarms: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierFigures:
    """What a classifier is worth on `count` cases.

    `area`: of two classes the second's AUROC, of more the mean over classes against the rest; nan
    where a class has no case. `areas` and `curves`: by class, of two classes only the second's.
    `confusion[i][j]`: cases of class i called j.
    """

    classes: tuple[str, ...]
    count: int
    accuracy: float
    area: Area
    areas: Mapping[str, Area]
    curves: Mapping[str, RocCurve]
    confusion: tuple[tuple[int, ...], ...]
    reliability: Reliability

    @property
    def ece(self) -> float:
        """Expected calibration error, see `Reliability`."""
        return self.reliability.ece

    @property
    def brier(self) -> float:
        """Brier score, see `Reliability`."""
        return self.reliability.brier

    @property
    def nll(self) -> float:
        """Negative log-likelihood, see `Reliability`."""
        return self.reliability.nll

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not a number (nan) becomes None."""
        plain: dict[str, Any] = _without_nan(asdict(self))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ClassifierFigures":
        """What `to_dict` wrote; AnomalystError names what is missing or not understood."""
        try:
            return cls(
                classes=tuple(values["classes"]),
                count=int(values["count"]),
                accuracy=float(values["accuracy"]),
                area=_read_area(values["area"]),
                areas={name: _read_area(one) for name, one in values["areas"].items()},
                curves={name: RocCurve(**_tuples(one)) for name, one in values["curves"].items()},
                confusion=tuple(tuple(row) for row in values["confusion"]),
                reliability=Reliability(**_tuples(values["reliability"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AnomalystError(
                f"These are not a classifier's figures ({error!r}); figures.json of a supervised "
                "run is needed."
            ) from error


def classifier_figures(
    labels: Sequence[int] | np.ndarray, probabilities: np.ndarray, classes: Sequence[str]
) -> ClassifierFigures:
    """Figures of probabilities (N, K), rows summing to 1, for labels (N,) of 0 .. K-1.

    `classes` (K,) are the columns' names. Raises AnomalystError for what does not fit together.
    """
    truth, columns = checked_probabilities(labels, probabilities)
    names = tuple(classes)
    if len(names) != columns.shape[1] or len(set(names)) < len(names):
        raise AnomalystError(
            f"There are {len(names)} names of classes ({', '.join(names)}) for {columns.shape[1]} "
            "columns of probabilities; one different name per column is needed."
        )
    shown = range(1, 2) if len(names) == 2 else range(len(names))
    areas = {names[k]: area(truth == k, columns[:, k]) for k in shown}
    complete = all((truth == k).any() for k in range(len(names)))
    nowhere = Area(math.nan, math.nan, math.nan, math.nan)
    if len(names) == 2:
        whole = areas[names[1]]
    else:
        whole = macro_area(truth, columns) if complete else nowhere
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confusion, (truth, columns.argmax(1)), 1)
    return ClassifierFigures(
        classes=names,
        count=len(truth),
        accuracy=float((columns.argmax(1) == truth).mean()),
        area=whole,
        areas=areas,
        curves={names[k]: _curve(truth == k, columns[:, k]) for k in shown},
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        reliability=reliability(truth, columns),
    )


def _curve(truth: np.ndarray, scores: np.ndarray) -> RocCurve:
    """Thinned evenly along its length, so that a steep start keeps its shape."""
    ranking = rank(truth.astype(int), scores)
    if not ranking.has_both():
        return RocCurve(false_alarms=(), recall=())
    alarms, recall = ranking.roc()
    along = alarms + recall  # from 0 to 2, rising
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], MOST_POINTS)))
    return RocCurve(false_alarms=tuple(alarms[kept].tolist()), recall=tuple(recall[kept].tolist()))


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _read_area(values: Mapping[str, float | None]) -> Area:
    return Area(**{name: math.nan if value is None else value for name, value in values.items()})


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
