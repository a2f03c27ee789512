"""Named kernels on a picture: what one layer of a convolutional network can do by itself."""

import numpy as np
import torch
import torch.nn.functional as F

KERNELS: dict[str, np.ndarray] = {
    "identity": np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]], np.float32),
    "edges, diagonal": np.array([[1, 0, -1], [0, 0, 0], [-1, 0, 1]], np.float32),
    "edges, 4 neighbours": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.float32),
    "edges, 8 neighbours": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32),
    "sharpen": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32),
    "box blur": np.full((3, 3), 1 / 9, np.float32),
    "Gaussian blur": np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 16,
}


def filtered(picture: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) through a kernel (k, k), channel by channel: float32 (H, W, 3).

    Not clipped. As in networks the kernel is not turned over (cross-correlation); at the border the
    nearest pixel goes on.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[:, None].float()
    side = kernel.shape[0] // 2
    wide = F.pad(pixels, (side, side, side, side), mode="replicate")  # (3, 1, H + k - 1, ...)
    result = F.conv2d(wide, torch.from_numpy(kernel)[None, None])  # (3, 1, H, W)
    return result[:, 0].permute(1, 2, 0).numpy()


def shown(values: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What `filtered` gave as a picture, uint8: edges, which may be negative, around mid grey."""
    grey = 128 if abs(float(kernel.sum())) < 1e-6 else 0  # an edge kernel answers 0 on even ground
    return np.clip(np.round(values + grey), 0, 255).astype(np.uint8)
