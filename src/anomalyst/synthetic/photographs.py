"""Episodes on photographs: crops of pictures that ordinary packages ship, with planted defects.

The drawn world has no lens, no lustre and no grain of real things; here is learnt how two pictures
of one real thing differ when nothing is wrong.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files

import cv2
import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import open_picture
from anomalyst.synthetic.anomalies.pasting import with_defects
from anomalyst.synthetic.procedural.episode import Episode, Truth, WorldConfig
from anomalyst.synthetic.sampling import Rng, log_uniform
from anomalyst.synthetic.variation import varied

# Where each lies, and whose it is: all are free to use, as the packages' own notes say.
PHOTOGRAPHS = {
    "skimage.data/astronaut.png": "NASA, public domain",
    "skimage.data/camera.png": "Lav Varshney, CC0",
    "skimage.data/cell.png": "CC0",
    "skimage.data/chelsea.png": "Stefan van der Walt, CC0",
    "skimage.data/coffee.png": "Rachel Michetti, CC0",
    "skimage.data/coins.png": "Brooklyn Museum, no known restrictions",
    "skimage.data/hubble_deep_field.jpg": "NASA, public domain",
    "skimage.data/ihc.png": "immunohistochemistry, no known restrictions",
    "skimage.data/motorcycle_left.png": "Middlebury 2014 stereo, CC0",
    "skimage.data/retina.jpg": "Haeggstroem 2014, CC0",
    "skimage.data/rocket.jpg": "SpaceX, public domain",
    "sklearn.datasets.images/china.jpg": "Bubus Kuckuck, CC BY",
    "sklearn.datasets.images/flower.jpg": "dany13, CC BY",
    "skimage.data/brick.png": "CC0Textures, CC0",
    "skimage.data/grass.png": "CC0Textures, CC0",
    "skimage.data/gravel.png": "CC0Textures, CC0",
}
TEXTURES = ("brick", "grass", "gravel")  # look alike everywhere: two pictures are two places
CROPS = (0.4, 1.0)  # least and greatest side of a crop, as shares of the picture's shorter side
JITTER = 0.03  # how far the crops of one place lie apart at most, as a share of their side
TONES = (0.7, 1.4)  # exponents that brighten or darken a whole episode


def photograph_episode(seed: int | Sequence[int], config: WorldConfig) -> Episode:
    """Good pictures and a query of a real thing; the same seed and config give the same bytes.

    A crop of a photograph, and varied copies of it (`variation.varied`); of a texture, crops of
    several places. `config` says size, number of good pictures and share of defective queries.
    Raises AnomalystError if a package with photographs is not installed.
    """
    rng = np.random.default_rng(seed)
    names = list(PHOTOGRAPHS)
    own, other = (names[int(i)] for i in rng.choice(len(names), 2, replace=False))
    count = int(rng.integers(config.references[0], config.references[1] + 1))
    tone = log_uniform(rng, *TONES)
    crops = _crops(own, count + 1, rng, config.size_px)
    pictures = [varied(_toned(crop, tone), rng) for crop in crops]
    query, mask = pictures[0], np.zeros(pictures[0].shape[:2], bool)
    if rng.random() < config.anomalous_share:
        # A patch of a texture pasted on itself is no defect that anybody could see.
        names = [other] if _is_texture(own) else [own, other]
        donors = [_crops(name, 1, rng, config.size_px)[0] for name in names]
        query, mask = with_defects(query, donors, rng)
    truth = Truth(family="photograph", noun="part", colours=(), parts={}, pose_fixed=True)
    return Episode(references=np.stack(pictures[1:]), query=query, mask=mask, truth=truth)


def _crops(name: str, count: int, rng: Rng, size_px: int) -> list[np.ndarray]:
    """`count` square crops, uint8 (S, S, 3): of one place, or of as many places of a texture."""
    whole = _photograph(name)
    height, width = whole.shape[:2]
    side = round(min(height, width) * float(rng.uniform(*CROPS)))
    reach = 0.0 if _is_texture(name) else JITTER * side
    side = round(side * 0.6) if _is_texture(name) else side  # small enough for several places
    lowest, rightmost = height - side, width - side
    at = rng.uniform(0, (lowest, rightmost))  # (y, x)
    places = []
    for _ in range(count):
        moved = at + rng.uniform(-reach, reach, 2) if reach else rng.uniform(0, (lowest, rightmost))
        y, x = np.clip(np.rint(moved), 0, (lowest, rightmost)).astype(int)
        places.append((y, x))
    return [resize(whole[y : y + side, x : x + side], (size_px, size_px)) for y, x in places]


def _is_texture(name: str) -> bool:
    return any(texture in name for texture in TEXTURES)


def _toned(picture: np.ndarray, exponent: float) -> np.ndarray:
    """Brighter or darker: a gamma curve."""
    curve = (np.linspace(0, 1, 256) ** exponent * 255 + 0.5).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(picture), curve)


@cache
def _photograph(name: str) -> np.ndarray:
    package, _, file = name.partition("/")
    try:
        with as_file(files(package) / file) as path:
            return open_picture(path)
    except ModuleNotFoundError:
        raise AnomalystError(
            f"photographs to plant defects on: {package.partition('.')[0]} is not installed; "
            "`pip install 'anomalyst[train]'` brings it, or set photograph_share to 0."
        ) from None
