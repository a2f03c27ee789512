"""The idx files that MNIST and its kin come in, as they are or gzipped (LeCun et al. 1998).

Two zero bytes, a byte of type, a byte of rank, the sides as big-endian 32-bit numbers, the values.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from anomalyst.errors import AnomalystError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
PICTURES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
PREFIXES = {"train": "train", "test": "t10k"}


def idx_files(root: Path) -> dict[str, tuple[Path, Path]]:
    """{"train": (pictures, labels), "test": ...} of a folder; empty where it holds no idx files.

    Raises AnomalystError where one of a pair is missing.
    """
    found = {}
    for split, prefix in PREFIXES.items():
        pair = [_file(root, f"{prefix}-{name}") for name in (PICTURES, LABELS)]
        if pair[0] and pair[1]:
            found[split] = (pair[0], pair[1])
        elif pair[0] or pair[1]:
            missing = f"{prefix}-{LABELS if pair[0] else PICTURES}"
            raise AnomalystError(f"{root}: {missing}[.gz] is missing beside its other half.")
    return found


def read_idx(path: Path) -> np.ndarray:
    """The array of an idx file. Raises AnomalystError for one that is none, or is cut short."""
    try:
        whole = path.read_bytes()
        whole = gzip.decompress(whole) if path.suffix == ".gz" else whole
    except (OSError, EOFError, zlib.error) as error:
        raise AnomalystError(f"{path}: cannot be read ({error}); copy it again.") from error
    if len(whole) < 4 or whole[:2] != b"\0\0" or whole[2] not in TYPES or not whole[3]:
        raise AnomalystError(
            f"{path}: is no idx file; it must begin with two zero bytes, a type and a rank."
        )
    rank, kind = whole[3], np.dtype(TYPES[whole[2]])
    start = 4 + 4 * rank
    if len(whole) < start:
        raise AnomalystError(f"{path}: is cut short within its head; copy it again.")
    sides = struct.unpack(f">{rank}I", whole[4:start])
    expected = math.prod(sides) * kind.itemsize
    if len(whole) - start != expected:
        raise AnomalystError(
            f"{path}: holds {len(whole) - start} bytes of values; {'x'.join(map(str, sides))} "
            f"of them need {expected}. Copy it again."
        )
    return np.frombuffer(whole, kind, offset=start).reshape(sides)


def _file(root: Path, name: str) -> Path | None:
    return next((p for p in (root / name, root / f"{name}.gz") if p.is_file()), None)
