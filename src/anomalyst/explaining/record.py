"""What a model computed on its way: attention weights, feature maps, and their gradients.

    with recorded(model, attention=True, features=["encoder.layer.3"]) as record:
        model(pixels)
    record.attention  # name of the module -> (B, heads, queries, keys) of each of its calls

Models of transformers are switched to their eager attention for as long. Our own modules call
torch's fused attention, which gives no weights away: they are computed again from its arguments.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from anomalyst.errors import AnomalystError
from anomalyst.explaining.attention import attention_weights

SOFTMAX = (F.softmax, torch.softmax, Tensor.softmax)


@dataclass(slots=True)
class Record:
    """What was recorded, by the names of the model's modules, in the order of their calls."""

    attention: dict[str, list[Tensor]] = field(default_factory=dict)
    features: dict[str, Tensor] = field(default_factory=dict)

    def gradient(self, name: str) -> Tensor:
        """Of what was backpropagated with respect to a feature map, in the map's shape."""
        found = self.features[name].grad
        assert found is not None, "nothing was backpropagated, or not through this module"
        return found

    def layers(self) -> list[tuple[str, Tensor]]:
        """Every module that attended, with its last weights (B, heads, queries, keys)."""
        return [(name, calls[-1]) for name, calls in self.attention.items()]


@contextmanager
def recorded(
    model: nn.Module,
    *,
    attention: bool = False,
    features: Sequence[str] = (),
    gradients: bool = False,
) -> Iterator[Record]:
    """Record while the model runs. The model is left as it was.

    `features`: names of modules whose output is kept; `gradients`: so that a backward pass leaves
    its gradient there. Raises AnomalystError for a module that is not there, and for a model of
    transformers that has no eager attention.
    """
    record = Record()
    modules = dict(model.named_modules())
    for name in features:
        if name not in modules:
            raise AnomalystError(
                f"layer {name!r}: {type(model).__name__} has none of that name; it has "
                f"{', '.join(list(modules)[1:8])} and {max(0, len(modules) - 8)} more."
            )
    hooks = [
        modules[name].register_forward_hook(_keeps(record, name, gradients)) for name in features
    ]
    try:
        if not attention:
            yield record
            return
        running: list[tuple[str, nn.Module]] = []
        hooks += [hook for one in modules.items() for hook in _follow(running, *one)]
        with eager(model), _Attending(record, running):
            yield record
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def eager(model: nn.Module) -> Iterator[None]:
    """Every model of transformers in it computes attention step by step, and as before afterwards.

    Raises AnomalystError for one that can only attend in a fused kernel.
    """
    found = [one for one in model.modules() if isinstance(one, PreTrainedModel)]
    before = [one.config._attn_implementation for one in found]
    try:
        for one, was in zip(found, before, strict=True):
            if was != "eager":
                _switch(one, "eager", was)
        yield
    finally:
        for one, was in zip(found, before, strict=True):
            if was != one.config._attn_implementation:
                one.set_attn_implementation(was)


def _switch(model: PreTrainedModel, to: str, was: str) -> None:
    try:
        model.set_attn_implementation(to)
    except (ValueError, ImportError, AttributeError) as error:
        model_name = type(model).__name__
        raise AnomalystError(
            f"{model_name}: attends in a fused kernel ({was}) that gives no weights away, and "
            f"cannot be switched to eager ({str(error).splitlines()[0]}); load it with "
            'attn_implementation="eager".'
        ) from error
    if model.config._attn_implementation != to:
        raise AnomalystError(
            f"{type(model).__name__}: keeps to the fused kernel {was}, which gives no attention "
            'weights away; load it with attn_implementation="eager".'
        )


def _keeps(record: Record, name: str, gradients: bool) -> Callable[..., None]:
    def keep(module: nn.Module, args: Any, output: Any) -> None:  # noqa: ARG001
        value = _tensor_of(output)
        if gradients and value.requires_grad:
            value.retain_grad()
        record.features[name] = value if gradients else value.detach()

    return keep


def _tensor_of(output: Any) -> Tensor:
    """A module's output, of several or named ones the first."""
    while not isinstance(output, Tensor):
        if hasattr(output, "last_hidden_state"):
            output = output.last_hidden_state
        else:
            output = next(iter(output.values() if isinstance(output, dict) else output))
    return output


def _follow(
    running: list[tuple[str, nn.Module]], name: str, module: nn.Module
) -> list[RemovableHandle]:
    """Hooks that keep account of which module is running."""

    def begins(*_: Any) -> None:
        running.append((name, module))

    def ends(*_: Any) -> None:
        running.pop()

    return [
        module.register_forward_pre_hook(begins),
        module.register_forward_hook(ends, always_call=True),
    ]


class _Attending(TorchFunctionMode):
    """Keeps the weights of every attention that is computed."""

    def __init__(self, record: Record, running: list[tuple[str, nn.Module]]):
        super().__init__()
        self.record, self.running = record, running

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            self._keep(_recomputed(*args, **(kwargs or {})))
        elif func in SOFTMAX and result.ndim == 4 and self._is_attention():
            self._keep(result)
        return result

    def _is_attention(self) -> bool:
        return any("attention" in type(module).__name__.lower() for _, module in self.running[-2:])

    def _keep(self, weights: Tensor) -> None:
        name = self.running[-1][0] if self.running else ""
        self.record.attention.setdefault(name, []).append(weights.detach().float())


def _recomputed(
    query: Tensor,
    key: Tensor,
    value: Tensor,  # noqa: ARG001 - as the fused call names it
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """The weights of a fused call, by its own arguments."""
    if enable_gqa:  # several heads of queries share one of keys
        key = key.repeat_interleave(query.shape[1] // key.shape[1], 1)
    return attention_weights(query, key, mask=attn_mask, causal=is_causal, scale=scale)
