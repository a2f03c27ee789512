"""Norms by name: LayerNorm and RMSNorm over the last axis, and where in a block they stand."""

from typing import Literal

from torch import Tensor, nn

from anomalyst.layers.naming import named

NormName = Literal["rms", "layer"]
NormPlace = Literal["pre", "post"]
# layer: (x - mean) / deviation, times a weight plus a bias (Ba et al. 2016, equation 4).
# rms: x / root of the mean square, times a weight: no mean, no bias (Zhang and Sennrich 2019, 4).
NORMS: dict[str, type[nn.Module]] = {"rms": nn.RMSNorm, "layer": nn.LayerNorm}


def make_norm(name: str, width: int, eps: float = 1e-6) -> nn.Module:
    """A norm over the last axis, (..., width) -> the same; AnomalystError for an unknown name."""
    return named(NORMS, name, "norm")(width, eps=eps)


class Normed(nn.Module):
    """A part f with its norm N and the residual around it.

    pre: x + f(N(x)), post: N(x + f(x)) (Xiong et al. 2020, figure 1).
    """

    def __init__(self, part: nn.Module, norm: nn.Module, place: NormPlace):
        super().__init__()
        self.part, self.norm, self.place = part, norm, place

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) -> the same."""
        if self.place == "pre":
            return x + self.part(self.norm(x))
        normed: Tensor = self.norm(x + self.part(x))
        return normed
