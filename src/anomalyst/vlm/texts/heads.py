"""Two small heads on a text model's vectors, fitted in closed form: a note's kind, its record."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from anomalyst.io.files import write_bytes

FILE = "heads.safetensors"
RIDGE = 1.0  # times the mean variance of a feature


@dataclass(frozen=True, slots=True)
class Heads:
    """What was fitted: vectors (N, D) -> kinds, and a note's -> where its record lies."""

    kinds: tuple[str, ...]
    to_kind: Tensor  # (D + 1, K), the last row for a constant one
    to_record: Tensor  # (D + 1, D)
    centre: Tensor  # (D,): of records, taken off before they are compared

    def kind_of(self, notes: Tensor) -> tuple[list[str], Tensor]:
        """Vectors (N, D) of notes -> each one's kind, and how clear it is: (N,), 0 to 1.

        Clear: by how much the best kind's score is above the second's.
        """
        scores = with_one(notes) @ self.to_kind  # (N, K)
        best = scores.topk(2, dim=1)
        clear = (best.values[:, 0] - best.values[:, 1]).clamp(0, 1)
        return [self.kinds[i] for i in best.indices[:, 0].tolist()], clear

    def query(self, notes: Tensor) -> Tensor:
        """Vectors (N, D) of notes or questions -> where their records lie, unit length (N, D)."""
        return F.normalize(with_one(notes) @ self.to_record, dim=1)

    def record(self, records: Tensor) -> Tensor:
        """Vectors (N, D) of records, to be compared with `query`'s: unit length (N, D)."""
        return F.normalize(records - self.centre, dim=1)

    @classmethod
    def fit(
        cls, notes: Tensor, records: Tensor, kinds: Sequence[str], labelled: int | None = None
    ) -> Self:
        """From vectors (N, D) of notes and of their records, and each note's kind.

        Ridge regressions: of one-hot kinds (of the first `labelled` notes, None: of all), and of
        the record's vector.
        """
        names = tuple(sorted(set(kinds)))
        wanted = F.one_hot(torch.tensor([names.index(kind) for kind in kinds]), len(names)).float()
        few = slice(labelled)
        centre = records.mean(0)
        return cls(
            kinds=names,
            to_kind=ridge(notes[few], wanted[few]),
            to_record=ridge(notes, F.normalize(records - centre, dim=1)),
            centre=centre,
        )

    def save(self, folder: Path) -> None:
        """Beside the model's weights."""
        tensors = {"to_kind": self.to_kind, "to_record": self.to_record, "centre": self.centre}
        whole = {name: value.contiguous() for name, value in tensors.items()}
        write_bytes(folder / FILE, save(whole, metadata={"kinds": "\n".join(self.kinds)}))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Of a model's folder; None: there are none."""
        if not (folder / FILE).is_file():
            return None
        with safe_open(folder / FILE, "pt") as file:
            kinds = tuple(file.metadata()["kinds"].split("\n"))
            names = ("to_kind", "to_record", "centre")
            return cls(kinds, *(file.get_tensor(name) for name in names))


def ridge(features: Tensor, wanted: Tensor) -> Tensor:
    """Weights (D + 1, K) of least squares with a ridge: features (N, D) -> wanted (N, K)."""
    known = with_one(features).double()
    deviation = known - known.mean(0)
    strength = RIDGE * deviation.square().sum() / len(known) / features.shape[1] + 1e-9
    penalty = torch.eye(known.shape[1], dtype=torch.float64) * strength
    penalty[-1, -1] = 0.0  # the constant is free
    return torch.linalg.solve(known.T @ known + penalty, known.T @ wanted.double()).float()


def with_one(features: Tensor) -> Tensor:
    """(N, D) -> (N, D + 1) with a constant one."""
    return torch.cat([features, torch.ones_like(features[:, :1])], 1)
