"""ImageBind's six towers, its inputs and its published weights; CLIP and SigLIP beside it.

tests/data/imagebind_reference.json holds what the published code (facebookresearch/ImageBind) gave
for random weights and inputs, drawn here anew by the rule of `drawn`: no weight is kept.
"""

import dataclasses
import hashlib
import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from transformers.audio_utils import mel_filter_bank, spectrogram
from typer.testing import CliRunner

from anomalyst.backbones import load_encoder
from anomalyst.backbones.clip import ImageTextTowers
from anomalyst.backbones.huggingface_families import CLIP
from anomalyst.backbones.imagebind import HUGE, MODALITIES, SMALL, ImageBind, ImageBindConfig
from anomalyst.backbones.imagebind.config import GridConfig
from anomalyst.backbones.imagebind.converting import convert, published_names
from anomalyst.backbones.imagebind.loading import load, save
from anomalyst.cli.main import app
from anomalyst.config import from_mapping, to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.senses.imagebind_inputs import (
    clip_places,
    clip_tokenizer,
    field_input,
    imu_input,
    picture_input,
    sound_input,
    text_input,
)
from anomalyst.senses.kaldi_mel import log_mel
from anomalyst.senses.recording import Recording
from test_baselines_text import save_clip

pytestmark = pytest.mark.usefixtures("one_thread")
REFERENCE = json.loads((Path(__file__).parent / "data" / "imagebind_reference.json").read_text())
# The published sizes of all inputs, with two blocks of width 16 and two heads.
TINY = ImageBindConfig(
    embed_dim=12,
    **{m: dataclasses.replace(HUGE.tower(m), width=16, depth=2, heads=2) for m in MODALITIES},
)
SHAPES = {
    "image": (2, 3, 224, 224),
    "audio": (2, 3, 1, 128, 204),
    "depth": (2, 1, 224, 224),
    "thermal": (2, 1, 224, 224),
    "imu": (2, 6, 2000),
}
THEIR_WORD = {"image": "vision"}


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers that belong to a name; numpy promises never to change this stream."""
    seed = zlib.crc32(name.encode())
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


@cache
def _published_weights() -> dict[str, torch.Tensor]:
    """A state dict under the published names: norms around 1, the text's scale beyond its limit."""
    weights = {}
    for name, shape in REFERENCE["shapes"].items():
        value = 0.2 * drawn(name, tuple(shape))
        if "norm" in name and name.endswith("weight"):
            value = 1.0 + value
        elif name.endswith("log_logit_scale"):
            value = np.float32((5.0 if ".text." in name else 1.5) + 0.1 * drawn(name, ()))
        elif name.endswith(".mask"):
            value = np.triu(np.full(shape, -np.inf, np.float32), 1)
        weights[name] = torch.as_tensor(value)
    return weights


def published_weights() -> dict[str, torch.Tensor]:
    """The same tensors in a mapping of one's own."""
    return dict(_published_weights())


def example(modality: str) -> torch.Tensor:
    """Two examples of a sense, sounds of three clips; the faint second shows a norm's epsilon."""
    if modality != "text":
        word = THEIR_WORD.get(modality, modality)
        x = torch.from_numpy(drawn(f"input {word}", SHAPES[modality]))
        x[1] *= 0.02
        return x
    words = np.random.RandomState(7).randint(1, 49000, (2, 77))
    words[:, 30], words[:, 31:] = 49407, 0
    return torch.from_numpy(words)


@pytest.fixture(scope="module")
def model() -> ImageBind:
    made = ImageBind(TINY).eval().requires_grad_(False)
    made.load_state_dict(convert(published_weights(), TINY, "weights"))
    return made


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_tower_gives_the_published_models_numbers(model, modality):
    theirs = torch.tensor(REFERENCE["embeddings"][THEIR_WORD.get(modality, modality)])
    x = example(modality)
    scale = model.tower(modality).scale
    assert (model.scaled(modality, x) - theirs).abs().max() <= 1e-5 * scale
    assert (model.embed(modality, x) - F.normalize(theirs, dim=1)).abs().max() <= 1e-5


def test_a_film_gives_the_published_models_numbers(model):
    film = torch.from_numpy(drawn("input film", (1, 2, 3, 2, 224, 224)))
    theirs = torch.tensor(REFERENCE["embeddings"]["film"])
    assert (model.scaled("image", film) - theirs).abs().max() <= 1e-5
    # A film that stands still is a picture.
    still = film[:, 0, :, :1]
    twice = model.embed("image", still.expand(-1, -1, 2, -1, -1))
    assert torch.allclose(model.embed("image", still[:, :, 0]), twice, atol=1e-5)


def test_the_huge_models_tensors_are_those_of_the_published_file():
    with torch.device("meta"):
        ours = {name: tuple(one.shape) for name, one in ImageBind(HUGE).state_dict().items()}
    names = {part for _, parts in published_names(HUGE) for part in parts}
    assert len(names) + 1 == REFERENCE["huge"]["tensors"]  # and the text's mask
    # Their shapes are ours, but for the pair of a learned key and value.
    lines = ["modality_preprocessors.text.mask [77, 77]"]
    for name, parts in published_names(HUGE):
        shape = list(ours[name]) if len(parts) == 1 else [1, 1, ours[name][1]]
        lines += [f"{part} {shape}" for part in parts]
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    assert digest == REFERENCE["huge"]["sha256"]


def test_each_published_tensor_is_used_once(model):
    sources = [part for _, parts in published_names(TINY) for part in parts]
    assert len(sources) == len(set(sources))
    assert {*sources, "modality_preprocessors.text.mask"} == set(REFERENCE["shapes"])
    numbers = sum(one.numel() for one in model.state_dict().values()) + 77 * 77
    assert numbers == sum(one.numel() for one in published_weights().values())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("modality_trunks.imu.blocks.1.attn.bias_k"), r"lacks 1 .*1\.attn\.bias_k"),
        (lambda w: w.update({"head.weight": torch.ones(2)}), r"has to spare 1 .*\(head\.weight\)"),
        (
            lambda w: w.update({"modality_heads.audio.2.weight": torch.ones(12, 18)}),
            r"modality_heads\.audio\.2\.weight is \[12, 18\]",
        ),
        (lambda w: [w.pop(k) for k in list(w) if "trunks" in k], "state dict of another model"),
    ],
)
def test_weights_of_another_model_are_refused_by_name(change, said):
    weights = published_weights()
    change(weights)
    with pytest.raises(AnomalystError, match=said):
        convert(weights, TINY, "weights")


def run(*words: object) -> tuple[int, str, Exception | None]:
    found = CliRunner().invoke(app, ["convert", "imagebind", *map(str, words)])
    return found.exit_code, found.output, found.exception


@pytest.fixture(scope="module")
def size(tmp_path_factory) -> Path:
    """The tiny size as a file a user would write."""
    path = tmp_path_factory.mktemp("size") / "tiny.yaml"
    path.write_text(json.dumps(to_mapping(TINY)))
    return path


def test_the_command_converts_and_the_folder_is_the_model(model, size, tmp_path):
    torch.save(published_weights(), tmp_path / "tiny.pth")
    code, output, _ = run(tmp_path / "tiny.pth", "--out", tmp_path / "made", "--size", size)
    assert code == 0 and "towers image, text, audio" in output and "not for commercial" in output
    assert "CC-BY-NC 4.0" in (tmp_path / "made" / "LICENCE.txt").read_text()
    whole, alone = load(tmp_path / "made"), load(tmp_path / "made", "imu")
    assert whole.config == TINY and alone.config.modalities == ("imu",)
    for name, value in model.state_dict().items():
        assert torch.equal(whole.state_dict()[name], value), name
    x = example("imu")
    assert torch.equal(alone.embed("imu", x), model.embed("imu", x))
    with pytest.raises(AnomalystError, match="no such tower; it has imu"):
        alone.embed("audio", example("audio"))


def test_the_command_refuses_what_it_cannot_convert(size, tmp_path):
    (tmp_path / "text.pth").write_text("not weights")
    torch.save({"epoch": 3}, tmp_path / "other.pth")
    torch.save({"conv1.weight": torch.ones(2)}, tmp_path / "resnet.pth")
    torch.save(published_weights(), tmp_path / "tiny.pth")
    (tmp_path / "there").mkdir()
    for file, out, more, said in (
        ("none.pth", "new", (), "there is no such file"),
        ("text.pth", "new", (), "is not a state dict"),
        ("other.pth", "new", (), "something else than tensors"),
        ("resnet.pth", "new", (), "another model .*conv1.weight"),
        ("tiny.pth", "there", ("--size", size), "is there already"),
        ("tiny.pth", "new", (), "lacks .* of ImageBind's tensors"),
        ("tiny.pth", "new", ("--size", "hug"), "nearest is 'huge'"),
    ):
        _, _, error = run(tmp_path / file, "--out", tmp_path / out, *more)
        assert isinstance(error, AnomalystError), (file, error)
        with pytest.raises(AnomalystError, match=said):
            raise error
    assert not (tmp_path / "new").exists()


def test_a_damaged_folder_is_refused(model, tmp_path):
    save(model, tmp_path / "made")
    weights = tmp_path / "made" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(AnomalystError, match="not a whole safetensors file"):
        load(tmp_path / "made")
    weights.write_bytes(whole)
    config = tmp_path / "made" / "config.json"
    values = json.loads(config.read_text())
    config.write_text(json.dumps(values | {"imu": values["imu"] | {"depth": 3}}))
    with pytest.raises(AnomalystError, match="lacks 13 weights"):
        load(tmp_path / "made")
    config.write_text(json.dumps(values | {"imu": values["imu"] | {"kernel": 16}}))
    with pytest.raises(AnomalystError, match="its config.json says"):
        load(tmp_path / "made")
    config.write_text(json.dumps({"model_type": "clip"}))
    with pytest.raises(AnomalystError, match="is not of an ImageBind of ours"):
        load(tmp_path / "made")


SMALL_INPUTS = {
    "image": (2, 3, 128, 128),
    "audio": (2, 1, 128, 204),
    "depth": (2, 1, 128, 128),
    "thermal": (2, 1, 128, 128),
    "imu": (2, 6, 512),
}


def test_the_small_size_embeds_and_learns_in_all_senses():
    torch.manual_seed(0)
    small = ImageBind(SMALL)
    total = torch.zeros(())
    for modality in MODALITIES:
        tower = small.towers[modality]
        assert 1e6 < sum(p.numel() for p in tower.parameters()) < 5e6
        x = (
            torch.randint(0, 2048, (2, 40))
            if modality == "text"
            else torch.rand(SMALL_INPUTS[modality])
        )
        vectors = small.embed(modality, x)
        assert vectors.shape == (2, 256)
        assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)
        total = total + vectors[:, 0].sum()
    total.backward()
    # The temperature is outside `embed`; every other weight has a say.
    idle = [name for name, p in small.named_parameters() if p.grad is None]
    assert idle == ["towers.text.log_scale"]


def test_what_stands_behind_the_end_of_a_text_does_not_matter(model):
    x = example("text")
    noisy = x.clone()
    noisy[:, 31:] = torch.randint(1, 49000, (2, 46))
    assert torch.equal(model.embed("text", x), model.embed("text", noisy))
    assert torch.allclose(model.embed("text", x), model.embed("text", x[:, :31]), atol=1e-6)
    noisy = x.clone()
    noisy[:, 29] += 1
    assert not torch.allclose(model.embed("text", x), model.embed("text", noisy), atol=1e-3)


def test_an_end_token_of_ones_own_vocabulary():
    config = SMALL.only("text")
    text = dataclasses.replace(config.text, end_token=1)
    owned = ImageBind(dataclasses.replace(config, text=text)).eval()
    x = torch.tensor([[5, 900, 1, 0], [7, 1, 0, 0]])
    assert torch.allclose(owned.embed("text", x[1:, :2]), owned.embed("text", x)[1:], atol=1e-6)
    with pytest.raises(AnomalystError, match="no end token"):
        owned.embed("text", torch.tensor([[5, 900]]))
    with pytest.raises(AnomalystError, match="from 0 to 2047"):
        owned.embed("text", torch.tensor([[5, 5000, 1]]))


def test_features_are_the_blocks_outputs_on_their_grid(model):
    seen = []
    blocks = model.towers["depth"].trunk.blocks
    hooks = [block.register_forward_hook(lambda *call: seen.append(call[2])) for block in blocks]
    x = example("depth")
    found = model.features("depth", x)
    for hook in hooks:
        hook.remove()
    assert [level.shape for level in found.levels] == [(2, 16, 14, 14)] * 2
    for level, output in zip(found.levels, seen, strict=True):
        assert torch.equal(level[:, :, 3, 5], output[:, 1 + 3 * 14 + 5])
    assert torch.equal(found.embedding, model.embed("depth", x))
    assert model.features("imu", example("imu"), (1,)).levels[0].shape == (2, 16, 1, 250)
    with torch.device("meta"):
        huge = ImageBind(HUGE.only("image"))
    assert huge.blocks("image") == (7, 15, 23, 31)  # as AnomalyGPT reads them


def test_patches_of_a_larger_picture_have_positions_between_the_learned(model):
    x = torch.from_numpy(drawn("large", (1, 3, 280, 224)))
    assert model.features("image", x).levels[0].shape == (1, 16, 20, 16)
    stem = model.towers["image"].stem
    laid = stem._positions_on((32, 32))
    own = stem.positions[:, 1:].unflatten(1, (16, 16)).permute(0, 3, 1, 2)
    wanted = F.interpolate(own, scale_factor=2, mode="bicubic").flatten(2).transpose(1, 2)
    assert torch.allclose(laid[:, 1:], wanted, atol=1e-6)


def test_positions_of_sines_tell_every_place_from_another():
    tower = dataclasses.replace(SMALL.tower("depth"), positions="sincos")
    assert isinstance(tower, GridConfig)
    made = ImageBind(ImageBindConfig(embed_dim=8, depth=tower))
    table = made.towers["depth"].stem.positions[0]
    assert not made.towers["depth"].stem.positions.requires_grad
    rows, width = 3, 192
    rate = 10_000 ** (-5 / (width // 4))
    assert table[1 + rows * 8 + 2, 5].item() == pytest.approx(np.sin(rows * rate), abs=1e-6)
    assert table[1 + rows * 8 + 2, width // 2 + 5].item() == pytest.approx(
        np.sin(2 * rate), abs=1e-6
    )
    assert torch.cdist(table, table).fill_diagonal_(9).min() > 0.1


def test_a_skipped_block_counts_for_more_where_it_is_not():
    tower = dataclasses.replace(SMALL.tower("imu"), drop_path=0.5)
    made = ImageBind(ImageBindConfig(embed_dim=8, imu=tower))
    path = made.towers["imu"].trunk.blocks[-1].drop_path
    torch.manual_seed(0)
    kept = path.train()(torch.ones(4000, 1, 1)).flatten()
    assert set(kept.tolist()) == {0.0, 2.0} and abs(kept.mean() - 1) < 0.06
    assert torch.equal(path.eval()(torch.ones(3, 1, 1)), torch.ones(3, 1, 1))
    assert made.towers["imu"].trunk.blocks[0].drop_path.share == 0


@pytest.mark.parametrize(
    ("modality", "shape", "said"),
    [
        ("imge", (2, 3, 224, 224), "nearest is 'image'"),
        ("heat", (2, 1, 224, 224), "there is no sense 'heat'"),
        ("image", (2, 1, 224, 224), r"image: .*\(2, 1, 224, 224\) is given; .*\(3, 224, 224\)"),
        ("image", (2, 3, 224, 225), "224, 225"),
        ("audio", (2, 1, 128, 200), r"\(1, 128, 204\) is needed"),
        ("imu", (2, 6, 1999), r"\(6, 2000\) is needed"),
        ("text", (2, 78), "up to 77 token numbers"),
        ("depth", (224,), r"\(1, 224, 224\)"),
    ],
)
def test_another_sense_or_shape_is_one_sentence(model, modality, shape, said):
    x = torch.zeros(shape, dtype=torch.long if modality == "text" else torch.float32)
    with pytest.raises(AnomalystError, match=said):
        model.embed(modality, x)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"imu": {"widht": 8}}, "nearest is 'imu.width'"),
        ({"imu": {"heads": 7}}, "width 192 with 7 heads"),
        ({"text": {"bias_kv": True}}, "left to right"),
        ({"image": {"patch": 300}}, "at least one patch"),
        ({"audio": {"drop_path": 1.0}}, "shares"),
    ],
)
def test_a_size_that_cannot_be_is_refused(change, said):
    values = to_mapping(SMALL)
    for tower, keys in change.items():
        values[tower] |= keys
    with pytest.raises(AnomalystError, match=said):
        from_mapping(ImageBindConfig, values)


def kaldi_by_transformers(samples: np.ndarray) -> np.ndarray:
    """The filter bank as the AST feature extractor of transformers computes it with numpy."""
    filters = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=128,
        min_frequency=20,
        max_frequency=8000,
        sampling_rate=16000,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    filters[-1] = 0
    return spectrogram(
        samples - samples.mean(),
        np.hanning(400),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        log_mel="log",
        mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_the_filter_bank_is_kaldis():
    seconds = np.arange(32000) / 16000
    noise = 0.1 * drawn("noise", (32000,))
    tone = (0.3 * np.sin(2 * np.pi * 440 * seconds) + 0.1).astype(np.float32)
    for sound in (noise, tone, noise[:500], np.zeros(800, np.float32)):
        ours = log_mel(sound)
        assert ours.shape == (1 + (len(sound) - 400) // 160, 128)
        assert np.abs(ours - kaldi_by_transformers(sound)).max() < 5e-6
    with pytest.raises(AnomalystError, match="at least 400"):
        log_mel(noise[:399])


def recording(samples: np.ndarray, rate: float = 16000.0) -> Recording:
    channels = tuple("abcdef"[: samples.shape[1]])
    return Recording(values=samples.astype(np.float32), rate_hz=rate, channels=channels)


def test_clips_of_a_sound_are_cut_and_standardised_as_the_published_code_does():
    for length, places in REFERENCE["clip_places"].items():
        assert clip_places(int(length)) == [tuple(place) for place in places]
    sound = 0.1 * drawn("input sound", (51237,))[:, None]
    made = sound_input(recording(sound))
    assert made.values.shape == (3, 1, 128, 204) and not made.notes
    theirs = np.array(REFERENCE["mel"], np.float32).reshape(3, 8, 9)
    assert np.abs(made.values[:, 0, ::16, ::25].numpy() - theirs).max() < 1e-4
    short = sound_input(recording(sound[:20000]))
    theirs = np.array(REFERENCE["mel_short"], np.float32).reshape(8, 9)
    assert np.abs(short.values[1, 0, ::16, ::25].numpy() - theirs).max() < 1e-4
    assert "lasts 1.25 s" in short.notes[0]
    with pytest.raises(AnomalystError, match="read_audio"):
        sound_input(recording(sound, 44100.0))


def test_a_picture_is_cut_and_standardised_as_the_published_code_does():
    picture = np.random.RandomState(3).randint(0, 256, (41, 53, 3)).astype(np.uint8)
    made = picture_input(picture)
    theirs = np.array(REFERENCE["picture"], np.float32).reshape(3, 7, 7)
    assert np.abs(made.values[:, ::32, ::32].numpy() - theirs).max() < 1e-6
    assert made.notes == ("22% of the longer side were cut off: the model sees the middle square",)


def test_depth_and_heat_are_one_channel_from_0_to_1():
    ramp = np.linspace(0, 1, 300)[None].repeat(200, 0)
    made = field_input(ramp, side_px=128).values
    assert made.shape == (1, 128, 128) and made.min() >= 0 and made.max() <= 1
    assert torch.allclose(made[0, 64].diff(), torch.tensor(200 / 128 / 299), atol=1e-4)
    with pytest.raises(AnomalystError, match=r"in \[0, 1\] is needed"):
        field_input(ramp * 255)


def test_an_imu_is_resampled_to_windows_of_5_seconds():
    seconds = np.arange(1200) / 100  # 12 s at 100 Hz
    waves = np.stack([np.sin(2 * np.pi * (1 + n) * seconds) for n in range(6)], 1)
    made = imu_input(recording(waves, 100.0))
    assert made.values.shape == (2, 6, 2000)
    assert made.notes[0] == "resampled from 100 to 400 Hz" and "the last 2 s" in made.notes[1]
    wanted = np.sin(2 * np.pi * 3 * np.arange(2000) / 400)
    assert np.abs(made.values[0, 2, 100:].numpy() - wanted[100:]).max() < 0.02
    with pytest.raises(AnomalystError, match="lasts 4 s"):
        imu_input(recording(waves[:400], 100.0))
    with pytest.raises(AnomalystError, match="an IMU has 6"):
        imu_input(recording(waves[:, :3], 100.0))


def test_texts_become_clips_tokens(tmp_path):
    letters = [*"abcdr", *(f"{one}</w>" for one in "abcdr"), "bo", "bolt</w>"]
    vocabulary = {word: n for n, word in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = clip_tokenizer(tmp_path)
    made = text_input(["a Bad", "abcd abcd"], tokenizer, tokens=7)
    begin, end = vocabulary["<|startoftext|>"], vocabulary["<|endoftext|>"]
    said = ["a</w>", "b", "a", "d</w>"]
    assert made.values[0].tolist() == [begin, *(vocabulary[one] for one in said), end, 0]
    assert made.values[1, -1] == end and made.notes == ("1 sentences were cut after 7 tokens",)
    with pytest.raises(AnomalystError, match="no such folder"):
        clip_tokenizer(tmp_path / "none")


SIGLIP = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
          "intermediate_size": 32}  # fmt: skip


def save_towers(kind: str, folder: Path) -> Path:
    """A CLIP, SigLIP or SigLIP 2 of random weights with a tokenizer."""
    save_clip(folder)
    if kind == "clip":
        return folder
    name = kind.capitalize()
    sizes = {"num_patches": 64} if kind == "siglip2" else {"image_size": 32}
    torch.manual_seed(1)
    config = getattr(transformers, f"{name}Config")(
        text_config=SIGLIP
        | {"vocab_size": 99, "projection_size": 16, "max_position_embeddings": 12},
        vision_config=SIGLIP | {"patch_size": 8} | sizes,
    )
    made = getattr(transformers, f"{name}Model")(config)
    with torch.no_grad():
        made.logit_scale.fill_(2.0)
        made.logit_bias.fill_(-3.0)
    made.save_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 12
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
@torch.no_grad()
def test_image_and_text_towers_give_what_transformers_gives(kind, tmp_path):
    towers = ImageTextTowers(str(save_towers(kind, tmp_path)))
    pixels = torch.from_numpy(drawn("pixels", (3, 3, 32, 32)))
    tokens = towers.tokens(["a photo of a cookie.", "a damaged cookie"])
    images, texts = towers.embed("image", pixels), towers.embed("text", tokens)
    inputs = {"input_ids": tokens, "pixel_values": pixels}
    if kind == "siglip2":
        rows = [F.unfold(one[None], 8, stride=8)[0].unflatten(0, (3, 64)) for one in pixels]
        inputs["pixel_values"] = torch.stack([one.permute(2, 1, 0).flatten(1) for one in rows])
        inputs["pixel_attention_mask"] = torch.ones(3, 16).long()
        inputs["spatial_shapes"] = torch.tensor([[4, 4]] * 3)
    theirs = (
        getattr(transformers, type(towers.model).__name__)
        .from_pretrained(tmp_path)
        .eval()(**inputs)
    )
    assert torch.allclose(images, theirs.image_embeds, atol=1e-6)
    assert torch.allclose(texts, theirs.text_embeds, atol=1e-6)
    assert torch.allclose(towers.logits(images, texts), theirs.logits_per_image, atol=1e-5)
    assert towers.bias == (0 if kind == "clip" else -3) and towers.embed_dim == images.shape[1]
    with pytest.raises(AnomalystError, match="nearest is 'image'"):
        towers.embed("imgae", pixels)
    with pytest.raises(AnomalystError, match=r"image: a tensor of shape \(3, 3, 32, 30\)"):
        towers.embed("image", pixels[..., :30])
    with pytest.raises(AnomalystError, match="text: a tensor of shape"):
        towers.embed("text", pixels)


def test_a_folder_without_both_towers_is_refused(tmp_path):
    with pytest.raises(AnomalystError, match="there is no such folder"):
        ImageTextTowers(str(tmp_path / "none"))
    save_clip(tmp_path)
    config = transformers.BertConfig(**SIGLIP, vocab_size=99)
    transformers.BertModel(config).save_pretrained(tmp_path)
    with pytest.raises(AnomalystError, match="is a BertModel; a model with an image and a text"):
        ImageTextTowers(str(tmp_path))


def test_the_image_tower_is_an_encoder_that_inspects(tmp_path):
    torch.manual_seed(0)
    save(ImageBind(SMALL.only("image", "audio")), tmp_path / "small")
    spec = f"imagebind:{tmp_path / 'small'}"
    encoder = load_encoder(spec)
    pixels = torch.rand(1, 3, 128, 160)
    found = encoder(pixels)
    assert [level.shape for level in found.levels] == [(1, 192, 8, 10)] * 4
    mean, std = (torch.tensor(one)[:, None, None] for one in CLIP)
    whole = load(tmp_path / "small").features("image", (pixels - mean) / std)
    assert torch.equal(found.levels[2], whole.levels[2])
    picture = np.full((160, 160, 3), 128, np.uint8)
    Image.fromarray(picture).save(tmp_path / "good.png")
    picture[64:80, 32:48] = 250
    Image.fromarray(picture).save(tmp_path / "bad.png")
    paths = [str(tmp_path / f"{name}.png") for name in ("good", "bad")]
    words = ["inspect", *paths, "--reference", paths[0], "--encoder", spec]
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    records = [json.loads(p.read_text()) for p in sorted((tmp_path / "out").glob("*.json"))]
    scores = {Path(one["image"]).stem: one["score"] for one in records}
    assert scores["bad"] > scores["good"] + 0.01
