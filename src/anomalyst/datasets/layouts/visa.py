"""The VisA layout (Zou et al., ECCV 2022) as its authors publish it.

    split_csv/1cls.csv                                object,split,label,image,mask
    CATEGORY/Data/Images/Normal/NAME.JPG              Data/Images/Anomaly/NAME.JPG
    CATEGORY/Data/Masks/Anomaly/NAME.png              each defect kind has its own grey value
    CATEGORY/image_anno.csv                           image,label,mask: names the defect kinds

With `1cls.csv` the split is the official one; categories it lists that are not there are left
out. Without it, the first four fifths of the normal pictures by name are train; the last fifth
and all anomalous pictures are test.
"""

from dataclasses import replace
from pathlib import Path

from anomalyst.datasets.folders import normals_in, pictures_below, samples_in, subfolders
from anomalyst.datasets.tables import read_csv
from anomalyst.types import Label, Sample, Split

LOOKS_FOR = "CATEGORY/Data/Images/Normal, with or without split_csv/1cls.csv"
LABELS: dict[str, Label] = {"normal": "normal", "anomaly": "anomalous"}
SPLITS: dict[str, Split] = {"train": "train", "test": "test"}


def matches(root: Path) -> bool:
    """Whether `root` is such a category, holds one, or has the official split file."""
    return bool(_categories(root)) or _split_file(root).is_file()


def read(root: Path) -> list[Sample]:
    """Every picture of the official split, or of the folders where there is none.

    Raises AnomalystError if a table is not in order.
    """
    if _split_file(root).is_file():
        return _read_split_file(root)
    return [s for category in _categories(root) for s in _read_category(category)]


def masks(root: Path) -> list[Path]:
    """Every mask file of the set, whether a picture belongs to it or not."""
    return [p for c in _categories(root) for p in pictures_below(c / "Data" / "Masks")]


def _split_file(root: Path) -> Path:
    return root / "split_csv" / "1cls.csv"


def _categories(root: Path) -> list[Path]:
    candidates = [root, *subfolders(root)]
    return [f for f in candidates if (f / "Data" / "Images").is_dir()]


def _read_split_file(root: Path) -> list[Sample]:
    kinds = {image: kind for c in _categories(root) for image, kind in _defects(c).items()}
    samples = []
    for row in read_csv(_split_file(root), needs=["object", "split", "label", "image", "mask"]):
        if not (root / row.cells["object"]).is_dir():
            continue
        label = row.choice("label", LABELS, "'normal' or 'anomaly'")
        # A missing file stays in the list: whoever opens it reports it by name.
        image, mask = root / row.posix("image"), row.posix("mask")
        anomalous = label == "anomalous"
        samples.append(
            Sample(
                image=image,
                label=label,
                split=row.choice("split", SPLITS, "'train' or 'test'"),
                mask=root / mask if anomalous and mask else None,
                category=row.cells["object"],
                defect=kinds.get(image, "anomaly") if anomalous else None,
            )
        )
    return samples


def _read_category(category: Path) -> list[Sample]:
    name, data, kinds = category.resolve().name, category / "Data", _defects(category)
    truth, pictures = data / "Masks" / "Anomaly", data / "Images"
    bad = samples_in(pictures / "Anomaly", name, defect="anomaly", truth=truth)
    bad = [replace(s, defect=kinds.get(s.image, s.defect)) for s in bad]
    return normals_in(pictures / "Normal", name) + bad


def _defects(category: Path) -> dict[Path, str]:
    """Picture -> its defect kinds as the annotation names them, several joined by commas."""
    file = category / "image_anno.csv"
    if not file.is_file():
        return {}
    kinds = {}
    for row in read_csv(file, needs=["image", "label"]):
        # Paths there begin with the category's own folder, which the user may have renamed.
        inner = Path(row.posix("image")).parts[1:]
        if row.cells["label"] not in ("", "normal"):
            kinds[category.joinpath(*inner)] = row.cells["label"]
    return kinds
