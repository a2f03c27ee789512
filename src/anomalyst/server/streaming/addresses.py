"""Addresses as they may be shown and kept."""

import os
from pathlib import Path

from anomalyst.errors import AnomalystError

SCHEMES = ("mqtt", "mqtts")  # of topics; mqtts by TLS


def without_password(address: str) -> str:
    """An address as it may be shown and kept: without user and password."""
    scheme, mark, rest = address.partition("://")
    if not mark:
        return address.rpartition("@")[2]
    place, slash, path = rest.partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def kept_in_file(address: str) -> str:
    """The address that `@FILE` names, or what was given: others see a command line, not a file.

    Raises AnomalystError for a file that cannot be read or holds nothing.
    """
    if not address.startswith("@"):
        return address
    path = Path(address[1:])
    try:
        found = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise AnomalystError(f"{address}: the file cannot be read ({error}).") from error
    if not found or "\n" in found:
        raise AnomalystError(f"{address}: the file must hold one address, in one line.")
    return found


def keep_in_file(address: str, path: Path) -> str:
    """`@FILE` that stands for an address with a password or a token, readable by its owner only."""
    if without_password(address) == address and "?" not in address:
        return address
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(address + "\n")
    return f"@{path}"
