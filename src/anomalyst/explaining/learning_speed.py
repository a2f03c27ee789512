"""How fast each layer learns: how like its features are to those it ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSpeed:
    """One layer over the checkpoints."""

    layer: str
    likeness: tuple[float, ...]  # linear CKA with the last checkpoint's features, [0, 1]

    def reached(self, steps: Sequence[int], likeness: float = 0.9) -> int | None:
        """The first step from which on it stays at least so like its end."""
        late = [s for s, value in zip(steps, self.likeness, strict=True) if value < likeness]
        after = [s for s in steps if not late or s > late[-1]]
        return after[0] if after else None


def linear_cka(one: Tensor, other: Tensor) -> float:
    """How alike two representations of the same N examples are: (N, D) and (N, D') -> [0, 1].

    Unchanged by rotations and scales. Kornblith et al., Similarity of Neural Network
    Representations Revisited, ICML 2019 (arXiv:1905.00414), equation 4 with linear kernels.
    """
    a, b = (x.double() - x.double().mean(0) for x in (one, other))
    # The Gram matrices are N x N, whatever the width.
    gram_a, gram_b = a @ a.T, b @ b.T
    both = (gram_a * gram_b).sum()
    lengths = gram_a.norm() * gram_b.norm()
    return float(both / lengths) if float(lengths) > 0 else 0.0


def learning_speeds(features: Sequence[Mapping[str, Tensor]]) -> list[LayerSpeed]:
    """Of each checkpoint in order the features (N, D) of each layer -> one line a layer.

    After Raghu et al., SVCCA, NeurIPS 2017 (arXiv:1706.05806), section 4.1 (layers come to their
    end from the bottom up), with CKA, which needs fewer examples than directions.
    """
    last = features[-1]
    return [
        LayerSpeed(
            layer=name, likeness=tuple(linear_cka(one[name], last[name]) for one in features)
        )
        for name in last
    ]


def as_rows(value: Tensor) -> Tensor:
    """A layer's output of one batch as one row an example: maps and tokens by their mean."""
    if value.ndim == 4:
        return value.mean((2, 3))  # (B, C)
    return value.mean(1) if value.ndim == 3 else value.flatten(1)
