"""Which language model spoke: a fingerprint of its folder, kept with every answer.

No torch here: the workbench's front process asks for versions, too.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from anomalyst.errors import AnomalystError

EMBEDDED_LANGUAGE = Path(__file__).parent.parent / "weights" / "language"  # the shipped one
DIGITS = 12
READ = (".safetensors", ".json", ".jinja", ".model", ".txt")
NOT_READ = {"gate.json", "reward.json"}  # what is noted beside a model
State = tuple[tuple[str, int, int], ...]  # of each file: name, bytes, time of change


def model_version(folder: Path) -> str:
    """12 hexadecimal digits of SHA-256 over weights, configuration and tokenizer of a model folder.

    Equal folders have equal versions, wherever they lie. Raises AnomalystError for a folder that
    cannot be read.
    """
    try:
        there = {path.name for path in folder.iterdir() if path.suffix in READ}
        files = [folder / name for name in sorted({"config.json"} | there - NOT_READ)]
        states = [(file.name, file.stat()) for file in files]
        state = tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in states)
        return _fingerprint(folder.resolve(), state)
    except OSError as error:
        raise AnomalystError(f"{folder}: is no model folder that can be read ({error}).") from error


@lru_cache(maxsize=64)
def _fingerprint(folder: Path, state: State) -> str:
    """Read anew only where a file's size or time has changed."""
    digest = hashlib.sha256()
    for name, size, _ in state:
        digest.update(f"{name} {size}\n".encode())
        with (folder / name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:DIGITS]
