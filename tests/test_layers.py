"""Building blocks by name: activations, norms, positions, sizes, attention, stacks."""

import math

import pytest
import torch
from torch import nn

from anomalyst.errors import AnomalystError
from anomalyst.layers.activations import ACTIVATIONS, activation, careless_softmax, softmax
from anomalyst.layers.attention import Attention
from anomalyst.layers.norms import Normed, make_norm
from anomalyst.layers.positions import BUCKETS, RelativeBias, bucket, rotated, sinusoids
from anomalyst.layers.sizes import size_out
from anomalyst.layers.stack import LayerConfig, make_stack

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("sigmoid", (1, 2, 3), (0.7311, 0.8808, 0.9526)),
        ("tanh", (1,), (0.7616,)),
        ("softmax", (1, 2, 3), (0.0900, 0.2447, 0.6652)),
        ("leaky_relu", (-2, 3), (-0.02, 3)),
        ("elu", (-1, 2), (math.exp(-1) - 1, 2)),
        ("softplus", (0,), (math.log(2),)),
        ("step", (-0.1, 0, 0.1), (0, 1, 1)),
    ],
)
def test_values_are_those_of_the_source(name, given, wanted):
    found = activation(name).value(torch.tensor(given, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), atol=5e-5, rtol=0)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_those_of_autograd_and_values_stay_in_range(name):
    act = ACTIVATIONS[name]
    x = torch.linspace(-6, 6, 48, dtype=torch.float64, requires_grad=True)  # 0 is not among them
    if name == "softmax":
        wanted = torch.autograd.functional.jacobian(act.value, x)
    elif name == "step":
        wanted = torch.zeros_like(x)  # autograd refuses what has no slope
    else:
        (wanted,) = torch.autograd.grad(act.value(x).sum(), x)
    torch.testing.assert_close(act.derivative(x).detach(), wanted, atol=1e-10, rtol=1e-8)
    low, high = act.range
    far = act.value(torch.linspace(-30, 30, 6001))
    assert low <= float(far.min()) and float(far.max()) <= high


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(AnomalystError, match="activation is 'sigmod'.*perhaps 'sigmoid'"):
        activation("sigmod")


def test_only_careless_softmax_overflows():
    row = torch.tensor([1000.0, 0.0, -1000.0])
    assert careless_softmax(row).isnan().any()
    assert softmax(row).tolist() == [1, 0, 0]
    x = torch.randn(5, 7)
    torch.testing.assert_close(softmax(x), x.softmax(-1))


@pytest.mark.parametrize(
    ("side", "kernel", "stride", "padding", "wanted"),
    [
        (7, 3, 2, 0, 3), (7, 3, 2, 1, 4), (16, 4, 4, 0, 4), (24, 3, 3, 0, 8), (32, 5, 1, 2, 32),
        (9, 3, 1, "valid", 7), (9, 3, 1, "same", 9), (9, 3, 1, "full", 11),
    ],
)  # fmt: skip
def test_sizes_are_those_of_the_formula_and_of_torch(side, kernel, stride, padding, wanted):
    assert size_out(side, kernel, stride=stride, padding=padding, exact=True) == wanted
    config = LayerConfig(
        layer="convolution", width=20, kernel=kernel, stride=stride, padding=padding
    )
    first = make_stack((config,), (3, side, side), 2)[0]
    assert first(torch.zeros(1, 3, side, side)).shape == (1, 20, wanted, wanted)


def test_what_does_not_fit_is_refused():
    with pytest.raises(AnomalystError, match=r"does not fit: 2\.33 places"):
        size_out(7, 3, stride=3, exact=True)
    assert size_out(7, 3, stride=3) == 2  # rounded down, where nobody asked
    layers = (LayerConfig(layer="pooling", kernel=4, stride=4), LayerConfig(layer="convolution"))
    with pytest.raises(AnomalystError, match="layer 2, convolution: a kernel of 3 does not fit a"):
        make_stack(layers, (1, 8, 8), 2)
    with pytest.raises(AnomalystError, match="layer 2, lstm: reads a sequence or a map; a vector"):
        make_stack((LayerConfig(layer="dense"), LayerConfig(layer="lstm")), (1, 8, 8), 2)
    with pytest.raises(AnomalystError, match="kernel of 2 has no middle"):
        size_out(8, 2, padding="same")


def test_norms_are_those_of_their_papers():
    x = torch.randn(4, 6, dtype=torch.float64)
    rms = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    centred = x - x.mean(-1, keepdim=True)
    layer = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(make_norm("rms", 6).double()(x), rms)
    torch.testing.assert_close(make_norm("layer", 6).double()(x), layer)
    part, norm = nn.Linear(6, 6).double(), make_norm("layer", 6).double()
    torch.testing.assert_close(Normed(part, norm, "pre")(x), x + part(layer))
    torch.testing.assert_close(Normed(part, norm, "post")(x), norm(x + part(x)))


def test_rotated_products_depend_on_the_distance_alone():
    q, k = torch.randn(2, 1, 8, dtype=torch.float64)

    def product(at, other):
        return float((rotated(q, torch.tensor([at])) * rotated(k, torch.tensor([other]))).sum())

    assert product(3, 7) == pytest.approx(product(103, 107), abs=1e-4)
    assert product(5, 5) == pytest.approx(float((q * k).sum()), abs=1e-5)
    assert abs(product(3, 7) - product(3, 8)) > 1e-3


def test_sinusoids_are_the_papers_and_turn_by_a_shift():
    table = sinusoids(torch.arange(20), 8).double()
    assert float(table[7, 2]) == pytest.approx(math.sin(7 / 10_000 ** (2 / 8)), abs=1e-6)
    assert float(table[7, 3]) == pytest.approx(math.cos(7 / 10_000 ** (2 / 8)), abs=1e-6)
    gaps = (table[3:] * table[:-3]).sum(-1)  # of distance 3, anywhere
    torch.testing.assert_close(gaps, gaps[:1].expand_as(gaps), atol=1e-5, rtol=0)


def test_the_relative_bias_knows_distance_and_side():
    near = [int(bucket(torch.tensor(d))) for d in range(300)]
    assert near[:16] == list(range(16)) and near == sorted(near) and near[-1] == BUCKETS - 1
    assert near[127] < near[128] or near[128] == BUCKETS - 1
    bias = RelativeBias(2, causal=False)
    nn.init.normal_(bias.table)
    places = torch.arange(6)
    found = bias(places, places)[0]
    assert torch.equal(found, bias(places + 50, places + 50)[0])
    assert not torch.equal(found[:, 0, 1], found[:, 1, 0])  # before is not behind


@pytest.mark.parametrize("positions", ["none", "sinusoidal", "relative", "rotary"])
def test_attention_is_torchs_and_knows_the_order_where_it_shall(positions):
    torch.manual_seed(0)
    attention, x = Attention(8, 2, positions), torch.randn(1, 5, 8)
    if positions == "relative":
        nn.init.normal_(attention.bias.table)
    order = torch.tensor([3, 1, 4, 0, 2])
    apart = (attention(x)[:, order] - attention(x[:, order])).abs().max()
    assert (float(apart.detach()) < 1e-6) == (positions == "none")
    if positions == "none":
        q, k, v = (
            part(x).view(1, 5, 2, 4).transpose(1, 2)
            for part in (attention.query, attention.key, attention.value)
        )
        seen = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        torch.testing.assert_close(attention(x), attention.out(seen))


def test_every_layer_by_name_learns():
    layers = (
        LayerConfig(layer="convolution", width=8, padding="same"),
        LayerConfig(layer="pooling", kernel=2, stride=2, pooling="sum"),
        LayerConfig(layer="residual"),
        LayerConfig(layer="attention", heads=2, positions="rotary", norm="rms", norm_place="post"),
        LayerConfig(layer="lstm", width=6),
        LayerConfig(layer="residual", norm="rms"),
        LayerConfig(layer="dense", width=5, activation="tanh"),
    )
    network = make_stack(layers, (1, 8, 8), 3)
    network(torch.randn(2, 1, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    rows = make_stack((LayerConfig(layer="rnn", width=4),), (1, 8, 6), 3)
    assert rows[0][1].cells.input_size == 6 and rows(torch.zeros(2, 1, 8, 6)).shape == (2, 3)


def test_pooling_by_name():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    for name, wanted in (("max", 5), ("mean", 2.5), ("sum", 10)):
        config = LayerConfig(layer="pooling", kernel=2, stride=2, pooling=name)
        assert float(make_stack((config,), (1, 4, 4), 2)[0](x)[0, 0, 0, 0]) == wanted
