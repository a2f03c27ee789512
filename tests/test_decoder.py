"""The pair decoder's matching: against slow plain versions, and what must not matter."""

import math

import pytest
import torch

from anomalyst.backbones.embedded import EmbeddedConfig, EmbeddedEncoder, fold_batch_norm
from anomalyst.detection.alignment import cell_places, fitted_movement, moved_places
from anomalyst.detection.matching import (
    agreement,
    bell,
    children,
    highest,
    lacking,
    normal_variation,
    picture_likeness,
    unit_patches,
)
from anomalyst.detection.pair_decoder import DecoderConfig, PairDecoder
from anomalyst.detection.scoring import expected_share, mixed_logits
from anomalyst.types import Features

SMALL = EmbeddedConfig(detail=(8, 8), levels=(8, 12, 16))


pytestmark = pytest.mark.usefixtures("one_thread")


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
    found = agreement(lambda at: similarity.gather(2, at), best, (3, 3), (3, 3))
    # The middle patch's neighbours all moved right by one: its like there has similarity 0.3.
    assert found[0, 4] == pytest.approx(0.3)


def test_what_the_query_lacks_is_the_reverse_match_weighed_by_place():
    torch.manual_seed(0)
    similarity, near = torch.rand(1, 6, 5), torch.rand(1, 6, 5)
    found = lacking(1 - similarity.amax(1), near)
    for n in range(6):
        gone = [1 - max(float(similarity[0, k, m]) for k in range(6)) for m in range(5)]
        total = sum(float(near[0, n, m]) * gone[m] for m in range(5)) / float(near[0, n].sum())
        assert float(found[0, n]) == pytest.approx(total, abs=1e-5)


def test_children_of_a_cell_are_its_four_pixels_and_their_crosses():
    best = torch.tensor([[[[3, 0], [1, 2]]]])  # rows of a 2 x 2 grid, one picture
    found = children(best, (4, 4), (4, 4))
    assert found.shape == (1, 5, 16)
    assert found[0, 0].reshape(4, 4)[:2, :2].tolist() == [[10, 11], [14, 15]]  # cell 3
    assert found[0, 1].reshape(4, 4)[0, 0] == 6  # one row above 10


def test_bell_is_the_exponential_of_the_squared_distances():
    there = cell_places(3, 4, torch.device("cpu"), (2.0, 0.5))
    places = torch.rand(2, 3, 5, 2) * torch.tensor([6.0, 2.0])
    found = bell(places, (3, 4), (2.0, 0.5), torch.tensor(0.7))
    wanted = torch.exp(-0.7 * torch.cdist(places, there).square())  # (B, K, N, N')
    torch.testing.assert_close(found, wanted.transpose(1, 2).flatten(2))


def test_a_place_far_off_a_good_picture_counts_as_at_its_border():
    off, border = torch.tensor([-900.0, 2.0]), torch.tensor([0.0, 2.0])
    found = [bell(p.expand(1, 1, 1, 2), (4, 4), (1.0, 1.0), torch.ones(())) for p in (off, border)]
    assert found[0].sum() > 0
    assert torch.equal(*found)


def test_highest_is_argmax_for_every_length():
    for count in (1, 7, 12, 64, 320):
        values = torch.rand(2, 5, count)
        assert torch.equal(highest(values), values.argmax(2)), count


def moved_similarity(matrix, offset, *, wrong=0.0):
    """Patches of a 20 x 20 grid that match where an affine map says, some of them anywhere."""
    generator = torch.Generator().manual_seed(0)
    places = cell_places(20, 20, torch.device("cpu"))
    target = places + places @ matrix.T + offset
    similarity = torch.exp(-torch.cdist(target, places).square() / 2)[None]
    astray = torch.rand(400, generator=generator) < wrong
    similarity[0, astray] = torch.rand(int(astray.sum()), 400, generator=generator)
    return similarity, places, target


def test_a_turn_a_zoom_and_a_shift_are_found_among_wrong_matches():
    turn, zoom = math.radians(7), 1.05
    matrix = zoom * torch.tensor(
        [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
    ) - torch.eye(2)
    similarity, places, target = moved_similarity(matrix, torch.tensor([1.5, -2.0]), wrong=0.3)
    movement = fitted_movement(similarity, (20, 20), places)
    found = moved_places(movement, places)[0, 0]
    inside = ((target > 0) & (target < 20)).all(1)
    assert (found - target)[inside].norm(dim=1).mean() < 0.3


def test_no_movement_is_found_in_a_texture():
    similarity = 0.5 + 0.01 * torch.rand(1, 400, 400, generator=torch.Generator().manual_seed(1))
    places = cell_places(20, 20, torch.device("cpu"))
    assert torch.all(fitted_movement(similarity, (20, 20), places) == 0)


@torch.no_grad()
def test_alone_a_patch_is_not_explained_by_itself(pair):
    encoder, decoder = pair
    query = encoder(torch.rand(1, 3, 96, 96))
    logits, distances = decoder(query, decoder.remember(query, 1, alone=True))
    assert torch.isfinite(logits).all()
    assert all(float(d.min()) > 1e-4 for d in distances)


@torch.no_grad()
def test_of_many_good_pictures_the_nearest_are_compared_with(pair):
    encoder, decoder = pair
    good = encoder(torch.rand(7, 3, 48, 48))
    references = decoder.remember(good, 7)
    nearest_pictures = decoder.nearest_pictures(good.rows([5]), references, 4)
    assert len(nearest_pictures) == 4
    assert 5 in nearest_pictures
    assert decoder.nearest_pictures(good.rows([5]), references.only([3, 1]), 4) == [0, 1]


@torch.no_grad()
def test_a_decoder_with_another_head_matches_the_same_and_decides_otherwise(pair):
    encoder, decoder = pair
    query, good = encoder(torch.rand(1, 3, 48, 48)), encoder(torch.rand(1, 3, 48, 48))
    other = decoder.with_head({name: p * 0.5 for name, p in decoder.head().items()})
    references = decoder.remember(good, 1)
    (first, near), (second, near_too) = decoder(query, references), other(query, references)
    assert not torch.allclose(first, second)
    assert all(torch.equal(a, b) for a, b in zip(near, near_too, strict=True))


def test_mixed_logits_are_the_logits_of_the_mean_probability():
    first, second = 6 * torch.randn(2, 3, 5, dtype=torch.float64)
    mean = 0.7 * first.sigmoid() + 0.3 * second.sigmoid()
    torch.testing.assert_close(mixed_logits([first, second], (0.7, 0.3)), mean.logit())
    torch.testing.assert_close(mixed_logits([first], (0.7, 0.3)), first)


def test_the_score_is_the_log_of_the_mean_probability_by_hand():
    even = torch.zeros(2, 3)
    assert float(expected_share(even.flatten())) == pytest.approx(math.log(0.5))
    # A tenth of the picture certain, the rest certainly normal: log 0.1, in any arrangement.
    mixed = torch.full((10, 10), -60.0)
    mixed[3, :] = 60.0
    assert float(expected_share(mixed.flatten())) == pytest.approx(math.log(0.1))
    # Far below what a float32 probability could tell apart, ranking survives.
    assert (expected_share(even - 200) > expected_share(even - 201)).all()


def test_nearest_logits_use_the_scale_and_offset_of_their_level(pair):
    _, decoder = pair
    with torch.no_grad():
        decoder.nearest_scale.copy_(torch.tensor([2.0, 4.0]))
        decoder.nearest_bias.copy_(torch.tensor([-1.0, 1.0]))
        first, second = decoder.nearest_logits([torch.full((1, 1, 2, 2), 0.5)] * 2)
    assert torch.all(first == 0.0) and torch.all(second == 3.0)
