"""What a network costs: parameters, operations, time and bytes, at float32 and in 8 bit.

Times are of one picture on this machine's CPU with the number of threads named; they compare
networks measured in one call, and nothing else.
"""

import copy
import io
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.classifiers import quantised
from anomalyst.evaluation.classifiers.quantised import Quantised

WARM_UP = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatCost:
    """One number format of a network; figures are None where it was refused, `said` why.

    `milliseconds`: median time of one picture. `bytes`: of the kept weights. `agreement`: share of
    the examples called the same class as at float32, `farthest`: largest change of a probability.
    """

    format: str
    milliseconds: float | None
    bytes: int | None
    agreement: float | None
    farthest: float | None
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What one network costs. `flops` of one picture: a multiplication and an addition are two."""

    name: str
    parameters: int
    trainable: int
    flops: int
    threads: int
    formats: tuple[FormatCost, ...]


def cost_table(
    networks: Mapping[str, nn.Module],
    size: int,
    *,
    channels: int = 1,
    examples: Tensor | None = None,
    threads: int = 1,
    repeats: int = 30,
) -> list[Costs]:
    """Costs of each network on float32 pictures (1, channels, size, size) in 3 formats.

    A network answers with logits (B, K), or with something that has them as `.logits`. `examples`
    (N, C, size, size), as the network gets them, fix the ranges of static 8 bit; without, noise
    does, and `agreement` says little. The networks are measured in turns, so that a machine that
    slows down slows all of them. Raises AnomalystError if `examples` are of another shape.
    """
    if examples is None:
        examples = torch.rand(8, channels, size, size, generator=torch.Generator().manual_seed(0))
    if examples.shape[1:] != (channels, size, size):
        raise AnomalystError(
            f"The examples are {tuple(examples.shape)}; (N, {channels}, {size}, {size}) is needed."
        )
    found = {name: _formats(network, examples) for name, network in networks.items()}
    made = [
        one.network for row in found.values() for one in row.values() if isinstance(one, Quantised)
    ]
    times = dict(zip(map(id, made), _medians(made, examples[:1], threads, repeats), strict=True))
    rows = []
    for name, network in networks.items():
        sure = _probabilities(_made(found[name]["float32"]), examples)
        formats = tuple(
            _format_cost(format_, one, times, examples, sure)
            for format_, one in found[name].items()
        )
        weights = list(network.parameters())
        rows.append(
            Costs(
                name=name,
                parameters=sum(one.numel() for one in weights),
                trainable=sum(one.numel() for one in weights if one.requires_grad),
                flops=flops(network, examples[:1]),
                threads=threads,
                formats=formats,
            )
        )
    return rows


def flops(network: nn.Module, picture: Tensor) -> int:
    """Operations of one pass over `picture` (1, C, H, W); convolutions and products count."""
    was_training = network.training
    network.eval()
    # Attention in plain products: the counter does not know the CPU's fused kernel.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        network(picture)
    network.train(was_training)
    return int(counter.get_total_flops())


def _formats(network: nn.Module, examples: Tensor) -> dict[str, Quantised | AnomalystError]:
    plain = copy.deepcopy(network).eval()
    ways: dict[str, Callable[[], Quantised]] = {
        "float32": lambda: Quantised(plain, "as trained"),
        "int8 dynamic": lambda: quantised.dynamic(plain),
        "int8 static": lambda: quantised.static(plain, examples),
    }
    found: dict[str, Quantised | AnomalystError] = {}
    for name, make in ways.items():
        try:
            made = make()
            _logits(made.network, examples[:1])
            found[name] = made
        except AnomalystError as error:
            found[name] = error
        except RuntimeError as error:
            if name == "float32":
                raise
            found[name] = AnomalystError(f"8 bit does not run here: {str(error).splitlines()[0]}")
    return found


def _format_cost(
    name: str,
    one: Quantised | AnomalystError,
    times: Mapping[int, float],
    examples: Tensor,
    sure: Tensor,
) -> FormatCost:
    if isinstance(one, AnomalystError):
        return FormatCost(
            format=name, milliseconds=None, bytes=None, agreement=None, farthest=None, said=str(one)
        )
    answers = _probabilities(one.network, examples)
    same = (answers.argmax(1) == sure.argmax(1)).float().mean()
    return FormatCost(
        format=name,
        milliseconds=times[id(one.network)],
        bytes=saved_bytes(one.network),
        agreement=float(same),
        farthest=float((answers - sure).abs().max()),
        said=one.said,
    )


def _medians(networks: list[nn.Module], picture: Tensor, threads: int, repeats: int) -> list[float]:
    """Milliseconds of one picture, each network once per round."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        taken: list[list[float]] = [[] for _ in networks]
        for turn in range(WARM_UP + repeats):
            for seconds, network in zip(taken, networks, strict=True):
                begun = time.perf_counter()
                _logits(network, picture)
                if turn >= WARM_UP:
                    seconds.append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(before)
    return [1000 * statistics.median(seconds) if seconds else math.nan for seconds in taken]


def _made(one: Quantised | AnomalystError) -> nn.Module:
    assert isinstance(one, Quantised)  # float32 is never refused
    return one.network


def _logits(network: nn.Module, pictures: Tensor) -> Tensor:
    with torch.no_grad():
        answer = network(pictures)
    found: Tensor = getattr(answer, "logits", answer)
    return found


def _probabilities(network: nn.Module, pictures: Tensor) -> Tensor:
    return _logits(network, pictures).softmax(-1)


def saved_bytes(network: nn.Module) -> int:
    """Bytes of the file that torch.save makes of a network's weights."""
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    return file.tell()
