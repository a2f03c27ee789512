"""Others' ways of scoring an encoder's features, to measure the pair decoder against."""

from collections.abc import Callable

from anomalyst.detection.peers.base import FEW, Peer
from anomalyst.detection.peers.nearest import AnomalyDINO, NearestPatch
from anomalyst.detection.peers.padim import PaDiM
from anomalyst.detection.peers.patchcore import PatchCore
from anomalyst.detection.peers.spade import SPADE
from anomalyst.detection.peers.subspace import Subspace
from anomalyst.encoders.base import Encoder

__all__ = ["FEW", "PEERS", "Peer"]

PEERS: dict[str, Callable[[Encoder], Peer]] = {
    "PatchCore": PatchCore,
    "PaDiM": PaDiM,
    "SPADE": SPADE,
    "AnomalyDINO's recipe": AnomalyDINO,
    "PCA as SubspaceAD": Subspace,
    "nearest patch": NearestPatch,
}
