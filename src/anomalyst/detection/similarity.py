"""How alike a query's patches and good ones are: held whole, or row by row where they are many.

At a working side of 512 a picture has 4,096 patches at stride 8, and eight good pictures 32,768:
512 MiB of similarities, several times over. In parts the memory stays the same at any side.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from anomalyst.detection.alignment import every_second, movement_of, sure_matches

MOST_AT_ONCE = 2**24  # similarities held at once: 64 MiB of float32, in some five tensors


@dataclass(slots=True)
class Similarities:
    """Cosine similarities of a query's patches (B, N, D) to good ones (B, M, D), unit vectors."""

    units: Tensor
    rows: Tensor
    hidden: Tensor | None  # bool (N, M): pairs that count as not alike at all
    whole: Tensor | None  # (B, N, M), where that is not too much

    @classmethod
    def between(cls, units: Tensor, rows: Tensor, hidden: Tensor | None = None) -> "Similarities":
        """Whole also where gradients are wanted, for these keep every part anyway."""
        few = len(row_parts(units.shape[1], units.shape[0] * rows.shape[1])) == 1
        held = few or torch.is_grad_enabled()
        whole = _similarity(units, rows, hidden) if held else None
        return cls(units, rows, hidden, whole)

    def parts(self) -> Iterator[tuple[slice, Tensor]]:
        """Which rows of N, and their similarities (B, n, M)."""
        if self.whole is not None:
            yield slice(None), self.whole
            return
        for part in row_parts(self.units.shape[1], self.units.shape[0] * self.rows.shape[1]):
            hidden = None if self.hidden is None else self.hidden[part]
            yield part, _similarity(self.units[:, part], self.rows, hidden)

    def most(self) -> Tensor:
        """Each good patch's to the query's most similar, (B, M)."""
        return torch.stack([part.amax(1) for _, part in self.parts()]).amax(0)

    def at(self, columns: Tensor) -> Tensor:
        """Those of each patch to the few good ones it names, (B, N, C) -> (B, N, C)."""
        if self.whole is not None:
            return self.whole.gather(2, columns)
        first = torch.arange(len(columns), device=columns.device)[:, None] * self.rows.shape[1]
        good = self.rows.flatten(0, 1)
        named = [(column + first).flatten() for column in columns.unbind(2)]  # C of (B * N,)
        found = [(self.units * good[one].view_as(self.units)).sum(2) for one in named]
        if self.hidden is None:
            return torch.stack(found, 2)
        hidden = self.hidden.expand(len(columns), -1, -1).gather(2, columns)
        return torch.stack(found, 2).masked_fill(hidden, -1.0)

    @torch.no_grad()
    def movement(self, query_hw: tuple[int, int], places: Tensor) -> Tensor:
        """How the product lies, (B, K, 2, 3): as `alignment.fitted_movement` has it."""
        count = self.rows.shape[1] // len(places)
        if self.whole is not None:
            matches = [sure_matches(every_second(self.whole, query_hw), count)]
        else:
            hidden = self.hidden
            some = Similarities(
                every_second(self.units, query_hw),
                self.rows,
                None if hidden is None else every_second(hidden[None], query_hw)[0],
                None,
            )
            matches = [sure_matches(part, count) for _, part in some.parts()]
        at, sure = (torch.cat(found, 2) for found in zip(*matches, strict=True))
        return movement_of(at, sure, query_hw, places)


def row_parts(rows: int, each: int) -> list[slice]:
    """Rows in parts that hold at most `MOST_AT_ONCE` values, `each` a row."""
    most = max(1, MOST_AT_ONCE // each)
    return [slice(start, min(rows, start + most)) for start in range(0, rows, most)]


def in_float32(device: str) -> AbstractContextManager[object]:
    """Products in float32 whatever autocast says."""
    # A network that is being exported must see no autocast, not even one that is off.
    low = torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if low else nullcontext()


def _similarity(units: Tensor, rows: Tensor, hidden: Tensor | None) -> Tensor:
    # In bfloat16 the best of many alike would be drawn by lot, and the score with it.
    with in_float32(units.device.type):
        similarity = units @ rows.transpose(1, 2)  # (B, N, M)
    return similarity if hidden is None else similarity.masked_fill(hidden, -1.0)
