"""The VisA layout (Zou et al., ECCV 2022) as its authors publish it.

    split_csv/1cls.csv                                object,split,label,image,mask
    CATEGORY/Data/Images/Normal/NAME.JPG              Data/Images/Anomaly/NAME.JPG
    CATEGORY/Data/Masks/Anomaly/NAME.png              each defect kind has its own grey value
    CATEGORY/image_anno.csv                           image,label,mask: names the defect kinds

With `1cls.csv` the split is the official one; categories it lists that are not there are left
out. Without it, the first four fifths of the normal pictures by name are train; the last fifth
and all anomalous pictures are test.
"""

from pathlib import Path
from typing import Literal

from anomalyst.datasets.folders import (
    mask_for,
    masks_by_stem,
    pictures_below,
    pictures_in,
    subfolders,
)
from anomalyst.datasets.splits import by_name_order
from anomalyst.datasets.tables import Row, read_csv
from anomalyst.types import Sample

LOOKS_FOR = "CATEGORY/Data/Images/Normal, with or without split_csv/1cls.csv"


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
        anomalous = _is_anomalous(row)
        # A missing file stays in the list: whoever opens it reports it by name.
        image, mask = root / row.cells["image"], row.cells["mask"]
        samples.append(
            Sample(
                image=image,
                label="anomalous" if anomalous else "normal",
                split=_split_of(row),
                mask=root / mask if anomalous and mask else None,
                category=row.cells["object"],
                defect=kinds.get(image, "anomaly") if anomalous else None,
            )
        )
    return samples


def _is_anomalous(row: Row) -> bool:
    label = row.cells["label"]
    if label not in ("normal", "anomaly"):
        raise row.error(f"the label is {label!r}; 'normal' or 'anomaly' is needed.")
    return label == "anomaly"


def _split_of(row: Row) -> Literal["train", "test"]:
    split = row.cells["split"]
    if split == "train":
        return "train"
    if split == "test":
        return "test"
    raise row.error(f"the split is {split!r}; 'train' or 'test' is needed.")


def _read_category(category: Path) -> list[Sample]:
    name, data = category.resolve().name, category / "Data"
    train, test = by_name_order(pictures_in(data / "Images" / "Normal"))
    samples = [Sample(image=p, label="normal", split="train", category=name) for p in train]
    samples += [Sample(image=p, label="normal", split="test", category=name) for p in test]
    truth, kinds = masks_by_stem(data / "Masks" / "Anomaly"), _defects(category)
    for image in pictures_in(data / "Images" / "Anomaly"):
        samples.append(
            Sample(
                image=image,
                label="anomalous",
                mask=mask_for(image, truth),
                category=name,
                defect=kinds.get(image, "anomaly"),
            )
        )
    return samples


def _defects(category: Path) -> dict[Path, str]:
    """Picture -> its defect kinds as the annotation names them, several joined by commas."""
    file = category / "image_anno.csv"
    if not file.is_file():
        return {}
    kinds = {}
    for row in read_csv(file, needs=["image", "label"]):
        # Paths there begin with the category's own folder, which the user may have renamed.
        inner = Path(row.cells["image"]).parts[1:]
        if row.cells["label"] not in ("", "normal"):
            kinds[category.joinpath(*inner)] = row.cells["label"]
    return kinds
