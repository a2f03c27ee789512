"""Faults of products never seen, found by one sense: a memory bank on the tower's patches.

Beside it the same bank on what the sense gives without any training.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalyst.backbones.drawn_senses import DrawnSenses
from anomalyst.detection.memory_bank import MemoryBank
from anomalyst.evaluation.metrics import auroc
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.synthetic.senses.part import SensedPart, SensesConfig, sensed_product
from anomalyst.types import Features

GOOD, TESTED, FAULTY_PARTS = 8, 8, 14  # of each product: in the bank, sound and faulty to judge
HIGHEST = 0.25  # share of the patches, the oddest, whose mean distance is the score
PRODUCT_SEED = 1 << 43
FAR = 4.0  # a constant beside plain patches, in their own root mean square
SENSES = ("image", "depth", "thermal", "audio", "imu")


def recordings(parts: Sequence[SensedPart], sense: str) -> list[Any]:
    """What one sense recorded of the parts."""
    field = {"image": "picture", "depth": "depth_mm", "thermal": "heat_c", "audio": "sound"}
    return [getattr(part, field.get(sense, "imu")) for part in parts]


def product_aurocs(senses: DrawnSenses, number: int) -> dict[str, dict[str, float]]:
    """By sense: AUROC of the tower's patches and of plain ones, on one held-out product.

    Where no fault could be seen on the product there is nothing to tell, and the answer is empty.
    """
    config = SensesConfig(families=HELD_OUT)
    sound, faulty = sensed_product(
        (PRODUCT_SEED, number), config, good=GOOD + TESTED, faulty=FAULTY_PARTS
    )
    labels = [0] * TESTED + [1] * len(faulty)
    found: dict[str, dict[str, float]] = {}
    for sense in SENSES if faulty else ():
        read = senses.prepare(sense, recordings([*sound, *faulty], sense))
        with torch.no_grad():
            taught = senses.model.features(sense, read)
        scores = {
            "taught": _scores(taught.levels),
            "plain": _scores([by_distance(plain_patches(sense, read))]),
        }
        found[sense] = {name: auroc(labels, values) for name, values in scores.items()}
    return found


def plain_patches(sense: str, read: Tensor) -> Tensor:
    """Patches without training, (B, D, h, w).

    Images: what the ImageNet trunk saw. Depth and heat: squares of 8 pixels. Sound: log-mel
    spectra of 80 ms. Vibration: log spectra of 0.5 s of each channel.
    """
    if sense == "image":
        return read
    if sense == "audio":
        return read.reshape(len(read), -1, 1, read.shape[-1] // 4, 4).mean(-1)  # (B, 64, 1, 24)
    if sense == "imu":
        windows = read.unflatten(2, (-1, 200))  # (B, 6, 10, 200)
        spectrum = torch.fft.rfft(windows * torch.hann_window(200)).abs().add(0.1).log()
        return spectrum.permute(0, 1, 3, 2).flatten(1, 2)[:, :, None]  # (B, 606, 1, 10)
    return F.pixel_unshuffle(read, 8)


def by_distance(patches: Tensor) -> Tensor:
    """Patches as a bank takes them that shall compare by distance: (B, D, h, w) -> D + 1."""
    centred = patches - patches[:GOOD].mean((0, 2, 3), keepdim=True)
    # Beside a constant far larger than they are, the bank's cosine ranks as a distance does.
    far = FAR * centred[:GOOD].square().sum(1).mean().sqrt()
    return torch.cat([centred, far.expand(len(patches), 1, *patches.shape[2:])], 1)


def _scores(levels: list[Tensor]) -> np.ndarray:
    """Of each part after the good ones: the mean over levels of its oddest patches."""
    blank = torch.zeros(len(levels[0]), 1)
    features = Features(levels, blank)
    bank = MemoryBank.build(features.rows(range(GOOD)))
    distances = bank.distances(features.rows(range(GOOD, len(blank))))
    totals = []
    for one in distances:  # (B, h, w)
        flat = one.flatten(1)
        totals.append(flat.topk(max(1, round(HIGHEST * flat.shape[1])), 1).values.mean(1))
    return torch.stack(totals).mean(0).numpy()
