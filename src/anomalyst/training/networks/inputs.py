"""From a picture to what a supervised network reads, the same in training and in use."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from anomalyst.datasets.labelled import in_mode
from anomalyst.io.geometry import resize

Normalise = Literal["set", "picture", "none"]
LEAST_SPREAD = 1 / 255  # a picture of one grey is not divided by nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Size, mode and scale of the pixels."""

    size: int  # px, both sides
    channels: int
    normalise: Normalise = "set"
    mean: tuple[float, ...] = ()  # of each channel in [0, 1] over the training pictures
    std: tuple[float, ...] = ()

    @classmethod
    def measured(cls, pixels: Tensor, normalise: Normalise) -> "Inputs":
        """Of a training set's pictures, uint8 (N, C, S, S)."""
        mean: tuple[float, ...] = ()
        std: tuple[float, ...] = ()
        if normalise == "set":
            each = [one.double() / 255 for one in pixels.transpose(0, 1)]  # (N, S, S) of a channel
            mean = tuple(float(one.mean()) for one in each)
            std = tuple(max(LEAST_SPREAD, float(one.std())) for one in each)
        return cls(size=pixels.shape[2], channels=pixels.shape[1], normalise=normalise, mean=mean,
                   std=std)  # fmt: skip

    def read(self, picture: np.ndarray) -> Tensor:
        """uint8 RGB (H, W, 3) or grey (H, W) -> uint8 (C, S, S)."""
        shaped = in_mode(resize(picture, (self.size, self.size)), self.channels)
        return torch.from_numpy(np.ascontiguousarray(shaped.transpose(2, 0, 1)))

    def normalised(self, pixels: Tensor) -> Tensor:
        """uint8, or float in [0, 1], (B, C, S, S) -> float: by the set, by each picture, or not."""
        values = pixels if pixels.is_floating_point() else pixels.float() / 255
        if self.normalise == "set":
            mean, std = (values.new_tensor(x)[:, None, None] for x in (self.mean, self.std))
            return (values - mean) / std
        if self.normalise == "picture":
            spread, middle = torch.std_mean(values, (1, 2, 3), keepdim=True)
            return (values - middle) / spread.clamp(min=LEAST_SPREAD)
        return values
