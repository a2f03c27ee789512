"""A plain folder of pictures, in the three shapes people have at hand.

    FOLDER/NAME.png                 nothing is known: split test, label None
    good/NAME.png                   FOLDER itself is named good, ok or normal: train, normal
    FOLDER/good/NAME.png            a sub-folder named good, ok or normal: normal; every other
    FOLDER/DEFECT/NAME.png          sub-folder is a defect kind: anomalous, test
    FOLDER/ground_truth/DEFECT/...  masks, named as in the MVTec-AD layout; may be missing

In the last shape the first four fifths of the normal pictures by name are train and the last
fifth is test. Loose pictures beside such sub-folders are test with label None. Sub-folders count
only where one of them is named good, ok or normal.
"""

from pathlib import Path

from anomalyst.datasets.folders import (
    normals_in,
    pictures_below,
    pictures_in,
    samples_in,
    says_normal,
    subfolders,
)
from anomalyst.types import Sample

LOOKS_FOR = "pictures directly in the folder, or in sub-folders of which one is named good"
TRUTH = "ground_truth"


def matches(root: Path) -> bool:
    """Whether `root` holds pictures, or a sub-folder named good, ok or normal."""
    return root.is_dir() and bool(_kinds(root) or pictures_in(root))


def read(root: Path) -> list[Sample]:
    """Every picture: normal ones first, then by defect, then those nothing is known of."""
    name = root.resolve().name
    samples: list[Sample] = []
    for kind in _kinds(root):
        truth = root / TRUTH / kind.name
        samples += (
            normals_in(kind, name)
            if says_normal(kind)
            else samples_in(kind, name, defect=kind.name, truth=truth)
        )
    if not samples and says_normal(root.resolve()):
        return samples_in(root, name, split="train")
    return samples + [Sample(image=p, label=None, category=name) for p in pictures_in(root)]


def masks(root: Path) -> list[Path]:
    """Every mask file of the set, whether a picture belongs to it or not."""
    return pictures_below(root / TRUTH) if _kinds(root) else []


def _kinds(root: Path) -> list[Path]:
    kinds = [f for f in subfolders(root) if f.name != TRUTH]
    normals = [f for f in kinds if says_normal(f)]
    return normals + [f for f in kinds if f not in normals] if normals else []
