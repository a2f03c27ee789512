"""Every family with a tiny model of the real class, saved in the real format and loaded by path."""

import json
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers

from anomalyst.backbones.base import Encoder, to_pixels
from anomalyst.backbones.huggingface import HubEncoder, HubEncoderConfig
from anomalyst.errors import AnomalystError

VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
DINO2 = {**VIT, "mlp_ratio": 2, "patch_size": 14, "image_size": 28}
TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 20,
}
NAFLEX = {k: v for k, v in VIT.items() if k != "image_size"} | {"num_patches": 16}
CNN = {"hidden_sizes": [8, 8, 16, 24], "depths": [1, 1, 1, 1]}
# name: (class that saves, its config class, settings, class of the bare tower, prefix tokens)
KINDS = {
    "dinov2": ("Dinov2Model", "Dinov2Config", DINO2, "Dinov2Model", 1),
    "dinov2 registers": (
        "Dinov2WithRegistersForImageClassification",
        "Dinov2WithRegistersConfig",
        {**DINO2, "num_register_tokens": 4},
        "Dinov2WithRegistersModel",
        5,
    ),
    "dinov3": (
        "DINOv3ViTModel",
        "DINOv3ViTConfig",
        {**VIT, "num_register_tokens": 4},
        "DINOv3ViTModel",
        5,
    ),
    "dinov3 convnext": (
        "DINOv3ConvNextModel",
        "DINOv3ConvNextConfig",
        CNN,
        "DINOv3ConvNextModel",
        None,
    ),
    "clip, whole": (
        "CLIPModel",
        "CLIPConfig",
        {"text_config": TEXT, "vision_config": VIT},
        "CLIPVisionModel",
        1,
    ),
    "clip with projection": (
        "CLIPVisionModelWithProjection",
        "CLIPVisionConfig",
        VIT,
        "CLIPVisionModel",
        1,
    ),
    "siglip, whole": (
        "SiglipModel",
        "SiglipConfig",
        {"text_config": TEXT, "vision_config": VIT},
        "SiglipVisionModel",
        0,
    ),
    "siglip": ("SiglipVisionModel", "SiglipVisionConfig", VIT, "SiglipVisionModel", 0),
    "siglip2 naflex": (
        "Siglip2VisionModel",
        "Siglip2VisionConfig",
        NAFLEX,
        "Siglip2VisionModel",
        0,
    ),
    "vit": ("ViTForImageClassification", "ViTConfig", VIT, "ViTModel", 1),
    "deit": ("DeiTForImageClassificationWithTeacher", "DeiTConfig", VIT, "DeiTModel", 2),
    "convnext": ("ConvNextForImageClassification", "ConvNextConfig", CNN, "ConvNextModel", None),
    "convnextv2": ("ConvNextV2Model", "ConvNextV2Config", CNN, "ConvNextV2Model", None),
    "resnet": (
        "ResNetForImageClassification",
        "ResNetConfig",
        {**CNN, "embedding_size": 8, "layer_type": "basic"},
        "ResNetModel",
        None,
    ),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and lose much where another program runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def save(kind: str, folder: Path, **options: object) -> Path:
    torch.manual_seed(0)
    model, config, settings, *_ = KINDS[kind]
    built = getattr(transformers, model)(getattr(transformers, config)(**settings))
    with torch.no_grad():  # layer scales and position embeddings start at 0 or 1e-6: wake them
        for weight in built.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    built.save_pretrained(folder, **options)
    return folder


def load(folder: Path | str, **settings: object) -> HubEncoder:
    config = HubEncoderConfig(source=str(folder), **settings)  # type: ignore[arg-type]
    return HubEncoder(config, local_files_only=True)


def rows_of_pixels(picture: torch.Tensor, patch: int) -> torch.Tensor:
    """What Siglip2ImageProcessor makes of a picture (its own file needs torchvision)."""
    return torch.stack(
        [
            picture[:, y : y + patch, x : x + patch].permute(1, 2, 0).flatten()
            for y in range(0, picture.shape[1], patch)
            for x in range(0, picture.shape[2], patch)
        ]
    )


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_levels_are_the_models_own_hidden_states_at_another_size(kind: str, tmp_path: Path) -> None:
    encoder = load(save(kind, tmp_path), levels=(-2, 2, 3))
    *_, tower, prefix = KINDS[kind]
    plain = getattr(transformers, tower).from_pretrained(tmp_path).eval()
    rows, columns = 3, 5  # trained on a square, asked for another aspect
    sides = rows * encoder.multiple_px, columns * encoder.multiple_px
    pixels = torch.rand(2, 3, *sides)

    features = encoder(pixels)

    family = encoder.family
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in family.normalisation)
    values = {"pixel_values": (pixels - mean) / std}
    if kind == "siglip2 naflex":
        patches = [rows_of_pixels(picture, 8) for picture in values["pixel_values"]]
        values = {
            "pixel_values": torch.stack(patches),
            "pixel_attention_mask": torch.ones(2, rows * columns).long(),
            "spatial_shapes": torch.tensor([[rows, columns]] * 2),
        }
    states = plain(**values, **family.call, output_hidden_states=True).hidden_states
    depth = len(states) - 1
    assert encoder.levels == tuple(sorted({2, 3, depth - 1}))
    for level, index in zip(features.levels, encoder.levels, strict=True):
        expected = states[index]
        if prefix is not None:
            expected = expected[:, prefix:].reshape(2, rows, columns, 16).permute(0, 3, 1, 2)
        assert torch.equal(level, expected)
    assert features.embedding.shape[0] == 2 and features.embedding.ndim == 2
    assert not torch.allclose(features.embedding[0], features.embedding[1])


@pytest.mark.parametrize("kind", ["dinov2", "dinov3", "clip, whole", "siglip2 naflex", "resnet"])
@torch.no_grad()
def test_bfloat16_is_close_to_float32_and_hands_out_float32(kind: str, tmp_path: Path) -> None:
    folder = save(kind, tmp_path)
    half, full = load(folder, dtype="bfloat16"), load(folder)
    pixels = torch.rand(1, 3, 2 * full.multiple_px, 3 * full.multiple_px)
    assert half.model.dtype == torch.bfloat16
    for low, high in zip(half(pixels).levels, full(pixels).levels, strict=True):
        assert low.dtype == torch.float32
        assert (low - high).norm() < 0.05 * high.norm()


def test_default_levels_lie_in_the_upper_half_and_a_cnn_reads_stages_2_and_3(
    tmp_path: Path,
) -> None:
    vit = load(save("vit", tmp_path / "vit"))
    resnet = load(save("resnet", tmp_path / "resnet"))
    assert vit.levels == (3, 4, 5)  # of 6
    assert resnet.levels == (2, 3)
    assert (vit.multiple_px, resnet.multiple_px) == (8, 32)
    assert (vit.side_px, resnet.side_px) == (384, 320)
    assert load(tmp_path / "vit", side_px=512).side_px == 512
    assert isinstance(vit, Encoder) and vit.name == f"hf:{tmp_path / 'vit'}"
    assert HubEncoder.load(vit.name).levels == vit.levels
    with pytest.raises(AnomalystError, match="names no model"):
        HubEncoder.load("hf:")


@torch.no_grad()
def test_it_is_frozen_and_training_mode_changes_nothing(tmp_path: Path) -> None:
    encoder = load(save("dinov3", tmp_path))
    pixels = torch.rand(1, 3, 32, 32)
    before = encoder(pixels).levels[0]
    encoder.train()
    assert not any(m.training for m in encoder.modules())
    assert not any(p.requires_grad for p in encoder.parameters())
    assert torch.equal(encoder(pixels).levels[0], before)


@torch.no_grad()
def test_normalisation_follows_the_preprocessor_file(tmp_path: Path) -> None:
    folder = save("vit", tmp_path)
    default = load(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.0, 0.25, 0.5], "image_std": [1.0, 0.5, 0.25]})
    )
    told = load(folder)
    assert told.mean.flatten().tolist() == [0.0, 0.25, 0.5]
    normalised = torch.randn(1, 3, 32, 32)
    # Pixels that normalise to the same values give the same features.
    one = told(normalised * told.std + told.mean).levels[0]
    other = default(normalised * default.std + default.mean).levels[0]
    assert torch.allclose(one, other, atol=1e-5)


@torch.no_grad()
def test_shards_load_as_one_file_does_and_a_missing_or_cut_one_is_refused(tmp_path: Path) -> None:
    whole = load(save("vit", tmp_path / "whole"))
    folder = save("vit", tmp_path / "shards", max_shard_size="10KB")
    pixels = torch.rand(1, 3, 32, 32)
    assert torch.equal(load(folder)(pixels).levels[0], whole(pixels).levels[0])
    shard = sorted(folder.glob("*.safetensors"))[1]
    data = shard.read_bytes()
    shard.write_bytes(data[: len(data) // 2])
    with pytest.raises(AnomalystError, match="cannot be loaded together.*download the model again"):
        load(folder)
    shard.unlink()
    with pytest.raises(AnomalystError, match=rf"{shard.name} is missing in .*copy or download"):
        load(folder)


def test_pickled_weights_are_refused_unread(tmp_path: Path) -> None:
    folder = save("vit", tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(AnomalystError, match=r"only as pickle \(pytorch_model.bin\).*safetensors"):
        load(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_hidden_layers": 7}, r"lacks weights \(16: .*config.json is of another model"),
        ({"num_hidden_layers": 5}, r"has weights with no place in it \(16: "),
        ({"hidden_size": 32}, "cannot be loaded together"),
        ({"hidden_size": "wide"}, "cannot be loaded together"),
        ({"model_type": "bert"}, "is a 'bert' model; one of these is needed: dinov2"),
        ({"model_type": None}, "is a None model; one of these"),
    ],
)
def test_a_config_that_does_not_fit_its_weights_is_refused(
    change: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    path = save("vit", tmp_path) / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(AnomalystError, match=sentence):
        load(tmp_path)


def test_an_unknown_name_says_where_it_was_looked_for(tmp_path: Path) -> None:
    for name in ("nobody/no-such-encoder", str(tmp_path / "nowhere")):
        with pytest.raises(
            AnomalystError, match="neither a folder nor in the local cache.*hf down"
        ):
            load(name)
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(AnomalystError, match=r"weights.pth: is a file; a folder with config.json"):
        load(tmp_path / "weights.pth")
    with pytest.raises(AnomalystError, match="has no config.json"):
        load(tmp_path)


def test_a_name_is_found_in_the_local_cache_unless_its_weights_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--somebody--tiny"
    folder = save("resnet", repository / "snapshots" / "0123abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abc")
    encoder = load("somebody/tiny")
    assert encoder.name == "hf:somebody/tiny" and encoder.levels == (2, 3)
    (folder / "model.safetensors").unlink()
    with pytest.raises(AnomalystError, match="model.safetensors is missing in .*download it again"):
        load("somebody/tiny")


def test_levels_it_does_not_have_are_refused(tmp_path: Path) -> None:
    folder = save("vit", tmp_path)
    for levels in ((7,), (0,), (-7,)):
        with pytest.raises(AnomalystError, match="has 6 blocks; choose from 1 to 6"):
            load(folder, levels=levels)
    with pytest.raises(AnomalystError, match="at least one level"):
        HubEncoderConfig(source="x", levels=())


def test_pixels_are_scaled_and_channels_go_first() -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[1, 2] = (255, 51, 0)
    pixels = to_pixels([picture, picture])
    assert pixels.shape == (2, 3, 4, 6) and pixels.dtype == torch.float32
    assert pixels[1, :, 1, 2].tolist() == pytest.approx([1.0, 0.2, 0.0])
    assert pixels.is_contiguous()
