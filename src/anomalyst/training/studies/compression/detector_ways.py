"""The ways to make the detector smaller, by name: each changes a detector in place."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from anomalyst.backbones.embedded import EmbeddedEncoder
from anomalyst.detection.detector import Detector
from anomalyst.evaluation.classifiers import quantised
from anomalyst.evaluation.classifiers.costs import saved_bytes
from anomalyst.layers.packed import Format, kept_bytes, pack_weights
from anomalyst.training.studies.compression.imitation import Imitation, imitate
from anomalyst.training.studies.compression.pruning import (
    drop_channels,
    make_permanent,
    mask_smallest,
    sparse_bytes,
)

SPARSE, CHANNELS = 0.5, 0.3  # shares taken away by magnitude and by structure


@dataclass(frozen=True, slots=True)
class Made:
    """What a way made of a network: bytes of its weights, and in words what was done."""

    bytes: int
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What ways need: pictures that fix ranges, and how long is fine-tuned."""

    examples: Callable[[], Tensor]  # (N, 3, S, S) in [0, 1], drawn when they are needed
    imitation: Imitation = field(default_factory=Imitation)
    on_step: Callable[[], None] = lambda: None


Way = Callable[[Detector, Workshop], Made]


def _parts(detector: Detector) -> tuple[EmbeddedEncoder, nn.Module]:
    encoder, decoder = detector.encoder, detector.decoder
    assert isinstance(encoder, EmbeddedEncoder) and decoder is not None
    return encoder, decoder


def as_it_is(detector: Detector, _: Workshop) -> Made:
    """float32 sums; what the others are compared with."""
    return Made(sum(map(kept_bytes, _parts(detector))), "weights and sums float32")


def bfloat16(detector: Detector, _: Workshop) -> Made:
    """Weights and sums in bfloat16, as `--precision bfloat16` has them."""
    encoder, decoder = _parts(detector)
    encoder.to(torch.bfloat16)
    detector.dtype = torch.bfloat16
    return Made(
        kept_bytes(encoder) + kept_bytes(decoder) // 2, "weights and sums bfloat16 (autocast)"
    )


def int8_dynamic(detector: Detector, _: Workshop) -> Made:
    """Refused: torch's dynamic 8 bit is for dense layers, and there is none."""
    encoder, _decoder = _parts(detector)
    return Made(0, quantised.dynamic(encoder).said)


def int8_static(detector: Detector, shop: Workshop) -> Made:
    """Trunk and detail in 8 bit with fixed ranges; projections and pair decoder stay float32."""
    encoder, decoder = _parts(detector)
    said, examples = [], shop.examples()
    for name in _EIGHT_BIT:
        made = quantised.static(getattr(encoder, name), examples)
        setattr(encoder, name, Answering(made.network, getattr(encoder, name)))
        said.append(f"{name}: {made.said}")
    return Made(_mixed_bytes(encoder, decoder), "; ".join(said))


def int8_aware(detector: Detector, shop: Workshop) -> Made:
    """As static, fine-tuned with the rounding in place first (Jacob et al. 2018, CVPR)."""
    from torch.ao.quantization import get_default_qat_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_qat_fx

    encoder, decoder = _parts(detector)
    mapping = get_default_qat_qconfig_mapping(torch.backends.quantized.engine)
    whole = {name: getattr(encoder, name) for name in _EIGHT_BIT}
    examples = shop.examples()[:1]
    with quantised.quiet():
        for name, part in whole.items():
            nn.Module.train(part, True)  # the trunk itself never leaves evaluation mode
            made = prepare_qat_fx(part, mapping, (examples,))
            setattr(encoder, name, Answering(made, part))
        imitate(detector, shop.imitation, _eight_bit_parts, shop.on_step)
        for name, part in whole.items():
            made = convert_fx(getattr(encoder, name).network.eval())
            setattr(encoder, name, Answering(made, part))
    steps = shop.imitation.steps
    return Made(
        _mixed_bytes(encoder, decoder), f"trunk and detail 8 bit, after {steps} steps of imitation"
    )


def packed(format_: Format) -> Way:
    """Weights of every layer packed in 6 or 4 bits, unpacked at each use; sums float32."""

    def way(detector: Detector, _: Workshop) -> Made:
        shares = [pack_weights(part, format_) for part in _parts(detector)]
        weights, total = (
            sum(getattr(s, name) for s in shares) for name in ("weights", "of_weights")
        )
        return Made(
            sum(map(kept_bytes, _parts(detector))),
            f"{weights / total:.1%} of the weights packed, unpacked at each use",
        )

    return way


def magnitude(detector: Detector, shop: Workshop) -> Made:
    """Half of all weights zero, the smallest of each layer, fine-tuned."""
    parts = list(_parts(detector))
    mask_smallest(parts, SPARSE)
    imitate(detector, shop.imitation, lambda d: list(_parts(d)), shop.on_step)
    make_permanent(*parts)
    said = f"{SPARSE:.0%} of each layer's weights zero, {shop.imitation.steps} steps of imitation"
    return Made(sparse_bytes(*parts), f"{said}; size with a bit for each weight")


def structured(detector: Detector, shop: Workshop) -> Made:
    """Fewer inner channels in every block of trunk and detail, fine-tuned."""
    encoder, decoder = _parts(detector)
    drop_channels(encoder, CHANNELS)
    imitate(detector, shop.imitation, lambda d: list(_parts(d)), shop.on_step)
    steps = shop.imitation.steps
    return Made(
        kept_bytes(encoder) + kept_bytes(decoder),
        f"{CHANNELS:.0%} of the inner channels of trunk and detail gone, {steps} steps of "
        "imitation",
    )


WAYS: dict[str, Way] = {
    "float32": as_it_is,
    "bfloat16": bfloat16,
    "int8 dynamic": int8_dynamic,
    "int8 static": int8_static,
    "int8 quantisation-aware": int8_aware,
    "6-bit float, weights": packed("fp6"),
    "4-bit, weights": packed("int4"),
    "pruned by magnitude": magnitude,
    "pruned by structure": structured,
}
_EIGHT_BIT = ("trunk", "detail")


class Answering(nn.Module):
    """A network in 8 bit in its part's place: what others ask of the part, it answers as before."""

    def __init__(self, network: nn.Module, part: nn.Module):
        super().__init__()
        self.network = network
        for name in ("channels", "spreads"):
            if hasattr(part, name):
                setattr(self, name, getattr(part, name))

    def forward(self, pixels: Tensor) -> Any:
        """As the part."""
        return self.network(pixels)


def _eight_bit_parts(detector: Detector) -> list[nn.Module]:
    return [getattr(detector.encoder, name) for name in _EIGHT_BIT]


def _mixed_bytes(encoder: EmbeddedEncoder, decoder: nn.Module) -> int:
    """Bytes as saved of what is 8 bit, as kept of what is not."""
    parts = [getattr(encoder, name) for name in _EIGHT_BIT]
    return sum(map(saved_bytes, parts)) + kept_bytes(encoder.projections) + kept_bytes(decoder)
