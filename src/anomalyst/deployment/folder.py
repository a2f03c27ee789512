"""Write a taught product as a folder that inspects by itself: network, runner, manifest, card."""

import hashlib
import json
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from anomalyst.calibration import conditions
from anomalyst.calibration.conformal import Calibration, checked_rate
from anomalyst.calibration.verdict import REAL_MIDDLE, REAL_SHIFT
from anomalyst.detection.scoring import (
    CONTRAST_SLOPE,
    CONTRAST_START,
    FROZEN_LEAST,
    FROZEN_TOP_SHARE,
    FROZEN_WEIGHT,
    PEAK_WEIGHT,
)
from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import checked_choice
from anomalyst.inspection.fitness import named
from anomalyst.inspection.likeness import likeness_of
from anomalyst.inspector import Inspector
from anomalyst.io import geometry
from anomalyst.io.files import folder_written_whole, make_folder
from anomalyst.product import Product
from anomalyst.runtime.compiled import built_networks, network_key
from anomalyst.runtime.engines import BUILT, BuiltEngine
from anomalyst.version import __version__

EXPORT_FORMAT = 2  # of manifest.json; 2 tells what cannot be judged
RUNNER = Path(__file__).with_name("runner.py")
TABLE_SCORES = 400  # of the p-value of a product with few good pictures


def export_product(
    inspector: Inspector, product: Product, out: Path, *, format: str = "onnx", rate: float = 0.05
) -> dict[str, Any]:
    """Write the folder `out`, whole or not at all -> its manifest.

    Raises AnomalystError for an unknown format (names the nearest), a folder that holds something
    else, a product of another encoder than the embedded one, and where the exporter is missing.
    """
    checked_choice("--format", format, BUILT)
    engine = cast(BuiltEngine, format)
    _refuse_product(product)
    checked_rate(rate)
    out = out.resolve()
    _refuse_to_replace(out)
    assert product.frame is not None  # a taught product has one
    inspector.memories(product)
    key = network_key(inspector.detector, product)
    make_folder(out.parent)
    with folder_written_whole(out) as part:
        with built_networks(inspector.detector, product, key, engine) as built:
            for path in built:
                for file in path.parent.glob(f"{path.stem}.*"):  # OpenVINO's weights lie beside
                    (part / file.name).write_bytes(file.read_bytes())
            networks = [path.name for path in built]
        (part / RUNNER.name).write_bytes(RUNNER.read_bytes())
        for module in (geometry, conditions):  # one file each, for us and for the folder
            source = Path(str(module.__file__))
            (part / source.name).write_bytes(source.read_bytes())
        manifest = {
            "format": EXPORT_FORMAT,
            "engine": format,
            "networks": networks,
            "product": product.name,
            "pose": product.pose,
            "good_pictures": product.num_references,
            "fingerprint": product.fingerprint,
            "key": key,
            "frame": asdict(product.frame),
            "decision": decision_rule(inspector, product, rate),
            "fitness": _fitness(product),
            "versions": _versions(),
            "exported": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": {path.name: _digest(path) for path in sorted(part.iterdir())},
        }
        (part / "README.md").write_text(_card(manifest), encoding="utf-8")
        (part / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _refuse_product(product: Product) -> None:
    """Raises AnomalystError for a product that cannot be exported."""
    if product.folder is None:
        raise AnomalystError(
            f"product {product.name!r}: is not saved yet; save it, then export it."
        )
    if product.areas:
        raise AnomalystError(
            f"product {product.name!r}: has areas that count or do not, and an export cannot move "
            "them with the part yet; remove them with `anomalyst areas` to export it."
        )
    if product.rule is not None:
        raise AnomalystError(
            f"product {product.name!r}: was taught with defective pictures, and an export cannot "
            "judge by their threshold yet; teach it without --bad to export it."
        )


def _refuse_to_replace(out: Path) -> None:
    """Raises AnomalystError unless `out` is new, empty, or an export and nothing else."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    what = "something else"
    try:
        ours = json.loads((out / "manifest.json").read_text())
        known = {*ours["files"], "README.md", "manifest.json", "__pycache__"}
        others = sorted(path.name for path in out.iterdir() if path.name not in known)
        if not others:
            return
        what = f"more than an export ({', '.join(others[:3])})"
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise AnomalystError(f"{out}: holds {what}; give --out an empty or new folder.")


def decision_rule(inspector: Inspector, product: Product, rate: float) -> dict[str, Any]:
    """What calibration/verdict.py does with a score at one false-alarm rate, as plain values.

    p of the score, or of the contrast where `by` says so, is counted among `scores` or read off the
    line through (`scores`, `p_values`). From the contrast `unsure_from` on it is no longer normal.
    """
    own = product.calibration
    rule: dict[str, Any] = {
        "rate": rate,
        "by": "score",
        "interpolate": False,
        "peak_weight": PEAK_WEIGHT,
        "frozen": {
            "weight": FROZEN_WEIGHT,
            "top_share": FROZEN_TOP_SHARE,
            "least": FROZEN_LEAST,
        },
        "contrast": [CONTRAST_SLOPE, CONTRAST_START],
        "unsure_from": None,
    }
    if own.enough_for(rate):
        return rule | {"scores": list(own.scores), "guaranteed": True}
    rule["unsure_from"] = REAL_MIDDLE
    if len(own.scores) >= 2:
        return rule | _table(own, rate) | {"guaranteed": False}
    drawn = inspector.procedural
    if drawn is None:
        raise AnomalystError(f"product {product.name!r}: has no calibration; teach more pictures.")
    shifted = [score + REAL_SHIFT for score in drawn.scores]
    return rule | {"by": "contrast", "scores": shifted, "guaranteed": False}


def _fitness(product: Product) -> dict[str, Any]:
    """What is needed of the good pictures to tell what cannot be judged, as plain values."""
    known = likeness_of(product)
    like = known.embedding if known else None  # all that the network gives of a picture as a whole
    return {
        "name": named(product.name),
        "pictures": product.num_references,
        "good": product.conditions.as_list() if product.conditions else [],
        "embeddings": np.round(like.good.cpu().numpy(), 6).tolist() if like else [],
        "farthest": like.limit if like else 0.0,
    }


def _table(own: Calibration, rate: float) -> dict[str, Any]:
    """The estimated p-value of a few scores as a line, exact where the verdict changes."""
    middle, wide = float(np.mean(own.scores)), 4.0 + 4 * float(np.ptp(own.scores))
    edges = [_score_at(own, p, middle - wide, middle + wide) for p in (rate, 2 * rate) if p < 1]
    scores = np.unique([*np.linspace(middle - wide, middle + wide, TABLE_SCORES), *edges])
    return {
        "interpolate": True,
        "scores": scores.tolist(),
        "p_values": [own.estimated_p_value(float(score)) for score in scores],
    }


def _score_at(own: Calibration, p_value: float, low: float, high: float) -> float:
    """The least score whose p-value is at most this, by bisection."""
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if own.estimated_p_value(middle) <= p_value else (middle, high)
    return high


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"anomalyst": __version__, "python": platform.python_version()}
    found["torch"] = str(torch.__version__)
    for name in ("onnx", "onnxruntime", "openvino"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _size(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"


def _lying(pose: str) -> str:
    """What becomes of a part that lies turned."""
    if pose == "fixed":
        return "A part that lies turned counts as different."
    return (
        "Parts are judged as they lie: one that lies turned counts as different here, where "
        "Anomalyst itself would lay it straight first."
    )


def _alone(good_pictures: int) -> str:
    """What one good picture cannot tell."""
    if good_pictures > 1:
        return ""
    return " With one good picture, another product is not told: two are needed."


def _card(manifest: dict[str, Any]) -> str:
    decision, frame = manifest["decision"], manifest["frame"]
    needs = "onnxruntime" if manifest["engine"] == "onnx" else "openvino"
    promise = (
        f"At most {100 * decision['rate']:g} % of good pictures like those taught are called "
        "anomalous (split or leave-one-out conformal calibration)."
        if decision["guaranteed"]
        else "The verdict comes with no guarantee: too few good pictures calibrate it."
    )
    return f"""# {manifest["product"]}: an inspection that runs by itself

    pip install numpy opencv-python-headless {needs}
    python runner.py PICTURE...

One JSON object a picture: score (higher is more anomalous), p-value, verdict (normal, unsure,
anomalous). `inspect(picture, engines())` in `runner.py` also gives the anomaly map.

- Taught from {manifest["good_pictures"]} good pictures of {_size(frame["size_hw"])} pixels, pose
  {manifest["pose"]}; seen at {_size(frame["canvas_hw"])} in {len(frame["boxes_xyxy"])} tile(s).
- False-alarm rate asked for: {decision["rate"]:g}. {promise}
- {_lying(manifest["pose"])}
- What cannot be judged (too dark, over-exposed, out of focus, no part, another product) is unsure,
  and `unfit` says why.{_alone(manifest["good_pictures"])}
- It tells what differs from the good pictures, not whether a difference matters. 8-bit grey or RGB
  pictures only.
- Made by Anomalyst {manifest["versions"]["anomalyst"]} on {manifest["exported"]}; its eye is
  EfficientNet-Lite0 of ImageNet with what was trained on drawn pictures and photographs beside it.
  Licence of code and weights: Apache-2.0.
"""
