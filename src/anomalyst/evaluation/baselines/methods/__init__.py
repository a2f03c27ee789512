"""Others' ways of scoring an encoder's features, to measure the pair decoder against."""

from collections.abc import Callable

from anomalyst.backbones.base import Encoder
from anomalyst.evaluation.baselines.methods.base import FEW, Baseline
from anomalyst.evaluation.baselines.methods.nearest import AnomalyDINO, NearestPatch
from anomalyst.evaluation.baselines.methods.padim import PaDiM
from anomalyst.evaluation.baselines.methods.patchcore import PatchCore
from anomalyst.evaluation.baselines.methods.spade import SPADE
from anomalyst.evaluation.baselines.methods.subspace import Subspace

__all__ = ["FEW", "BASELINES", "Baseline"]

BASELINES: dict[str, Callable[[Encoder], Baseline]] = {
    "PatchCore": PatchCore,
    "PaDiM": PaDiM,
    "SPADE": SPADE,
    "AnomalyDINO's recipe": AnomalyDINO,
    "PCA as SubspaceAD": Subspace,
    "nearest patch": NearestPatch,
}
