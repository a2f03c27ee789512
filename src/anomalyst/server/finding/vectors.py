"""Vectors of what was looked at once, kept in a file: a second search encodes what is new."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from anomalyst.io.files import written_whole

DIGEST_BYTES = 32


@dataclass(slots=True)
class Vectors:
    """Key (64 hexadecimal digits) -> unit vector, of one space."""

    path: Path
    known: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, name: str, fingerprint: str) -> "Vectors":
        """What is kept of a space; nothing where the file is new or damaged."""
        path = folder / f"{name}-{fingerprint}.safetensors"
        return cls(path, _read(path) if path.is_file() else {})

    def save(self, only: Collection[str]) -> None:
        """Write those of the keys `only`, whole or not at all; the others are forgotten.

        Raises AnomalystError if the folder cannot be written.
        """
        self.known = {key: self.known[key] for key in self.known if key in only}
        if not self.known:
            self.path.unlink(missing_ok=True)
            return
        from safetensors.numpy import save_file

        keys = b"".join(bytes.fromhex(key) for key in self.known)
        tensors = {
            "keys": np.frombuffer(keys, np.uint8).reshape(-1, DIGEST_BYTES),
            "vectors": np.stack(list(self.known.values())),
        }
        with written_whole(self.path) as part:
            save_file(tensors, part)


def _read(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        held = load_file(path)
        keys, vectors = held["keys"], held["vectors"]
    except (SafetensorError, OSError, KeyError):
        return {}
    if keys.shape != (len(vectors), DIGEST_BYTES):
        return {}
    return {key.tobytes().hex(): one for key, one in zip(keys, vectors, strict=True)}
