"""A taught product as one file, for another installation; and back."""

import json
import lzma
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

from anomalyst.errors import AnomalystError
from anomalyst.io.files import make_folder
from anomalyst.product_index import (
    COMPANIONS,
    DAMAGED,
    RECORD,
    SENSES,
    check_name,
    product_folder,
    read_record,
    sense_folders,
)
from anomalyst.server.errors import Conflict, TooLarge

MEMBERS = (
    "references/",
    "accepted/",
    "defective/",
    "fine/",
)  # folders of pictures in a product's folder
UNPACKED_MOST = 2_000_000_000  # bytes of a product that is brought in
FILES_MOST = 5000
# What reading a damaged ZIP raises, by what packs its members.
BROKEN_ZIP = (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError, LookupError,
              struct.error, zlib.error, lzma.LZMAError)  # fmt: skip


def pack(name: str, products: Path, target: Path) -> None:
    """Write a product as one file, for another installation."""
    folder = product_folder(name, products)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(folder.rglob("*")):
            name_inside = path.relative_to(folder).as_posix()
            if path.is_file() and _is_own(name_inside):  # engines are built where they run
                packed.write(path, name_inside)


def unpack(source: Path | IO[bytes], products: Path, name: str | None = None) -> str:
    """Bring in a product that `pack` wrote; returns its name.

    Raises AnomalystError for a file that is none, Conflict if one of that name is there, TooLarge.
    """
    make_folder(products)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=products) as part:
        folder = Path(part) / "product"
        folder.mkdir()
        try:
            with zipfile.ZipFile(source) as packed:
                _extract(packed, folder)
        except BROKEN_ZIP as error:
            raise AnomalystError(f"this is no product file ({error}); export it again.") from error
        record = read_record(folder)
        try:
            for one in _wholes(folder):
                _check_members(read_record(one), one)
            own = name or str(record["name"])
        except DAMAGED as error:
            reason = f"product.json is damaged ({error!r}); export it again."
            raise AnomalystError(reason) from error
        check_name(own)
        if (products / own).exists():
            raise Conflict(f"there is a product {own!r} already; give this one another name.")
        for one in _wholes(folder):
            record = read_record(one) | {"name": own}
            (one / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        folder.rename(products / own)
    return own


def _extract(packed: zipfile.ZipFile, folder: Path) -> None:
    """Only a product's own files, plain ones, and no more than they say they hold."""
    members = [one for one in packed.infolist() if not one.is_dir()]
    total = sum(one.file_size for one in members)
    if total > UNPACKED_MOST or len(members) > FILES_MOST:
        raise TooLarge(
            f"this product would unpack to {total / 1e6:.0f} MB in {len(members)} files; the limit "
            f"is {UNPACKED_MOST / 1e6:.0f} MB in {FILES_MOST}."
        )
    for one in members:
        if not _belongs(one):
            raise AnomalystError(f"this is no product file: it holds {one.filename[:80]!r}.")
        target = folder / one.filename
        target.parent.mkdir(parents=True, exist_ok=True)
        with packed.open(one) as source, target.open("wb") as kept:
            shutil.copyfileobj(source, kept, 1 << 20)


def _belongs(one: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(one.external_attr >> 16)
    return kind in (0, stat.S_IFREG) and _is_own(one.filename)


def _wholes(folder: Path) -> list[Path]:
    """The product's folder, and those of the same part by further senses."""
    return list(sense_folders(folder).values())


def _is_own(name: str) -> bool:
    further = name.split("/", 2)
    if further[0] == COMPANIONS and len(further) == 3:
        return (
            further[1] in SENSES
            and further[2].partition("/")[0] != COMPANIONS
            and _is_own(further[2])
        )
    if name in (RECORD, "bank.safetensors"):
        return True
    folder, _, file = name.partition("/")
    return f"{folder}/" in MEMBERS and bool(file) and "/" not in file and file[0] not in ".\\"


def _check_members(record: dict[str, Any], folder: Path) -> None:
    """Every file that the record names is one that was packed with it."""
    kinds = ("references", "accepted", "defective", "fine")
    named = [one for kind in kinds for one in record.get(kind, [])]
    if not record["references"] or not (folder / "bank.safetensors").is_file():
        raise ValueError("it has no good picture or no bank")
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    for one in named:
        for file in (one["file"], one.get("mask", one["file"])):
            if file not in here:
                raise ValueError(f"{file[:80]} is missing")
