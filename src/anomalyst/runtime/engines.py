"""Engines that run an exported network: ONNX Runtime and OpenVINO behind one call."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import ENGINES, checked_choice
from anomalyst.runtime.graph import OUTPUTS

BuiltEngine = Literal["onnx", "openvino"]
BUILT: tuple[BuiltEngine, ...] = ("openvino", "onnx")  # the quicker first
SUFFIX = {"onnx": ".onnx", "openvino": ".xml"}
Run = Callable[[np.ndarray], dict[str, np.ndarray]]  # uint8 (1, h, w, 3) -> `OUTPUTS` by name
ENGINE_FOLDER = "engines"  # in a product's folder: its networks, by engine
_MODULES = {"onnx": "onnxruntime", "openvino": "openvino"}


def checked_engine(name: str) -> None:
    """Raises AnomalystError for an engine that is unknown (names the nearest) or not installed."""
    checked_choice("--engine", name, ENGINES)
    if name in _MODULES and not installed(name):
        raise AnomalystError(
            f"--engine {name}: {_MODULES[name]} is not installed; "
            "`pip install 'anomalyst[export]'`."
        )


def refuse_unfit_engine(engine: str, device: str, precision: str, *, words: bool) -> None:
    """Raises AnomalystError for what an engine cannot do. `words`: a text tower judges, too."""
    if engine in BUILT and device == "cuda":
        raise AnomalystError(
            f"--engine {engine} computes on the processor; take --device cpu, or "
            "--engine torch for the GPU."
        )
    if engine in BUILT and words:
        raise AnomalystError(
            f"--engine {engine} runs the product's own network, which has no words; "
            "leave --text-tower out, or take --engine torch."
        )
    if (engine, precision) == ("onnx", "bfloat16"):
        raise AnomalystError(
            "--engine onnx computes in float32 only; leave --precision out, or take "
            "--engine openvino."
        )


def installed(name: str) -> bool:
    """Whether the library of a built engine is there."""
    return find_spec(_MODULES[name]) is not None


def built_engines(folder: Path | None, key: str = "*") -> list[BuiltEngine]:
    """The engines that networks of a key lie ready for in a product's folder, the quicker first."""
    if folder is None:
        return []
    inside = folder / ENGINE_FOLDER
    return [name for name in BUILT if any(inside.glob(f"{name}-{key}")) and installed(name)]


def open_engine(path: Path, threads: int, *, bfloat16: bool = False) -> Run:
    """The network of a file, `.onnx` or `.xml`, ready to run canvas by canvas on so many threads.

    `bfloat16`: sums in it, which OpenVINO can; else in float32. Raises AnomalystError for a file
    the engine cannot read.
    """
    try:
        if path.suffix == ".onnx":
            return _onnx(path, threads)
        return _openvino(path, threads, bfloat16)
    except Exception as error:  # the engines raise types of their own
        raise AnomalystError(f"{path}: the engine cannot read it ({error}).") from error


def _onnx(path: Path, threads: int) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # A thread that waits must not hold the processor another job needs (hardware/processor.py).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(canvases: np.ndarray) -> dict[str, np.ndarray]:
        found = session.run(list(OUTPUTS), {"canvases": canvases})
        return dict(zip(OUTPUTS, found, strict=True))

    return run


def _openvino(path: Path, threads: int, bfloat16: bool) -> Run:
    import openvino as ov

    config: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
    }
    request = ov.Core().compile_model(str(path), "CPU", config).create_infer_request()

    def run(canvases: np.ndarray) -> dict[str, np.ndarray]:
        found = request.infer({"canvases": canvases})
        return {name: np.array(found[name]) for name in OUTPUTS}

    return run
