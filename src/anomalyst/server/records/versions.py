"""The last versions of a product, on disk beside it, so that one click brings one back.

products/.versions/bolt/0007/   the product's folder as it was, whole
"""

import os
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.io.files import replace_folder
from anomalyst.product_index import RECORD, product_folder, read_record
from anomalyst.server.errors import NotFound

VERSIONS = ".versions"
KEPT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A product as it was."""

    number: int
    made_at: datetime
    references: int  # good parts it was taught from
    corrections: int  # places called fine
    learnt: bool  # a rule by what people judged
    revision: str  # as inspections tell it

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self) | {"made_at": self.made_at.isoformat()}


def keep(name: str, products: Path) -> None:
    """Keep a product as it is now; beyond the last five the oldest is forgotten.

    Files are linked, not copied: a product's files are never written again, only replaced.
    """
    folder = products / name
    if not (folder / RECORD).exists():
        return
    numbers = _numbers(name, products)
    if numbers and (_folder(name, products, numbers[-1]) / RECORD).samefile(folder / RECORD):
        return  # a change was begun and not finished
    _linked(folder, _folder(name, products, numbers[-1] + 1 if numbers else 1))
    for number in _numbers(name, products)[:-KEPT]:
        shutil.rmtree(_folder(name, products, number), ignore_errors=True)


def versions(name: str, products: Path) -> list[Version]:
    """Those that are kept, the newest first. Raises UnknownProduct."""
    product_folder(name, products)
    found = []
    for number in reversed(_numbers(name, products)):
        folder = _folder(name, products, number)
        record = read_record(folder)
        made = (folder / RECORD).stat().st_mtime_ns
        found.append(
            Version(
                number=number,
                made_at=datetime.fromtimestamp(made / 1e9, UTC),
                references=len(record["references"]),
                corrections=len(record.get("accepted", [])),
                learnt=bool(record.get("rule")),
                revision=f"{made:x}",
            )
        )
    return found


def version_folder(name: str, products: Path, number: int) -> Path:
    """Where a version lies. Raises NotFound with those there are."""
    numbers = _numbers(name, products)
    if number not in numbers:
        kept = ", ".join(map(str, numbers)) or "none"
        raise NotFound(f"product {name!r} has no version {number}; kept: {kept}.")
    return _folder(name, products, number)


def bring_back(name: str, products: Path, number: int) -> None:
    """Make a product what it was, in one step; what it is now becomes a version. Raises NotFound.

    The version that is brought back stays one, too.
    """
    wanted = version_folder(name, products, number)
    folder = product_folder(name, products)
    if (wanted / RECORD).samefile(folder / RECORD):
        return
    part = folder.with_name(f".part-back-{name}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _linked(wanted, part)  # first: keeping the present one may forget the oldest
        keep(name, products)
        replace_folder(part, folder)
    except OSError as error:
        raise AnomalystError(f"{folder}: the version cannot be put back ({error}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def forget(name: str, products: Path) -> None:
    """Of a product that is deleted."""
    shutil.rmtree(products / VERSIONS / name, ignore_errors=True)


def _linked(source: Path, target: Path) -> None:
    """A folder with the same files, by links where the disk has them; whole or not there."""
    part = target.with_name(f".part-{target.name}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, part, copy_function=_link)
        part.rename(target)
    except OSError as error:
        raise AnomalystError(f"{target}: a version cannot be kept ({error}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # a share without links
        shutil.copy2(source, target)
    return target


def _numbers(name: str, products: Path) -> list[int]:
    folder = products / VERSIONS / name
    return sorted(int(path.parent.name) for path in folder.glob(f"[0-9]*/{RECORD}"))


def _folder(name: str, products: Path, number: int) -> Path:
    return products / VERSIONS / name / f"{number:04d}"
