"""The few-shot memory bank: every patch of the good pictures, and how far a query is from them.

PatchCore (Roth et al. 2022) with cosine distance, as AnomalyGPT's and AnomalyDINO's few-shot
branch; nothing is trained. Also what follows from comparing good pictures with each other: whether
the product lies any way round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.errors import AnomalystError
from anomalyst.types import Features

Search = Literal["exact", "faiss"]

CACHED_MB = 8  # larger blocks leave a CPU's cache: up to 5 times slower at 8 features a patch
PROJECTED_WIDTH = 128  # for choosing a coreset (PatchCore's code; Johnson-Lindenstrauss)


@dataclass(slots=True, eq=False)
class MemoryBank:
    """Per level the unit vectors of good patches, float32 (M_l, D_l)."""

    levels: list[Tensor]
    search: Search = "exact"
    _indices: list[Any] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.search == "faiss":
            self._indices = [_faiss_index(rows) for rows in self.levels]

    @classmethod
    def build(
        cls,
        features: Features,
        *,
        coreset: float | None = None,
        seed: int = 0,
        search: Search = "exact",
    ) -> Self:
        """A bank of all patches of the good pictures, or of the share `coreset` in (0, 1] of them.

        `search="faiss"` finds the same neighbours with FAISS. Raises AnomalystError if FAISS is
        not installed, or for a share outside (0, 1].
        """
        if coreset is not None and not 0 < coreset <= 1:
            raise AnomalystError(f"coreset is {coreset}; a share above 0 and up to 1 is needed.")
        levels = [_unit_rows(level) for level in features.levels]
        if coreset is not None:
            counts = [max(1, round(coreset * len(rows))) for rows in levels]
            levels = [
                rows[greedy_coreset(rows, n, seed=seed)]
                for rows, n in zip(levels, counts, strict=True)
            ]
        return cls(levels, search)

    def extended_with(self, features: Features) -> Self:
        """A new bank that also holds every patch of these good pictures."""
        self._refuse_other_widths(features)
        pairs = zip(self.levels, features.levels, strict=True)
        return type(self)([torch.cat([rows, _unit_rows(new)]) for rows, new in pairs], self.search)

    def distances(self, query: Features, *, max_mb: int = 64) -> list[Tensor]:
        """How far each query patch is from the nearest good one, per level (B, h, w) in [0, 2].

        1 - cosine similarity. The exact search never holds more than `max_mb` MiB of temporaries.
        """
        self._refuse_other_widths(query)
        found = []
        for index, level in enumerate(query.levels):
            if self.search == "faiss":
                similarity = _faiss_similarity(self._indices[index], level)
            else:
                similarity = _best_similarity(level, self.levels[index], max_mb)
            found.append((1 - similarity).clamp_(0, 2).unflatten(1, level.shape[-2:]))
        return found

    def state(self) -> dict[str, Tensor]:
        """The bank as named tensors, for safetensors."""
        return {f"level{i}": rows.contiguous() for i, rows in enumerate(self.levels)}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], *, search: Search = "exact") -> Self:
        """The bank of which `state()` gave the tensors. Raises AnomalystError for any others."""
        names = [f"level{i}" for i in range(len(state))]
        if not names or set(names) != set(state) or any(t.ndim != 2 for t in state.values()):
            raise AnomalystError(
                f"a memory bank of {sorted(state)}: matrices level0, level1, ... are needed; "
                "teach the product again."
            )
        return cls([state[name].float() for name in names], search)

    def _refuse_other_widths(self, features: Features) -> None:
        ours = [rows.shape[1] for rows in self.levels]
        theirs = [level.shape[1] for level in features.levels]
        if ours != theirs:
            raise AnomalystError(
                f"this memory bank holds features of widths {ours}, the picture's have {theirs}; "
                "use the encoder the product was taught with, or teach it again."
            )


def _unit_rows(level: Tensor) -> Tensor:
    """(B, D, h, w) -> unit vectors (B * N, D), float32."""
    return F.normalize(level.flatten(2).transpose(1, 2).flatten(0, 1).float(), dim=1)


def _best_similarity(level: Tensor, rows: Tensor, max_mb: int) -> Tensor:
    """Cosine similarity to the most similar row: (B, D, h, w), (M, D) -> (B, N).

    One matrix product per block; a block's unit vectors and similarities share the `max_mb`.
    """
    batch, width = level.shape[:2]
    if level.device.type == "cpu":
        max_mb = min(max_mb, CACHED_MB)
    floats = max(1, max_mb * 2**20 // 4)
    # A block of the bank leaves room for at least 64 queries, or large banks would go row by row.
    most_rows = min(len(rows), max(1, floats // 64))
    most_queries = max(1, floats // (most_rows + 3 * width))
    best = torch.full((batch, level.shape[2] * level.shape[3]), -1.0, device=level.device)
    for picture, found in zip(level.flatten(2), best, strict=True):  # (D, N), (N,)
        for start in range(0, len(found), most_queries):
            part = slice(start, start + most_queries)
            units = F.normalize(picture[:, part].T.float(), dim=1)
            for first in range(0, len(rows), most_rows):
                similarity = units @ rows[first : first + most_rows].T
                torch.maximum(found[part], similarity.amax(1), out=found[part])
                del similarity  # or two blocks would be alive while the next one is made
    return best


def _faiss_index(rows: Tensor) -> Any:
    try:
        import faiss
    except ImportError:
        raise AnomalystError(
            "search 'faiss' needs FAISS, which is not installed; run `pip install faiss-cpu`, or "
            "use search 'exact'."
        ) from None
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(np.ascontiguousarray(rows.cpu().numpy(), dtype=np.float32))
    return index


def _faiss_similarity(index: Any, level: Tensor) -> Tensor:
    """As `_best_similarity`, by a FAISS index of inner products."""
    units = _unit_rows(level).cpu().numpy()
    similarity, _ = index.search(np.ascontiguousarray(units), 1)  # (B * N, 1)
    return torch.from_numpy(similarity).to(level.device).reshape(len(level), -1)


def greedy_coreset(rows: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """Row numbers, int64 (count,), that leave no row far from a chosen one: (M, D) -> k-centre.

    Greedy farthest-point choice (PatchCore eq. 5; Sener and Savarese 2018), a 2-approximation, on
    a random projection of wide rows. Memory beside the projection is three vectors of M.
    """
    rows = _projected(rows, seed)
    total = len(rows)
    count = min(count, total)
    norms = torch.linalg.vector_norm(rows, dim=1).square_()  # (M,), and no M x D square
    gaps = torch.full_like(norms, float("inf"))
    fresh = torch.empty_like(norms)  # the one buffer, filled anew for every centre
    chosen = torch.empty(count, dtype=torch.int64, device=rows.device)
    centre = int(torch.randint(total, (1,), generator=torch.Generator().manual_seed(seed)))
    for i in range(count):
        chosen[i] = centre
        # |x - c|^2 = |x|^2 - 2 x.c + |c|^2, without an M x D difference.
        torch.mv(rows, rows[centre], out=fresh)
        fresh.mul_(-2).add_(norms).add_(norms[centre])
        torch.minimum(gaps, fresh, out=gaps)
        # Rounding may leave a twin of a centre a hair away from it, but never below this.
        gaps[centre] = -float("inf")
        centre = int(gaps.argmax())
    return chosen


def _projected(rows: Tensor, seed: int) -> Tensor:
    width = rows.shape[1]
    if width <= PROJECTED_WIDTH:
        return rows.float()
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(width, PROJECTED_WIDTH, generator=generator) / PROJECTED_WIDTH**0.5
    return rows.float() @ matrix.to(rows.device)


def fuse(maps: Sequence[Tensor], size_hw: tuple[int, int]) -> Tensor:
    """Mean over levels after bilinear growth to one size: (B, h_l, w_l) each -> (B, H, W)."""
    grown = torch.zeros(maps[0].shape[0], *size_hw, device=maps[0].device)
    for one in maps:
        grown += F.interpolate(
            one[:, None].float(), size=size_hw, mode="bilinear", align_corners=False
        )[:, 0]
    return grown / len(maps)
