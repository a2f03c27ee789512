"""Taught products in a folder, as their product.json tells; no tensor is read, nothing is loaded.

bolt/
  product.json         what it is, how it was taught, its calibration
  references/0001.png  the good pictures it was taught from, as they were
  accepted/NAME.png    pictures of which a person called a place normal
  defective/0001.png   defective pictures it was taught with, and 0001_mask.png where known
  fine/0001.png        good parts that people judged, which have a say in its rule
  areas/01.png         areas that count or do not, where they are masks (polygons: product.json)
  before_learning/     the product as it was before it learnt what people judged, untouched since
  senses/audio/        the same part by another sense: a folder like this one
  bank.safetensors     their features, so that loading needs no encoding, and the adapted head
"""

import difflib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError

FORMAT = 2
# What reading a value of the wrong kind raises, wherever in product.json it stands.
DAMAGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
RECORD = "product.json"
BEFORE = "before_learning"
COMPANIONS = "senses"
SENSES = ("image", "depth", "thermal", "audio", "series")  # in the order they are shown
LONGEST_NAME = 80  # characters; with what is put before it, a file's name stays below 255 bytes


class UnknownProduct(AnomalystError):
    """There is no product of that name; `near` holds those with the most similar names."""

    def __init__(self, folder: Path, name: str, near: list[str]):
        hint = f"the nearest is {near[0]!r}" if near else "none is taught yet"
        super().__init__(f"{folder}: there is no product {name!r}; {hint}. Use `anomalyst teach`.")
        self.folder, self.name, self.near = folder, name, near

    def __reduce__(self) -> tuple[type["UnknownProduct"], tuple[Path, str, list[str]]]:
        """It crosses between processes by what it was made of."""
        return type(self), (self.folder, self.name, self.near)


def check_name(name: str) -> None:
    """A product's name is its folder's name; AnomalystError if it cannot be one."""
    if not re.fullmatch(r"[\w][\w .+-]*", name) or len(name) > LONGEST_NAME or name[-1] in " .":
        raise AnomalystError(
            f"product name {name[:LONGEST_NAME]!r}: letters, digits, space, dot, plus, minus and "
            f"underscore only, at most {LONGEST_NAME}, and no space or dot at the end."
        )


def product_names(folder: Path) -> list[str]:
    """The products taught in a folder, by name."""
    names = (path.parent.name for path in folder.glob(f"*/{RECORD}"))
    return sorted(name for name in names if not name.startswith("."))  # what a kill left behind


def photograph_products(folder: Path) -> list[str]:
    """The products of photographs alone, by name; one that is damaged is passed over."""
    found = []
    for name in product_names(folder):
        with suppress(AnomalystError, KeyError, TypeError):
            if product_senses(folder / name) == ["image"]:
                found.append(name)
    return found


def product_folder(name: str, folder: Path) -> Path:
    """The folder of the product `name`; UnknownProduct names the nearest when there is none."""
    known = product_names(folder)
    if name not in known:
        raise UnknownProduct(folder, name, difflib.get_close_matches(name, known, n=3, cutoff=0.0))
    return folder / name


def product_senses(folder: Path) -> list[str]:
    """The senses a product was taught with, the leading one first: image, depth, audio, ..."""
    return list(sense_folders(folder))


def refuse_other_senses(
    about: str, taught: Sequence[str], given: Sequence[str], *, in_order: bool = False
) -> None:
    """AnomalystError for a part by other senses than its product's; `about` begins the sentence.

    `in_order`: the first of them, too, must be the product's first.
    """
    if set(given) != set(taught) or (in_order and given[0] != taught[0]):
        wanted = " and ".join(taught)
        raise AnomalystError(
            f"{about} was taught with {wanted}; the part has {' and '.join(given) or 'nothing'}. "
            f"Give {wanted}."
        )


def sense_folders(folder: Path) -> dict[str, Path]:
    """Sense -> the folder of what the product knows by it, the leading one first."""
    sense = read_record(folder).get("sense")
    if sense and (not isinstance(sense, dict) or sense.get("kind") not in SENSES):
        raise AnomalystError(f"{folder}: this product is damaged (sense); teach it again.")
    further = {one: folder / COMPANIONS / one for one in companion_senses(folder)}
    return {sense["kind"] if sense else "image": folder} | further


def companion_senses(folder: Path) -> list[str]:
    """The further senses of a product, in the order in which senses are told of."""
    return [sense for sense in SENSES if (folder / COMPANIONS / sense).is_dir()]


def read_record(folder: Path) -> dict[str, Any]:
    """What product.json says. Raises AnomalystError if it is missing, broken or of another kind."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnomalystError(f"{folder}: holds no product.json; it is not a product.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise AnomalystError(f"{folder}: product.json cannot be read ({error}).") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise AnomalystError(
            f"{folder}: is of another format; this version reads {FORMAT}. Teach the product again "
            "from its good pictures, with --replace."
        )
    return record
