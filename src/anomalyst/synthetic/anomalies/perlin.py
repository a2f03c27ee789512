"""Foreign textures in the shape of Perlin noise.

DRAEM (Zavrtanik, Kristan and Skocaj, ICCV 2021, section 3.3): Perlin noise (SIGGRAPH 1985) cut at
a half is the shape, another texture is mixed in with an opacity of 0.2 to 1. DRAEM takes its
textures from photographs (DTD); ours are drawn by the procedural world, as nothing can be fetched.
"""

import cv2
import numpy as np

from anomalyst.synthetic.anomalies.base import Ground, Planted, changed
from anomalyst.synthetic.procedural.material import draw_material, render
from anomalyst.synthetic.sampling import Rng

OCTAVES = (1, 6)  # the lattice has 2 to 32 cells a side
CUT = 0.5
OPACITIES = (0.2, 1.0)
LARGEST = 0.3  # of the product: more would be another product


def plant(ground: Ground, rng: Rng) -> Planted | None:
    """Patches of another texture on the product; None if they are too large, or not seen."""
    size_hw = ground.picture.shape[:2]
    cells = [2 ** int(rng.integers(*OCTAVES)) for _ in "yx"]
    noise = perlin_noise(size_hw, (cells[0], cells[1]), rng)
    turn = cv2.getRotationMatrix2D(
        (size_hw[1] / 2, size_hw[0] / 2), float(rng.uniform(-90, 90)), 1.5
    )
    noise = cv2.warpAffine(noise, turn, size_hw[::-1], borderMode=cv2.BORDER_REFLECT_101)
    where = (noise > CUT) & ground.product
    if not 0 < where.sum() < LARGEST * ground.product.sum():
        return None
    texture = render(draw_material(rng), rng, size_hw, size_hw[0] / 160) * 255
    opacity = float(rng.uniform(*OPACITIES))
    mixed = ground.picture + where[..., None] * opacity * (texture - ground.picture)
    picture = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
    return Planted(
        picture=picture,
        mask=changed(ground.picture, picture) & where,
        what="another texture",
        parameters={"cells_yx": cells, "opacity": round(opacity, 3)},
    )


def perlin_noise(size_hw: tuple[int, int], cells_yx: tuple[int, int], rng: Rng) -> np.ndarray:
    """Gradient noise of a lattice of `cells_yx`, float32 (H, W), about [-1, 1].

    Perlin, SIGGRAPH 1985, with the quintic fade of 2002: zero at every lattice point.
    """
    angles = rng.uniform(0, 2 * np.pi, (cells_yx[0] + 1, cells_yx[1] + 1))
    slopes = np.stack([np.sin(angles), np.cos(angles)])  # (2, cy + 1, cx + 1), as (y, x)
    y, x = (
        np.linspace(0, n, side, endpoint=False) for n, side in zip(cells_yx, size_hw, strict=True)
    )
    row, column = y.astype(int), x.astype(int)
    v, u = (y - row)[:, None], (x - column)[None, :]
    corners = {}
    for down in (0, 1):
        for right in (0, 1):
            slope = slopes[:, row + down][:, :, column + right]  # (2, H, W)
            corners[down, right] = slope[0] * (v - down) + slope[1] * (u - right)
    fade_v, fade_u = (t**3 * (t * (6 * t - 15) + 10) for t in (v, u))
    upper = corners[0, 0] + fade_u * (corners[0, 1] - corners[0, 0])
    lower = corners[1, 0] + fade_u * (corners[1, 1] - corners[1, 0])
    return np.asarray((upper + fade_v * (lower - upper)) * np.sqrt(2), np.float32)
