"""Taught products as the server tells of them: read from product.json, without the model."""

import hashlib
import json
import math
import shutil
import stat
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Any

from anomalyst.errors import AnomalystError
from anomalyst.io.files import make_folder
from anomalyst.product_index import RECORD, check_name, product_folder, product_names, read_record
from anomalyst.server.errors import Conflict, TooLarge

MEMBERS = (
    "references/",
    "accepted/",
    "defective/",
    "fine/",
)  # folders of pictures in a product's folder
UNPACKED_MOST = 2_000_000_000  # bytes of a product that is brought in
FILES_MOST = 5000


def same_picture(picture: Path, folder: Path) -> bool:
    """Whether the product in `folder` was taught from these very bytes."""
    own = digest(picture)
    size = picture.stat().st_size
    return any(
        other.stat().st_size == size and digest(other) == own
        for other in (folder / "references").iterdir()
    )


def summary(name: str, products: Path) -> dict[str, Any]:
    """What a list of products shows of one."""
    folder = product_folder(name, products)
    record = read_record(folder)
    calibration = record["calibration"]
    return {
        "name": name,
        "description": record.get("description", ""),
        "pose": record["pose"],
        "encoder": record["encoder"],
        "references": [one["source"] for one in record["references"]],
        "corrections": [one["name"] for one in record.get("accepted", [])],
        "calibration": {"method": calibration["method"], "scores": calibration["scores"]},
        "rule": _rule(record),
        "notes": record["notes"],
        "revision": f"{(folder / RECORD).stat().st_mtime_ns:x}",
    }


def summaries(products: Path) -> list[dict[str, Any]]:
    """Of all products; one that is damaged is named with what is wrong."""
    found = []
    for name in product_names(products):
        try:
            found.append(summary(name, products))
        except (AnomalystError, KeyError, TypeError) as error:
            found.append({"name": name, "problem": str(error)})
    return found


def _rule(record: dict[str, Any]) -> dict[str, Any] | None:
    """What decides in place of the false-alarm rate, and what was judged to set it."""
    rule = record.get("rule")
    if not rule:
        return None
    threshold, slope = rule["threshold"], rule["slope"]
    both = [*record.get("defective", []), *record.get("fine", [])]
    return {
        "threshold": threshold,
        "normal_to": threshold - math.log(2) / slope if slope > 0 else threshold,
        "head": rule["head"] is not None,
        "costs": rule["costs"],
        "judged": [one["judged"] for one in both if "judged" in one],
    }


def reference_paths(name: str, products: Path) -> list[Path]:
    """The good pictures of a product, in the order taught."""
    folder = product_folder(name, products)
    return [folder / one["file"] for one in read_record(folder)["references"]]


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
        except (zipfile.BadZipFile, OSError, RuntimeError, ValueError) as error:
            raise AnomalystError(f"this is no product file ({error}); export it again.") from error
        record = read_record(folder)
        try:
            _check_members(record, folder)
            own = name or str(record["name"])
        except (KeyError, TypeError, ValueError) as error:
            reason = f"product.json is damaged ({error!r}); export it again."
            raise AnomalystError(reason) from error
        check_name(own)
        if (products / own).exists():
            raise Conflict(f"there is a product {own!r} already; give this one another name.")
        record["name"] = own
        (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        folder.rename(products / own)
    return own


def delete(name: str, products: Path) -> None:
    """Delete a product; UnknownProduct if there is none."""
    folder = product_folder(name, products)
    gone = folder.with_name(f".old-{name}")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


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
        target.parent.mkdir(exist_ok=True)
        with packed.open(one) as source, target.open("wb") as kept:
            shutil.copyfileobj(source, kept, 1 << 20)


def _belongs(one: zipfile.ZipInfo) -> bool:
    kind = stat.S_IFMT(one.external_attr >> 16)
    return kind in (0, stat.S_IFREG) and _is_own(one.filename)


def _is_own(name: str) -> bool:
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


def digest(path: Path) -> str:
    """SHA-256 of a file, as the record calls pictures."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
