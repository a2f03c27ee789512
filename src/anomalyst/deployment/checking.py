"""An exported folder beside Anomalyst itself, on the same pictures."""

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from anomalyst.errors import AnomalystError, PictureError
from anomalyst.inspector import Inspector
from anomalyst.product import Product
from anomalyst.runtime.compiled import network_key
from anomalyst.types import Inspection

TRAVELLING = ("geometry", "conditions")  # modules that lie beside the runner


@dataclass(slots=True)
class Agreement:
    """How far the two are from each other at most, over all pictures."""

    pictures: int = 0
    score: float = 0.0  # nats; a score is a logarithm, so no share of it means anything
    map: float = 0.0
    verdicts: list[Path] = field(default_factory=list)  # pictures whose verdict differs
    skipped: list[PictureError] = field(default_factory=list)


def check_export(
    inspector: Inspector,
    product: Product,
    folder: Path,
    pictures: Sequence[Path],
    on_picture: Callable[[], None] = lambda: None,
) -> Agreement:
    """Inspect every picture with both. The folder's own runner is what runs, as a stranger has it.

    Raises AnomalystError for a folder that is no export, was changed, or is of another product.
    """
    assert inspector.config.engine == "torch", "an export would be compared with itself"
    runner = open_runner(folder)
    if runner.MANIFEST.get("key") != network_key(inspector.detector, product):
        raise AnomalystError(
            f"{folder}: was exported from another product, or from this one before it was taught "
            "again; export it again."
        )
    rate = runner.MANIFEST["decision"]["rate"]
    product = replace(product, circle=None)  # an export judges parts as they lie
    networks, found = runner.engines(), Agreement()
    for path in pictures:
        try:
            ours = inspector.inspect(path, product, false_alarm_rate=rate)
            theirs, shown = runner.inspect(runner.read(path), networks)
        except PictureError as error:
            found.skipped.append(error)
            continue
        except ValueError as error:  # what the runner refuses, as 16-bit pictures
            found.skipped.append(PictureError(path, str(error).removeprefix(f"{path}: ")))
            continue
        finally:
            on_picture()
        gap = abs(theirs["score"] - ours.score)
        if not np.isfinite(gap) or not np.isfinite(shown).all():
            raise AnomalystError(f"{path}: the exported network gives no numbers; report this.")
        found.pictures += 1
        found.score = max(found.score, gap)
        found.map = max(found.map, float(np.abs(shown - ours.map).max()))
        if theirs["verdict"] != ours.verdict and not _by_another_eye(ours, theirs):
            found.verdicts.append(path)
    return found


def _by_another_eye(ours: Inspection, theirs: Mapping[str, Any]) -> bool:
    """Whether one of them takes the picture for another product's.

    A network gives less of a picture as a whole than torch looks at (inspection/likeness.py).
    """
    causes = {ours.unfit.cause if ours.unfit else "", (theirs.get("unfit") or {}).get("cause")}
    return "product" in causes


def open_runner(folder: Path) -> Any:
    """The runner of an exported folder as a module; it has checked every file's checksum.

    Raises AnomalystError for a folder that is no export or was changed.
    """
    if not (folder / "manifest.json").is_file() or not (folder / "runner.py").is_file():
        raise AnomalystError(f"{folder}: is no exported product; make one with `anomalyst export`.")
    known = {name: sys.modules.pop(name, None) for name in TRAVELLING}
    sys.path.insert(0, str(folder))
    try:
        return _loaded(folder / "runner.py")
    except SystemExit as refusal:
        raise AnomalystError(str(refusal)) from None
    except (OSError, ValueError, KeyError) as error:
        raise AnomalystError(f"{folder}: cannot be read ({error!r}); export it again.") from error
    finally:
        sys.path.remove(str(folder))
        for name in TRAVELLING:
            sys.modules.pop(name, None)
        sys.modules.update({name: one for name, one in known.items() if one is not None})


def _loaded(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported_runner", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
