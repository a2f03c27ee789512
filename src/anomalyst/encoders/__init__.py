"""Encoders: a picture batch -> `Features`. One by its specification, as a user writes it."""

import hashlib

import torch
from torch import nn

from anomalyst.encoders.base import Encoder
from anomalyst.errors import AnomalystError

__all__ = ["Encoder", "fingerprint", "load_encoder"]


def load_encoder(spec: str, dtype: torch.dtype | None = None) -> Encoder:
    """The encoder of a specification: `embedded`, or `hf:NAME_OR_DIR` for any vision backbone.

    `dtype`: precision of the embedded one; None, as this processor is quickest.
    """
    if spec == "embedded":
        from anomalyst.encoders.embedded import load_embedded

        return load_embedded(dtype=dtype)
    if spec.startswith("hf:"):
        from anomalyst.encoders.hub import HubEncoder, HubEncoderConfig

        return HubEncoder(HubEncoderConfig(source=spec.removeprefix("hf:")))
    raise AnomalystError(
        f"--encoder {spec!r}: is not an encoder; write `embedded`, or `hf:` and a model's name "
        "or folder, as in hf:./dinov2-small."
    )


def fingerprint(*modules: nn.Module | None) -> str:
    """Sixteen hex digits that tell one set of weights from another (names, shapes, samples)."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in (module.state_dict() if module is not None else {}).items():
            sample = value.detach().flatten()[:: max(1, value.numel() // 64)].float()
            digest.update(f"{name}{tuple(value.shape)}".encode() + sample.numpy().tobytes())
    return digest.hexdigest()[:16]
