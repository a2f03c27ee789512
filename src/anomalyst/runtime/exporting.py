"""A network of ours -> a file that an engine reads."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from anomalyst.errors import AnomalystError
from anomalyst.io.files import written_whole
from anomalyst.runtime.graph import OUTPUTS

OPSET = 18


def write_network(network: nn.Module, canvas_hw: tuple[int, int], path: Path) -> None:
    """Write a `WholeInspection` as `.onnx`, or for OpenVINO as `.xml` with its `.bin`.

    It takes one canvas at a time (docs/decisions.md). Raises AnomalystError where the exporter is
    not installed.
    """
    needed = ["onnx"] + (["openvino"] if path.suffix == ".xml" else [])
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise AnomalystError(
            f"exporting needs {', '.join(missing)}; install with `pip install 'anomalyst[export]'`."
        )
    example = torch.zeros(1, *canvas_hw, 3, dtype=torch.uint8)
    with _quiet(), torch.no_grad(), written_whole(path.with_suffix(".onnx")) as part:
        # torch's older exporter: the newer one takes 37 s where this one takes 2, for a network
        # that is no quicker (docs/decisions.md).
        torch.onnx.export(
            network,
            (example,),
            str(part),
            dynamo=False,
            input_names=["canvases"],
            output_names=list(OUTPUTS),
            opset_version=OPSET,
        )
    if path.suffix == ".xml":
        _as_openvino(path)


def _as_openvino(path: Path) -> None:
    import openvino as ov

    source = path.with_suffix(".onnx")
    ov.save_model(ov.convert_model(str(source)), str(path), compress_to_fp16=False)
    source.unlink()


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter remarks on packages we do not use and on constants it does not fold."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
