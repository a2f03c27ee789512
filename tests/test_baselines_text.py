"""Zero-shot peers on a tiny CLIP folder of the real classes, against transformers' own forward."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from anomalyst.backbones.base import to_pixels
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.baselines.methods.text import Clip, PromptMap, WinCLIP, harmonic, windows
from anomalyst.vlm.text_tower import States

VISION = {
    "hidden_size": 16, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 32,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip


def save_clip(folder: Path) -> Path:
    """A CLIP of random weights with a tokenizer that knows the words it will be asked."""
    torch.manual_seed(0)
    words = Whitespace()
    sentences = " ".join(s for both in States().sentences("cookie") for s in both)
    known = dict.fromkeys(["[pad]", "[unk]", *(w for w, _ in words.pre_tokenize_str(sentences))])
    vocabulary = {word: number for number, word in enumerate(known)}
    # End of text 2 is the old way: the highest number's place is read.
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "vocab_size": len(vocabulary), "eos_token_id": 2}  # fmt: skip
    config = transformers.CLIPConfig(text_config=text, vision_config=VISION, projection_dim=12)
    model = transformers.CLIPModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    model.save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[unk]"))
    tokenizer.pre_tokenizer = words
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[unk]", pad_token="[pad]"
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(folder) -> Clip:
    return Clip(str(folder))


@pytest.fixture(scope="module")
def model(folder):
    return transformers.CLIPModel.from_pretrained(folder).eval()


def canvas(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (32, 48, 3), np.uint8)


def seen_by(clip: Clip, model, picture: np.ndarray):
    """(unit picture embedding (E,), hidden states) as transformers computes them."""
    pixels = (to_pixels([picture]) - clip.tower.mean) / clip.tower.std
    with torch.no_grad():
        seen = model.vision_model(pixels, interpolate_pos_encoding=True, output_hidden_states=True)
        whole = model.visual_projection(seen.pooler_output)
    return F.normalize(whole, dim=1)[0], seen.hidden_states


def test_the_pictures_score_is_clips_own_probability_of_damaged(clip, model):
    states = clip.states("cookie")
    for seed in (0, 1):
        whole, _ = seen_by(clip, model, canvas(seed))
        plain = ((states @ whole) / 0.07).softmax(0)[1]
        found = WinCLIP(clip).judge(canvas(seed), states, None)
        assert found.score == pytest.approx(float(plain), rel=1e-4)
        assert found.map.shape == (8, 12) and 0 < found.map.min() < found.map.max() < 1


def test_a_window_is_seen_alone(clip, model):
    # The rest of the picture may change: the window's token sees its own patches only.
    one, other = canvas(0), canvas(1)
    other[:16, :16] = one[:16, :16]
    first = windows((4, 6), 2)[0]
    assert first.tolist() == [0, 1, 6, 7]
    with torch.no_grad():
        tokens = [clip.tokens(to_pixels([picture])) for picture in (one, other)]
        alone = [clip.through(torch.cat([t[:, :1], t[:, 1 + first]], 1))[-1][:, 0] for t in tokens]
        whole = [clip.through(t)[-1][:, 0] for t in tokens]
    assert torch.allclose(*alone, atol=1e-6) and not torch.allclose(*whole, atol=1e-3)
    # A window of all patches is the picture as the model sees it.
    with torch.no_grad():
        assert torch.allclose(clip.shared(whole[0])[0], seen_by(clip, model, one)[0], atol=1e-5)


@pytest.mark.parametrize("side", [2, 3])
def test_the_harmonic_mean_over_windows_by_a_plain_loop(side):
    rows, columns = 4, 5
    scores = torch.rand((rows - side + 1) * (columns - side + 1)) + 0.01
    found = harmonic(scores, (rows, columns), side)
    index = windows((rows, columns), side)
    for patch in range(rows * columns):
        over = [1 / float(s) for s, w in zip(scores, index, strict=True) if patch in w.tolist()]
        assert float(found.flatten()[patch]) == pytest.approx(len(over) / sum(over), rel=1e-4)


def test_prompts_score_the_patches_of_four_depths(clip, model):
    states = clip.states("cookie")
    found = PromptMap(clip).judge(canvas(0), states, None)
    _, hidden = seen_by(clip, model, canvas(0))
    maps = []
    for block in hidden[1:]:  # four blocks, and all four are read
        with torch.no_grad():
            patches = model.visual_projection(model.vision_model.post_layernorm(block[0, 1:]))
        cosine = 100 * F.normalize(patches, dim=1) @ states.T  # (N, 2)
        grown = F.interpolate(cosine.T.reshape(1, 2, 4, 6), (8, 12), mode="bilinear")
        maps.append(grown.softmax(1)[0, 1])
    plain = torch.stack(maps).mean(0)
    assert np.allclose(found.map, plain, atol=1e-4)
    assert found.score == pytest.approx(float(plain.max()), rel=1e-4)


def test_another_model_is_refused(tmp_path):
    transformers.ViTModel(
        transformers.ViTConfig(**VISION), add_pooling_layer=False
    ).save_pretrained(tmp_path)
    with pytest.raises(AnomalystError, match=r"is a 'vit' model; .* text tower"):
        Clip(str(tmp_path))
    with pytest.raises(AnomalystError, match=r"--clip .*nowhere: there is no such folder"):
        Clip(str(tmp_path / "nowhere"))
