"""The pair decoder's matching: against slow plain versions, and what must not matter."""

import math

import pytest
import torch

from anomalyst.detection.decoder import (
    DecoderConfig,
    PairDecoder,
    _children,
    agreement,
    normal_variation,
    picture_likeness,
    squared_gaps,
    unit_patches,
)
from anomalyst.detection.detector import expected_share
from anomalyst.encoders.embedded import EmbeddedConfig, EmbeddedEncoder, fold_batch_norm
from anomalyst.types import Features

SMALL = EmbeddedConfig(widths=(16, 24, 32), levels=(8, 12, 16))


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    encoder = EmbeddedEncoder(SMALL).eval()
    decoder = PairDecoder(DecoderConfig(levels=SMALL.levels, width=16, fine_width=8)).eval()
    return encoder, decoder


def features(*shape_per_level, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    levels = [torch.randn(batch, *shape, generator=generator) for shape in shape_per_level]
    return Features(levels, torch.zeros(batch, 4))


def test_levels_have_the_promised_strides_and_widths(pair):
    encoder, _ = pair
    found = encoder(torch.rand(2, 3, 64, 96))
    assert [tuple(level.shape) for level in found.levels] == [
        (2, 8, 16, 24),
        (2, 12, 8, 12),
        (2, 16, 4, 6),
    ]
    assert found.embedding.shape == (2, 32)


def test_folding_batch_norm_does_not_change_the_output(pair):
    encoder, _ = pair
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    pixels = torch.rand(1, 3, 48, 48)
    before = encoder(pixels)
    fold_batch_norm(encoder)
    after = encoder(pixels)
    for one, other in zip(before.levels, after.levels, strict=True):
        assert torch.allclose(one, other, atol=1e-4)


@torch.no_grad()
def test_a_batch_gives_what_its_pictures_give_alone(pair):
    encoder, decoder = pair
    query, good = encoder(torch.rand(2, 3, 48, 64)), encoder(torch.rand(4, 3, 48, 64))
    together, _ = decoder(query, decoder.remember(good, 2))
    for i in range(2):
        alone, _ = decoder(query.rows([i]), decoder.remember(good.rows([2 * i, 2 * i + 1]), 2))
        assert torch.allclose(together[i], alone[0], atol=1e-4)
    assert together.shape == (2, 1, 12, 16)


@torch.no_grad()
def test_logits_do_not_depend_on_reference_order(pair):
    encoder, decoder = pair
    query, good = encoder(torch.rand(1, 3, 48, 48)), encoder(torch.rand(3, 3, 48, 48))
    one, _ = decoder(query, decoder.remember(good, 3))
    other, _ = decoder(query, decoder.remember(good.rows([2, 0, 1]), 3))
    assert torch.allclose(one, other, atol=1e-3)


@torch.no_grad()
def test_a_picture_is_at_no_distance_from_itself(pair):
    encoder, decoder = pair
    query = encoder(torch.rand(1, 3, 48, 48))
    _, distances = decoder(query, decoder.remember(query, 1))
    assert all(float(d.abs().max()) < 1e-5 for d in distances)


@torch.no_grad()
def test_query_and_reference_may_differ_in_size(pair):
    encoder, decoder = pair
    logits, _ = decoder(
        encoder(torch.rand(1, 3, 48, 64)), decoder.remember(encoder(torch.rand(1, 3, 64, 48)), 1)
    )
    assert logits.shape == (1, 1, 12, 16) and torch.isfinite(logits).all()


def test_nearest_distance_equals_a_plain_loop(pair):
    _, decoder = pair
    query = features((8, 8, 8), (12, 4, 4), (16, 2, 2))
    good = features((8, 8, 8), (12, 4, 4), (16, 2, 2), batch=2, seed=1)
    with torch.no_grad():
        _, distances = decoder(query, decoder.remember(good, 2))
    units = unit_patches(query.levels[1])[0]
    rows = unit_patches(good.levels[1]).reshape(-1, 12)
    plain = torch.stack([1 - max(patch @ row for row in rows) for patch in units])
    assert torch.allclose(distances[0].flatten(), plain, atol=1e-5)


def test_variation_is_the_distance_to_another_pictures_nearest_patch():
    rows = unit_patches(features((6, 2, 3), batch=3).levels[0]).reshape(1, 18, 6)
    found = normal_variation(picture_likeness(rows, 3))[0]
    for i in range(18):
        others = [j for j in range(18) if j // 6 != i // 6]
        assert found[i] == pytest.approx(1 - max(float(rows[0, i] @ rows[0, j]) for j in others))


def test_one_picture_is_its_own_kin_but_for_the_patch_itself():
    rows = unit_patches(features((6, 2, 3)).levels[0])
    found = normal_variation(picture_likeness(rows, 1))[0]
    for i in range(6):
        best = max(float(rows[0, i] @ rows[0, j]) for j in range(6) if j != i)
        assert found[i] == pytest.approx(1 - best, abs=1e-6)


@torch.no_grad()
def test_leaving_pictures_out_is_what_the_others_alone_would_be(pair):
    encoder, decoder = pair
    good = encoder(torch.rand(4, 3, 48, 64))
    kept, alone = decoder.remember(good, 4).only([3, 1]), decoder.remember(good.rows([3, 1]), 2)
    for name in ("patches", "likeness"):
        for a, b in zip(getattr(kept, name), getattr(alone, name), strict=True):
            assert torch.allclose(a, b, atol=1e-6)


def test_agreement_follows_a_neighbours_displacement():
    # Every patch matches the reference shifted by one column, but for one that matches far away.
    similarity = torch.full((1, 9, 9), 0.1)
    best = torch.tensor([[1, 2, 2, 4, 0, 5, 7, 8, 8]])
    similarity[0, 4, 0], similarity[0, 4, 5] = 0.9, 0.3
    found = agreement(similarity, best, (3, 3), (3, 3))
    # The middle patch's neighbours all moved right by one: its like there has similarity 0.3.
    assert found[0, 4] == pytest.approx(0.3)


def test_children_of_a_cell_are_its_four_pixels_and_their_crosses():
    best = torch.tensor([[[[3, 0], [1, 2]]]])  # rows of a 2 x 2 grid, one picture
    found = _children(best, (4, 4), (4, 4))
    assert found.shape == (1, 5, 16)
    assert found[0, 0].reshape(4, 4)[:2, :2].tolist() == [[10, 11], [14, 15]]  # cell 3
    assert found[0, 1].reshape(4, 4)[0, 0] == 6  # one row above 10


def test_gaps_are_measured_between_cell_centres_in_query_cells():
    gaps = squared_gaps((2, 2), (4, 4), torch.device("cpu"))
    assert gaps.shape == (4, 16)
    assert gaps[0, 0] == pytest.approx(0.125)  # centre (0.5, 0.5) against (0.25, 0.25)


def test_the_score_is_the_log_of_the_mean_probability_by_hand():
    even = torch.zeros(2, 3)
    assert expected_share(even) == pytest.approx(math.log(0.5))
    # A tenth of the picture certain, the rest certainly sound: log 0.1, in any arrangement.
    mixed = torch.full((10, 10), -60.0)
    mixed[3, :] = 60.0
    assert expected_share(mixed) == pytest.approx(math.log(0.1))
    # Far below what a float32 probability could tell apart, ranking survives.
    assert expected_share(even - 200) > expected_share(even - 201)


def test_nearest_logits_use_the_scale_and_offset_of_their_level(pair):
    _, decoder = pair
    with torch.no_grad():
        decoder.nearest_scale.copy_(torch.tensor([2.0, 4.0]))
        decoder.nearest_bias.copy_(torch.tensor([-1.0, 1.0]))
        first, second = decoder.nearest_logits([torch.full((1, 1, 2, 2), 0.5)] * 2)
    assert torch.all(first == 0.0) and torch.all(second == 3.0)
