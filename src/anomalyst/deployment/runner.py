"""Inspect pictures with an exported product: python runner.py PICTURE... One JSON object a line.
Needs numpy, OpenCV and ONNX Runtime (or OpenVINO); neither torch nor Anomalyst."""
import hashlib
import json
import sys
from pathlib import Path

import conditions
import cv2
import geometry
import numpy as np

HERE, GIVEN = Path(__file__).resolve().parent, ["logits", "map", "frozen", "embedding"]
MANIFEST = json.loads((HERE / "manifest.json").read_text())
for name, digest in MANIFEST["files"].items():
    if not (HERE / name).is_file() or hashlib.sha256((HERE / name).read_bytes()).hexdigest() != digest:
        sys.exit(f"{HERE / name}: is missing or was changed; export the product again.")
FRAME = geometry.Frame(*(tuple(map(tuple, v)) if k == "boxes_xyxy" else tuple(v) for k, v in MANIFEST["frame"].items()))

def engines():
    if MANIFEST["engine"] == "onnx":
        import onnxruntime
        opened = [onnxruntime.InferenceSession(str(HERE / n)) for n in MANIFEST["networks"]]
        return [lambda x, s=s: s.run(GIVEN, {"canvases": x}) for s in opened]
    import openvino
    opened = [openvino.Core().compile_model(str(HERE / n), "CPU", {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}) for n in MANIFEST["networks"]]
    return [lambda x, s=s: [s({"canvases": x})[n] for n in GIVEN] for s in opened]

def read(path):
    data = Path(path).read_bytes() if Path(path).is_file() else b""
    cut = data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda") or data[:4] == b"\x89PNG" and b"acTL" in data[:data.find(b"IDAT")]  # OpenCV greys what a JPEG lacks, and crashes over some animated PNGs
    try: raw = None if cut else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error: raw = None  # a size that is claimed and not there
    if raw is None or raw.dtype != np.uint8 or not (raw.ndim == 2 or raw.shape[2] == 3) or min(raw.shape[:2]) < 16 or raw.shape[0] * raw.shape[1] > 1e8 or cv2.imcount(str(path)) > 1:
        raise ValueError(f"{path}: one 8-bit grey or RGB picture without alpha, not cut short, is needed, 16 px to 100 megapixels.")
    return np.ascontiguousarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])  # turned upright by EXIF

def inspect(picture, run):
    """uint8 RGB (H, W, 3) -> score, p-value, verdict, why it cannot be judged, if so, and the map float32 (H, W)."""
    views, maps, scores, contrasts, wholes, rule = FRAME.cut(picture), [], [], [], [], MANIFEST["decision"]
    for network, canvas, placed in zip(run, views.canvases, views.placements, strict=True):
        logits, shown, frozen, whole = (found[0, 0] if found.ndim == 4 else found for found in network(canvas[None]))
        kept, near = (placed.inside(*one.shape) if placed.padded else np.ones(one.shape, bool) for one in (logits, frozen))
        values, far = logits[kept].astype(np.float64), np.sort(frozen[near])
        far = max(rule["frozen"]["least"], far[-max(1, int(rule["frozen"]["top_share"] * far.size)) :].mean())
        scores.append(float(np.log(np.mean(1 / (1 + np.exp(-values)))) + rule["peak_weight"] * values.max() + rule["frozen"]["weight"] * np.log(far)))
        contrasts, maps, wholes = [*contrasts, np.dot(rule["contrast"], [values.max(), 1])], [*maps, shown * kept], [*wholes, whole]
    by = max(contrasts if rule["by"] == "contrast" else scores)
    p = float(np.interp(by, rule["scores"], rule["p_values"])) if rule["interpolate"] else (1 + sum(s >= by for s in rule["scores"])) / (1 + len(rule["scores"]))
    verdict = "anomalous" if p <= rule["rate"] else "unsure" if p <= 2 * rule["rate"] else "normal"
    if rule["unsure_from"] is not None and verdict != "anomalous": verdict = "unsure" if max(contrasts) >= rule["unsure_from"] else "normal"
    unfit = conditions.exported_reason(MANIFEST["fitness"], views.canvases, wholes)
    return {"score": max(scores), "p_value": p, "verdict": "unsure" if unfit else verdict, "unfit": unfit}, views.join(maps)

if __name__ == "__main__":
    networks, code = engines(), 0
    for path in sys.argv[1:] or sys.exit(__doc__):
        try: print(json.dumps({"image": path, **inspect(read(path), networks)[0]}))
        except ValueError as error: code = print(error, file=sys.stderr) or 2
    sys.exit(code)
