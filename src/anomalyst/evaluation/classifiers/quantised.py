"""A network with its heavy layers in 8 bit, by torch's own quantization on the CPU.

Two ways, and each says what it made 8 bit. Dynamic: weights of dense layers; activations are put
into 8 bit as they come. Static: weights and inputs of convolutions and dense layers, with ranges
fixed on example pictures (Jacob et al. 2018, CVPR). Attention's own products, normalisations and
activations between what was made 8 bit stay float32.
"""

import copy
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from anomalyst.errors import AnomalystError

HEAVY = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True, slots=True)
class Quantised:
    """The network in 8 bit, and in words what of it is."""

    network: nn.Module
    said: str


def dynamic(network: nn.Module) -> Quantised:
    """A copy whose dense layers have 8-bit weights.

    Raises AnomalystError if it has none, or torch cannot make them 8 bit.
    """
    dense = _count(network, nn.Linear)
    if not dense:
        raise AnomalystError("has no dense layer; only those can be 8 bit without examples.")
    ao = _torch_quantization()
    with quiet():
        try:
            made = ao.quantize_dynamic(copy.deepcopy(network).eval(), {nn.Linear}, torch.qint8)
        except (RuntimeError, AttributeError, NotImplementedError, TypeError) as error:
            raise AnomalystError(_refusal(error)) from error
    done = dense - _count(made, nn.Linear)
    return Quantised(made, f"weights of {done} of {dense} dense layers 8 bit")


def static(network: nn.Module, examples: Tensor) -> Quantised:
    """A copy whose convolutions and dense layers compute in 8 bit.

    `examples` (N, C, H, W) fix the ranges; pictures like those to come are needed. A network that
    torch can trace keeps 8 bit from layer to layer; of another, each layer goes to 8 bit and back.
    Raises AnomalystError if it has no such layer, or torch cannot do it.
    """
    heavy = _count(network, *HEAVY)
    if not heavy:
        raise AnomalystError("has neither a convolution nor a dense layer to be made 8 bit.")
    with quiet(), torch.inference_mode():
        # Tracing fails in as many ways as there are networks.
        with suppress(Exception):
            return Quantised(
                _traced(network, examples), f"convolutions and dense layers ({heavy}) 8 bit, joined"
            )
        try:
            made = _layer_by_layer(network, examples)
        except (RuntimeError, AttributeError, NotImplementedError, TypeError) as error:
            raise AnomalystError(_refusal(error)) from error
    return Quantised(made, f"convolutions and dense layers ({heavy}) 8 bit, float32 between them")


def _traced(network: nn.Module, examples: Tensor) -> nn.Module:
    """Convolution, folded normalisation and ReLU become one 8-bit step."""
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    mapping = get_default_qconfig_mapping(torch.backends.quantized.engine)
    prepared = prepare_fx(copy.deepcopy(network).eval(), mapping, (examples[:1],))
    prepared(examples)
    made: nn.Module = convert_fx(prepared)
    made(examples[:1])
    return made


def _layer_by_layer(network: nn.Module, examples: Tensor) -> nn.Module:
    """Each heavy layer between a step to 8 bit and one back."""
    ao = _torch_quantization()
    made = copy.deepcopy(network).eval()
    config = ao.get_default_qconfig(torch.backends.quantized.engine)
    for name, layer in list(made.named_modules()):
        if type(layer) in HEAVY:
            layer.qconfig = config
            between = ao.QuantWrapper(layer)
            # Some networks ask a layer's weight which format it takes: float32, as before.
            between.weight = torch.empty(0)
            made.set_submodule(name, between)
    made = ao.prepare(made)
    made(examples)
    made = ao.convert(made)
    made(examples[:1])
    return made


def _count(network: nn.Module, *kinds: type[nn.Module]) -> int:
    return sum(type(layer) in kinds for layer in network.modules())


def _torch_quantization() -> Any:
    try:
        with quiet():
            from torch.ao import quantization
    except ImportError as error:
        raise AnomalystError(
            f"torch {torch.__version__} no longer has torch.ao.quantization; 2.11 to 2.13 do."
        ) from error
    if torch.backends.quantized.engine == "none":
        raise AnomalystError("this build of torch has no 8-bit kernels for this processor.")
    return quantization


def quiet() -> warnings.catch_warnings:
    """torch announces that this interface will go some day; the user can do nothing about it."""
    return warnings.catch_warnings(action="ignore")


def _refusal(error: Exception) -> str:
    first = str(error).strip().splitlines() or [type(error).__name__]
    return f"torch cannot make it 8 bit: {first[0][:160]}"
