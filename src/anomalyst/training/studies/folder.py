"""What a study's folder holds: one study only."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text


def refuse_other_study(out: Path, settings: Mapping[str, Any]) -> None:
    """Raises AnomalystError where another study was begun."""
    path = out / "study.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else dict(settings)
    for key in settings.keys() | before.keys():
        if before.get(key) != settings.get(key):
            raise AnomalystError(
                f"{out}: holds a study with {key} {before.get(key)!r}, not "
                f"{settings.get(key)!r}; choose another folder with --out."
            )


def begin_study(out: Path, settings: Mapping[str, Any]) -> None:
    """Note what is studied here, once its recipes can be run."""
    refuse_other_study(out, settings)
    write_text(out / "study.json", json.dumps(dict(settings), indent=2) + "\n")
