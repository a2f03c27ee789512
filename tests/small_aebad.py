"""A small folder in AeBAD-S's native layout: drawn blades under four conditions, some damaged."""

from pathlib import Path

import cv2
import numpy as np

KINDS = ("ablation", "breakdown", "fracture", "groove")
TRAIN_DOMAINS = ("background", "illumination", "view")
DOMAINS = ("same", *TRAIN_DOMAINS)
SIDE = 48


def write_small_aebad(root: Path, *, train: int = 10, test_good: int = 2, bad: int = 2) -> Path:
    """`train` good pictures a training domain; `test_good`, and `bad` of each kind, a domain."""
    rng = np.random.default_rng(0)
    for domain in TRAIN_DOMAINS:
        for number in range(train):
            _write(root / f"train/good/{domain}/N{number}.png", _blade(domain, rng))
    for domain in DOMAINS:
        for number in range(test_good):
            _write(root / f"test/good/{domain}/T{number}.png", _blade(domain, rng))
        for kind in KINDS:
            for number in range(bad):
                blade, mask = _damaged(_blade(domain, rng), rng)
                _write(root / f"test/{kind}/{domain}/D{number}.png", blade)
                _write(root / f"ground_truth/{kind}/{domain}/D{number}.png", mask)
    return root


def _blade(domain: str, rng: np.random.Generator) -> np.ndarray:
    """A grey trapezoid on a light ground, as its domain shows it: uint8 (48, 48, 3)."""
    ground = 150.0 if domain == "background" else 210.0
    picture = np.full((SIDE, SIDE, 3), ground) + rng.normal(0, 2, (SIDE, SIDE, 3))
    corners = np.array([[14, 6], [34, 6], [38, 42], [10, 42]])
    if domain == "view":
        corners = corners + [4, 2]
    blade = cv2.fillPoly(np.zeros((SIDE, SIDE), np.uint8), [corners], 1) > 0
    picture[blade] = 110 + rng.normal(0, 3, (int(blade.sum()), 3))
    return np.clip(picture * (0.7 if domain == "illumination" else 1), 0, 255).astype(np.uint8)


def _damaged(blade: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    x, y = (int(v) for v in rng.integers(18, 26, 2))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[y : y + 6, x : x + 5] = 255
    defective = blade.copy()
    defective[mask > 0] = 30
    return defective, mask


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)
