"""What one machine says of itself before a start; run on it by `cluster check`.

    python -m anomalyst.training.distributed.node_report --token FILE --own FILE --port N

Prints one JSON line, then answers every line it is sent with its clock. Imports little, so that it
speaks on a machine whose installation is not complete, too.
"""

import argparse
import importlib
import json
import os
import platform
import re
import shutil
import socket
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

LATE = 5.0  # seconds that a network's file system may take to show a new file
LARGEST = ("torch", "transformers", "numpy", "cv2", "safetensors", "yaml")  # must import, too


def report(token: Path | None, own: Path | None, port: int | None) -> dict[str, Any]:
    """Plain JSON values; `missing` lists what a complete installation would have."""
    found: dict[str, Any] = {
        "host": socket.gethostname(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "missing": [*_missing_packages(), *_missing_files()],
    }
    for name in LARGEST:
        try:
            importlib.import_module(name)
        except Exception as error:
            found["missing"].append(f"{name} ({type(error).__name__}: {error})")
    found |= {"torch": _version("torch"), "anomalyst": _own_version(), "gpus": _gpus()}
    if token and own:
        found["shared"] = _shared(token, own)
    if port is not None:
        found["port_in_use"] = _in_use(port)
    return found


def _missing_packages() -> list[str]:
    """What the package asks for without extras, and is not there."""
    try:
        asked = metadata.requires("anomalyst") or []
    except metadata.PackageNotFoundError:
        return []  # run from its source
    names = [re.match(r"[\w.-]+", one) for one in asked if "extra ==" not in one]
    return [one[0] for one in names if one and _version(one[0]) is None]


def _missing_files() -> list[str]:
    weights = Path(__file__).parents[2] / "weights" / "embedded.safetensors"
    there = weights.is_file() and weights.stat().st_size > 0
    return [] if there else [f"weights/{weights.name}"]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _own_version() -> str:
    from anomalyst.version import __version__

    return __version__


def _gpus() -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def _shared(token: Path, own: Path) -> dict[str, Any]:
    """Whether a file that another machine wrote is seen here, and one written here can be made."""
    until = time.monotonic() + LATE
    while not token.is_file() and token.parent.is_dir() and time.monotonic() < until:
        time.sleep(0.1)
    if not token.is_file():
        there = "is another folder here" if token.parent.is_dir() else "is not there"
        return {"ok": False, "why": f"{token.parent} {there}"}
    try:
        own.write_text(token.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        return {"ok": False, "why": f"{token.parent} cannot be written ({error.strerror})"}
    return {"ok": True, "free_gb": round(shutil.disk_usage(token.parent).free / 1e9, 1)}


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return True
    return False


def main() -> None:
    """Report, then tell the time as often as asked."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--token", type=Path)
    parser.add_argument("--own", type=Path)
    parser.add_argument("--port", type=int)
    asked = parser.parse_args()
    print(json.dumps(report(asked.token, asked.own, asked.port)), flush=True)
    for _ in sys.stdin:
        print(time.time(), flush=True)


if __name__ == "__main__":
    main()
