"""Encoders: a picture batch -> `Features`. One by its specification, as a user writes it."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from anomalyst.backbones.base import Encoder
from anomalyst.errors import AnomalystError

__all__ = ["Encoder", "detector_weights", "fingerprint", "load_encoder"]


def load_encoder(spec: str, dtype: torch.dtype | None = None) -> Encoder:
    """The encoder of a specification.

    `embedded`; `run:DIR`, what `anomalyst train` made with a detector recipe; `hf:NAME_OR_DIR`, any
    vision backbone; `imagebind:DIR`, the image tower of an ImageBind. `dtype`: precision of the
    first two; None, as this processor is quickest.
    Raises AnomalystError for any other word, or a folder that is no run.
    """
    weights = detector_weights(spec)
    if weights is not None:
        from anomalyst.backbones.embedded import load_embedded

        encoder = load_embedded(weights, dtype=dtype)
        encoder.name = spec
        return encoder
    if spec.startswith("hf:"):
        from anomalyst.backbones.huggingface import HubEncoder, HubEncoderConfig

        return HubEncoder(HubEncoderConfig(source=spec.removeprefix("hf:")))
    if spec.startswith("imagebind:"):
        from anomalyst.backbones.imagebind.encoder import ImageBindEncoder

        return ImageBindEncoder(spec.removeprefix("imagebind:"))
    raise AnomalystError(
        f"--encoder {spec!r}: is not an encoder; write `embedded`, `run:` and the folder of a "
        "trained detector, as in run:runs/lite0, `hf:` and a model's name or folder, as in "
        "hf:./dinov2-small, or `imagebind:` and the folder of one."
    )


def detector_weights(spec: str) -> Path | None:
    """The file with encoder and pair decoder of a specification; None for an encoder alone.

    Raises AnomalystError for a run without it.
    """
    if spec == "embedded":
        from anomalyst.backbones.embedded import EMBEDDED_WEIGHTS

        return EMBEDDED_WEIGHTS
    if not spec.startswith("run:"):
        return None
    path = Path(spec.removeprefix("run:")) / "model.safetensors"
    if not path.is_file():
        raise AnomalystError(
            f"--encoder {spec}: {path} is not there; give the folder of a finished run of a "
            "detector recipe (`anomalyst train recipes/embedded.yaml --out DIR`)."
        )
    return path


def fingerprint(*modules: nn.Module | None) -> str:
    """Sixteen hex digits that tell one set of weights from another (names, shapes, samples)."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in (module.state_dict() if module is not None else {}).items():
            sample = value.detach().flatten()[:: max(1, value.numel() // 64)].float()
            digest.update(f"{name}{tuple(value.shape)}".encode() + sample.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
