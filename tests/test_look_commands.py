"""`anomalyst look` and `chat --show-attention` by the front door, and what their pages hold."""

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartModel,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)
from typer.testing import CliRunner

from anomalyst.cli.looking.opening import opened
from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.explaining.galleries import feature_maps
from anomalyst.explaining.grad_cam import grad_cam, last_convolution
from anomalyst.explaining.patches import patch_attention
from anomalyst.inspection.config import EMBEDDED_LANGUAGE
from anomalyst.io.pictures import open_picture
from anomalyst.training.networks.built import NETWORKS, build_network, sized
from anomalyst.training.networks.classifier import Classifier, card_of
from anomalyst.training.networks.inputs import Inputs
from anomalyst.training.networks.shape import NetworkShape, Picture
from anomalyst.vlm.huggingface.processing import AnomalystProcessor
from conftest import DEMO

pytestmark = pytest.mark.usefixtures("one_thread")
PART, GOOD = DEMO / "flange" / "test" / "fracture-001.jpg", DEMO / "flange" / "good"


def look(*words: object) -> str:
    done = CliRunner().invoke(app, ["look", *map(str, words)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def views(page: Path) -> list[dict]:
    """What the page's script draws, read back from the page alone."""
    text = page.read_text(encoding="utf-8")
    assert "://" not in text.replace("http://www.w3.org/2000/svg", "")  # nothing is fetched
    return [json.loads(one) for one in re.findall(r'<script type="application/json">(.*?)</script>',
                                                  text)]  # fmt: skip


def weights_of(packed: dict) -> np.ndarray:
    levels = np.frombuffer(base64.b64decode(packed["levels"]), np.uint8)
    tops = np.frombuffer(base64.b64decode(packed["tops"]), "<f4")
    shape = packed["shape"]
    return levels.reshape(shape) / 255 * tops.reshape([*shape[:3], 1])


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    """Folders as their libraries save them: a ViT, a ResNet, a BART with its tokenizer."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    shape = {"hidden_size": 24, "num_attention_heads": 3, "num_hidden_layers": 2}
    vit = ViTConfig(**shape, intermediate_size=48, image_size=32, patch_size=8, num_labels=2)
    ViTForImageClassification(vit).save_pretrained(folder / "vit")
    resnet = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_labels=2,
        id2label={0: "good", 1: "defective"},
    )  # fmt: skip
    ResNetForImageClassification(resnet).save_pretrained(folder / "resnet")
    shipped = AnomalystProcessor.from_pretrained(EMBEDDED_LANGUAGE).tokenizer
    assert isinstance(shipped, PreTrainedTokenizerFast)
    bart = BartConfig(
        vocab_size=len(shipped), d_model=16, encoder_layers=1, decoder_layers=2,
        max_position_embeddings=64, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16,
    )  # fmt: skip
    BartModel(bart).save_pretrained(folder / "bart")
    shipped.save_pretrained(folder / "bart")
    return folder


def test_attention_on_a_picture_by_layer_head_and_rollout(models, tmp_path):
    out = tmp_path / "vit.html"
    assert "2 layers, 3 heads, 4 x 4 patches" in look(
        "attention", models / "vit", PART, "--out", out
    )
    [view] = views(out)
    assert view["grid_hw"] == [4, 4] and view["names"] == ["class token"]
    for name, shape in (("weights", (2, 3, 17, 17)), ("rollout", (1, 1, 17, 17))):
        found = weights_of(view[name])
        assert found.shape == shape and np.abs(found.sum(-1) - 1).max() < 0.02


def test_attention_on_a_text_of_encoder_decoder_and_between(models, tmp_path):
    out = tmp_path / "bart.html"
    told = look("attention", models / "bart", "Is there a </script> defect?", "--out", out)
    kinds = (
        "Encoder self-attention: 1",
        "Decoder self-attention: 2",
        "Decoder looks at encoder: 2",
    )
    assert all(kind in told for kind in kinds)
    encoder, decoder, between = views(out)
    tokens = len(encoder["keys"])
    assert "".join(encoder["keys"]) == "Is there a </script> defect?"
    seen = weights_of(decoder["weights"])
    assert seen.shape == (2, 2, tokens, tokens) and not np.triu(seen, 1).any()  # nothing ahead
    assert np.triu(weights_of(between["weights"]), 1).any()  # all of what was read


def test_pages_of_layers_kernels_units_and_grad_cam(models, tmp_path):
    out = tmp_path / "page.html"
    assert "encoder" in look("layers", models / "resnet", PART, "--out", out)
    look("kernels", PART, "--out", out)
    assert (
        out.read_text().count("<figure>") == 7 and "[1 2 1; 2 4 2; 1 2 1] / 16" in out.read_text()
    )
    told = look("units", models / "resnet", GOOD, "--most", 2, "--each", 3, "--out", out)
    assert "sees" in told and out.read_text().count("<figure>") == 2
    told = look("grad-cam", models / "resnet", PART, "--class", "defective", "--out", out)
    assert told.startswith("defective: ")


def test_the_small_bert_is_as_the_lesson_builds_it(tmp_path):
    out = tmp_path / "bert.html"
    assert "285,312 parameters" in look("bert", "--epochs", 2, "--out", out)
    found = views(out)
    assert [len(view["keys"]) for view in found] == [10, 10]
    assert all(view["weights"]["shape"] == [2, 2, 10, 10] for view in found)
    assert all("apple" in view["keys"] for view in found)
    assert (tmp_path / "bert-1.png").is_file() and (tmp_path / "bert-2.png").is_file()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("attention", "embedded", PART), "attends nowhere; it is a convolutional network"),
        (("attention", "language", "   "), "the text is empty"),
        (("attention", "language", "no-such.png"), "no-such.png"),
        (("attention", "no-such-model", PART), "is no model that can be opened"),
        (("kernels", PART, "--out", "page.pdf"), "is no .html"),
        (("grad-cam", "embedded", PART), "gives features, not classes"),
        (("learning", "segment", GOOD), "keeps 0 checkpoints"),
    ],
)
def test_what_cannot_be_looked_into_is_refused(words, sentence, refused):
    assert sentence in refused("look", *words)


def test_a_layer_or_class_of_another_name_is_refused(models, refused):
    told = refused("look", "grad-cam", models / "resnet", PART, "--class", "bad")
    assert "classes are good, defective" in told
    told = refused("look", "units", models / "resnet", GOOD, "--layer", "resnet.encoder.stages.7")
    assert "perhaps resnet.encoder.stages" in told


def test_chat_writes_where_its_words_looked(tmp_path, refused):
    out = tmp_path / "chat.html"
    ask = ("--ask", "Describe it.", "--ask", "Is there a scratch?")
    words = ["chat", PART, "--reference", GOOD / "000.jpg", *ask, "--show-attention", out]
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    own, tokens, decided, _ = views(out)
    assert len(tokens["queries"]) == len(own["belongs"])
    assert tokens["keys"][len(own["kinds"]) :] == tokens["queries"]
    assert " ".join(word["text"] for word in own["words"]) in done.stdout
    assert {word["by"] for word in decided["words"]} == {"record"}
    told = refused("chat", PART, "--reference", GOOD / "000.jpg", "--show-attention", "x.pdf")
    assert "--show-attention x.pdf: is no .html" in told


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Folders as runs of recipes/supervised leave them, untrained."""
    folder, inputs = tmp_path_factory.mktemp("runs"), Inputs(size=32, channels=1, normalise="none")
    picture = Picture(classes=2, size=32, channels=1)
    torch.manual_seed(1)
    for name in NETWORKS:
        network = build_network(sized(NetworkShape(name=name), picture, "30k"), picture)
        card = card_of(network, ("good", "defective"), inputs)
        Classifier(network.eval(), card).save(folder / name / "model")
    return folder


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_supervised_network_can_be_looked_into(name, runs):
    """Feature maps of all; attention of transformers; Grad-CAM of convolutional ones."""
    model, picture = opened(str(runs / name)), open_picture(PART)
    assert model.classes == ("good", "defective")
    assert feature_maps(model.network, model.pixels(picture), model.layers())
    if name in ("vit", "deit"):
        [found] = patch_attention(model, picture)
        first = {"vit": ("class token",), "deit": ("class token", "distillation token")}[name]
        assert found.names == first and found.grid_hw[0] == found.grid_hw[1]
        assert np.abs(found.rolled.sum(1) - 1).max() < 1e-5
        return
    if name == "cvt":
        with pytest.raises(AnomalystError, match="no grid of patches that look at each other"):
            patch_attention(model, picture)
        return
    with pytest.raises(AnomalystError, match="attends nowhere"):
        patch_attention(model, picture)
    layer = last_convolution(model.network)
    heat, chosen = grad_cam(model.network, layer, model.pixels(picture), logits=model.logits)
    assert chosen in (0, 1) and heat.ndim == 2 and 0 <= float(heat.min()) <= float(heat.max()) <= 1
