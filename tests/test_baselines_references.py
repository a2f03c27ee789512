"""Few-shot peers on a tiny CLIP folder of the real classes, against plain loops over patches."""

import numpy as np
import pytest
import torch
import transformers
from torch.nn.functional import interpolate, normalize

from anomalyst.backbones.base import to_pixels
from anomalyst.evaluation.baselines.inspectors import FewShotOnClipInspector
from anomalyst.evaluation.baselines.methods.clip_references import PatchBank, WinCLIPPlus
from anomalyst.evaluation.baselines.methods.text import Clip, WinCLIP
from anomalyst.io.pictures import encoded
from test_baselines_text import canvas, save_clip, seen_by

GRID = 4, 6  # of patches, on a canvas of 32 x 48 pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(folder):
    return Clip(str(folder))


@pytest.fixture(scope="module")
def model(folder):
    return transformers.CLIPModel.from_pretrained(folder).eval()


def nearest(own, bank):
    """1 - cosine to the nearest, one patch after the other."""
    return torch.tensor([min(1 - float(a @ b) for b in bank) for a in own])


def seen_windows(clip, model, picture, side):
    """Unit embedding of every window: its patches alone go through the model, by a plain loop."""
    tokens = clip.tokens(to_pixels([picture]))[0]
    found = {}
    for top in range(GRID[0] - side + 1):
        for left in range(GRID[1] - side + 1):
            inside = [(top + y) * GRID[1] + left + x for y in range(side) for x in range(side)]
            picked = torch.stack([tokens[0], *(tokens[1 + i] for i in inside)])[None]
            last = model.vision_model.encoder(inputs_embeds=picked).last_hidden_state[:, 0]
            pooled = model.visual_projection(model.vision_model.post_layernorm(last))
            found[top, left] = normalize(pooled, dim=1)[0]
    return found


def spread_over_patches(values, side):
    """Harmonic mean, for every patch, of the windows that cover it."""
    result = torch.zeros(GRID)
    for y in range(GRID[0]):
        for x in range(GRID[1]):
            over = [
                float(value)
                for (top, left), value in values.items()
                if top <= y < top + side and left <= x < left + side
            ]
            result[y, x] = len(over) / sum(1 / one for one in over)
    return result


@pytest.mark.usefixtures("one_thread")
@torch.no_grad()
def test_winclip_plus_is_words_and_the_nearest_windows_and_patches(clip, model):
    query, good = canvas(0), [canvas(1), canvas(2)]
    method = WinCLIPPlus(clip)
    found = method.judge(query, method.remember(good, "cookie"), None)

    def patches(picture):
        last = seen_by(clip, model, picture)[1][-1][0, 1:]
        return normalize(model.vision_model.post_layernorm(last), dim=1)

    maps = [nearest(patches(query), torch.cat([*map(patches, good)])).reshape(GRID) / 2]
    for side in (2, 3):
        own = seen_windows(clip, model, query, side)
        bank = [w for one in good for w in seen_windows(clip, model, one, side).values()]
        gaps = nearest(own.values(), bank) / 2
        maps.append(spread_over_patches(dict(zip(own, gaps, strict=True)), side))
    by_pictures = torch.stack(maps).mean(0)
    words = WinCLIP(clip)
    by_words, probability = words.by_words(
        words.look(clip.tokens(to_pixels([query])), GRID), clip.states("cookie"), GRID
    )
    assert found.score == pytest.approx((probability + float(by_pictures.max())) / 2, rel=1e-3)
    both = ((by_words + by_pictures) / 2)[None, None]
    grown = interpolate(both, (8, 12), mode="bilinear")[0, 0]
    assert np.allclose(found.map, grown, atol=1e-4)


@torch.no_grad()
def test_anomalygpts_few_shot_map_is_one_less_the_mean_of_the_largest_cosines(clip, model):
    query, good = canvas(0), [canvas(1), canvas(2)]
    method = PatchBank(clip)
    found = method.judge(query, method.remember(good, "cookie"), None)
    gaps = []
    for depth in range(1, 5):  # four blocks, and all four are read
        own, *bank = (normalize(seen_by(clip, model, p)[1][depth][0, 1:]) for p in (query, *good))
        gaps.append(nearest(own, torch.cat(bank)))
    plain = interpolate(torch.stack(gaps).mean(0).reshape(1, 1, *GRID), (8, 12), mode="bilinear")
    assert np.allclose(found.map, plain[0, 0], atol=1e-4)
    assert found.score == pytest.approx(float(plain.max()), rel=1e-3)


def test_a_good_picture_itself_is_no_distance_away_and_a_spot_on_it_is_found(clip, tmp_path):
    good, spoilt = canvas(3), canvas(3)
    spoilt[8:16, 32:40] = 255  # the patch of row 1 and column 4
    for name, picture in (("good.png", good), ("spoilt.png", spoilt)):
        (tmp_path / name).write_bytes(encoded(picture))
    inspector = FewShotOnClipInspector(PatchBank(clip))
    product = inspector.teach("cookie", [tmp_path / "good.png"])
    same, other = inspector.inspect_many(
        [tmp_path / "good.png", tmp_path / "spoilt.png"], product, false_alarm_rate=0.05
    )
    assert same.score == pytest.approx(0, abs=1e-5) and other.score > 0.05
    y, x = np.unravel_index(other.map.argmax(), other.map.shape)
    assert 8 <= y < 16 and 32 <= x < 40
