"""Attention, rollout, Grad-CAM, kernels, units and likeness, each against a computation by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import nn
from transformers import BertConfig, BertModel, CvtConfig, CvtModel, LlamaConfig, LlamaModel

from anomalyst.errors import AnomalystError
from anomalyst.explaining.answers import looked
from anomalyst.explaining.attention import attention_weights
from anomalyst.explaining.checkpoints import fill_from
from anomalyst.explaining.grad_cam import grad_cam, last_convolution
from anomalyst.explaining.kernels import KERNELS, filtered
from anomalyst.explaining.learning_speed import LayerSpeed, learning_speeds, linear_cka
from anomalyst.explaining.record import eager, recorded
from anomalyst.explaining.rollout import rollout
from anomalyst.explaining.units import receptive_field, top_patches
from anomalyst.segmentation.network import Block
from anomalyst.types import Dialogue
from anomalyst.vlm.facts import facts_of
from anomalyst.vlm.grounding import ground
from conftest import DEMO

pytestmark = pytest.mark.usefixtures("one_thread")
FLANGE = DEMO / "flange"


def by_hand(q: np.ndarray, k: np.ndarray, *, causal: bool = False) -> np.ndarray:
    """softmax(Q K' / sqrt(d)) of (T, d), in plain loops and float64."""
    rows = np.zeros((len(q), len(k)))
    for i in range(len(q)):
        seen = range(i + 1) if causal else range(len(k))
        logits = [float(q[i] @ k[j]) / math.sqrt(q.shape[1]) for j in seen]
        powers = np.exp(np.array(logits) - max(logits))
        rows[i, : len(powers)] = powers / powers.sum()
    return rows


def test_attention_is_softmax_of_scaled_products_and_its_output_torchs_own():
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 2, 5, 8, dtype=torch.float64)
    for causal in (False, True):
        found = attention_weights(q, k, causal=causal)
        for head in range(2):
            wanted = by_hand(q[0, head].numpy(), k[0, head].numpy(), causal=causal)
            assert np.abs(found[0, head].numpy() - wanted).max() < 1e-12
        fused = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        assert (found @ v - fused).abs().max() < 1e-12


def test_what_is_recorded_of_our_block_is_its_attention_by_hand():
    torch.manual_seed(1)
    block, x = Block(16, 2), torch.randn(1, 6, 16)
    with torch.no_grad(), recorded(block, attention=True) as record:
        block(x)
        q, k, _ = block.mixed(block.norms[0](x)).chunk(3, -1)
    [[weights]] = record.attention.values()
    for head in range(2):
        part = slice(8 * head, 8 * head + 8)
        wanted = by_hand(q[0, :, part].numpy(), k[0, :, part].numpy())
        assert np.abs(weights[0, head].numpy() - wanted).max() < 1e-6


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_what_is_recorded_is_what_transformers_returns(kind):
    torch.manual_seed(2)
    if kind == "bert":
        model = BertModel(
            BertConfig(vocab_size=20, hidden_size=16, num_attention_heads=2, num_hidden_layers=2,
                       intermediate_size=32)
        ).eval()  # fmt: skip
    else:  # two heads of queries share one of keys
        model = LlamaModel(
            LlamaConfig(vocab_size=20, hidden_size=16, num_attention_heads=4, num_hidden_layers=2,
                        num_key_value_heads=2, intermediate_size=32)
        ).eval()  # fmt: skip
    ids = torch.arange(7)[None]
    assert model.config._attn_implementation == "sdpa"
    with torch.no_grad(), recorded(model, attention=True) as record:
        plain = model(ids).last_hidden_state
    assert model.config._attn_implementation == "sdpa"  # as it was
    with torch.no_grad(), eager(model):
        wanted = model(ids, output_attentions=True).attentions
    with torch.no_grad():
        fused = model(ids).last_hidden_state
    found = [weights for _, weights in record.layers()]
    assert len(found) == len(wanted) == 2
    assert all((a - b).abs().max() < 1e-6 for a, b in zip(found, wanted, strict=True))
    assert (plain - fused).abs().max() < 1e-5


def test_a_transformer_that_returns_no_attention_is_recorded_too():
    torch.manual_seed(3)
    model = CvtModel(CvtConfig(embed_dim=[8, 16, 16], num_heads=[1, 2, 2], depth=[1, 2, 3])).eval()
    with torch.no_grad(), recorded(model, attention=True) as record:
        model(torch.rand(1, 3, 32, 32))
    shapes = [weights.shape[1] for _, weights in record.layers()]
    assert shapes == [1, 2, 2, 2, 2, 2]
    assert all((w.sum(-1) - 1).abs().max() < 1e-5 for _, w in record.layers())


def test_a_model_with_only_a_fused_kernel_is_refused_with_the_remedy(monkeypatch):
    model = BertModel(BertConfig(vocab_size=5, hidden_size=8, num_attention_heads=1,
                                 num_hidden_layers=1, intermediate_size=8))  # fmt: skip

    def keeps_to_it(name: str) -> None:
        raise ValueError(f"{name} is not supported")

    monkeypatch.setattr(model, "set_attn_implementation", keeps_to_it)
    with (
        pytest.raises(AnomalystError, match='attn_implementation="eager"'),
        recorded(model, attention=True),
    ):
        pass


def test_a_layer_that_is_not_there_is_told():
    with (
        pytest.raises(AnomalystError, match="'2'.*has none of that name; it has 0, 1"),
        recorded(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), features=["2"]),
    ):
        pass


def test_rollout_is_the_product_of_all_paths():
    torch.manual_seed(4)
    weights = torch.rand(3, 2, 4, 4, dtype=torch.float64).softmax(-1)
    found = rollout(weights)
    # Brute force: the sum over every path of tokens through the three layers.
    mixed = 0.5 * weights.mean(1) + 0.5 * torch.eye(4)
    wanted = torch.zeros(4, 4, dtype=torch.float64)
    for end in range(4):
        for b in range(4):
            for a in range(4):
                for start in range(4):
                    wanted[end, start] += mixed[2, end, b] * mixed[1, b, a] * mixed[0, a, start]
    assert (found - wanted).abs().max() < 1e-12
    assert (found.sum(1) - 1).abs().max() < 1e-12


class TinyNetwork(nn.Module):
    """A convolution, mean over places, a linear layer: its gradient is known by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Conv2d(1, 3, 3, padding=1)
        self.classes = nn.Linear(3, 2)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.classes(self.maps(pixels).mean((2, 3)))


def test_grad_cam_is_what_the_gradient_by_hand_gives():
    torch.manual_seed(5)
    network, pixels = TinyNetwork().requires_grad_(False), torch.rand(1, 1, 5, 4)
    heat, chosen = grad_cam(network, "maps", pixels, 1)
    # d logit_1 / d map_k at each of the 20 places is w_1k / 20, and so is its mean.
    channels = network.classes.weight[1] / 20
    wanted = F.relu((channels[:, None, None] * network.maps(pixels)[0]).sum(0))
    assert chosen == 1 and wanted.max() > 0
    assert (heat - wanted / wanted.max()).abs().max() < 1e-6
    assert last_convolution(network) == "maps"
    with pytest.raises(AnomalystError, match="class 2: the model has 2"):
        grad_cam(network, "maps", pixels, 2)
    with pytest.raises(AnomalystError, match="needs feature maps"):
        grad_cam(network, "classes", pixels)


@pytest.mark.parametrize("name", list(KERNELS))
def test_kernels_filter_as_scipy_does(name):
    picture = np.random.default_rng(6).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    found = filtered(picture, KERNELS[name])
    for channel in range(3):
        wanted = ndimage.correlate(
            picture[..., channel].astype(np.float64), KERNELS[name].astype(np.float64),
            mode="nearest",
        )  # fmt: skip
        assert np.abs(found[..., channel] - wanted).max() < 1e-3  # of 255, in float32


def test_a_field_is_whole_behind_relu_and_max_pooling():
    torch.manual_seed(3)  # of one random picture, this network's was 16 x 18
    conv = [nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 2), (2, 2), (2, 1))]
    network = nn.Sequential(conv[0], nn.ReLU(), nn.MaxPool2d(2), conv[1], nn.ReLU(),
                            nn.MaxPool2d(2), conv[2])  # fmt: skip
    assert receptive_field(network, "6", torch.zeros(1, 3, 64, 64)) == (18, 18)  # 3 + 1 + 4 + 2 + 8


def test_the_strongest_patch_is_where_the_pattern_was_planted():
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 1, 3, padding=1))
    with torch.no_grad():
        for layer in (network[0], network[2]):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
    pictures = [torch.zeros(1, 1, 20, 20) for _ in range(3)]
    pictures[1][0, 0, 13, 5] = 1.0
    [patches] = top_patches(network, "2", pictures, each=2)
    assert receptive_field(network, "2", pictures[0]) == (5, 5)
    x0, y0, x1, y1 = patches[0].box_xyxy
    assert patches[0].picture == 1 and x0 <= 5 < x1 and y0 <= 13 < y1
    assert (x1 - x0, y1 - y0) == (5, 5)


def test_likeness_is_unmoved_by_rotation_and_the_slow_layer_is_told():
    torch.manual_seed(7)
    features = torch.randn(30, 6, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    assert linear_cka(features, 3 * features @ turn + 1) == pytest.approx(1)
    centred = features - features.mean(0)
    other = torch.randn(30, 4, dtype=torch.float64)
    late = other - other.mean(0)
    # Kornblith et al., equation 4, by the features instead of the Gram matrices.
    wanted = (late.T @ centred).norm() ** 2 / (
        (centred.T @ centred).norm() * (late.T @ late).norm()
    )
    assert linear_cka(features, other) == pytest.approx(float(wanted))
    steps = [{"low": features, "high": other}, {"low": features, "high": features}]
    low, high = learning_speeds(steps)
    assert low.likeness == pytest.approx((1, 1)) and high.likeness[0] < 0.5
    assert LayerSpeed(layer="x", likeness=(0.95, 0.5, 0.92, 1.0)).reached([1, 2, 3, 4]) == 3


def test_a_checkpoint_fills_the_network_under_any_name(tmp_path):
    network, other = TinyNetwork(), TinyNetwork()
    tensors = {f"task.network.{n}": value for n, value in other.state_dict().items()}
    fill_from(network, tensors, tmp_path)
    assert all(
        (a == b).all() for a, b in zip(network.parameters(), other.parameters(), strict=True)
    )
    with pytest.raises(AnomalystError, match="holds another network"):
        fill_from(network, {"encoder.weight": torch.zeros(3)}, tmp_path)


@pytest.fixture(scope="module")
def fractured(inspector):
    good = sorted((FLANGE / "good").glob("*.jpg"))[:1]
    product = inspector.teach("flange", good, adapted=False)
    return inspector.inspect(FLANGE / "test" / "fracture-001.jpg", product)


def test_each_words_shares_are_those_of_the_step_that_wrote_it(inspector, fractured):
    """Beside a forward pass of its own for each token, over what stood before it alone."""
    speaker, facts = inspector.speaker, facts_of(fractured)
    question, dialogue = "Is there a defect, and where?", Dialogue(fractured)
    answer = inspector.ask(question, dialogue)
    found = looked(speaker, question, answer, facts, fractured.shown)
    ids, _ = speaker.written(question, facts, fractured.shown)
    prompt = speaker.processor(speaker.prompt(question, facts), dict(fractured.shown))
    start = prompt["input_ids"].shape[1]
    for token in (6, len(found.belongs) - 1):
        so_far = torch.cat([prompt["input_ids"], torch.tensor([ids[:token]], dtype=int)], 1)
        inputs = {**prompt, "input_ids": so_far, "attention_mask": torch.ones_like(so_far)}
        with torch.no_grad(), eager(speaker.model):
            steps = speaker.model(**inputs, output_attentions=True)
        alone = torch.stack([one[0, :, -1] for one in steps.attentions]).numpy()  # (L, heads, T)
        recorded_ = found.weights[:, :, token]
        assert np.abs(recorded_[..., : start + token] - alone).max() < 1e-5
        assert not recorded_[..., start + token :].any()  # what comes later was not there
        assert int(steps.logits[0, -1].argmax()) == ids[token]


def test_words_cover_the_answer_and_their_shares_sum_to_one(inspector, fractured):
    dialogue = Dialogue(fractured)
    for question in ("Describe it.", "Is there a scratch?"):
        answer = inspector.ask(question, dialogue)
        before = dialogue.turns[:-1]
        args = (question, answer, facts_of(fractured), fractured.shown, before)
        found = looked(inspector.speaker, *args).answer
        for word in found.words:
            assert answer.text[word.start :].startswith(word.text)
            parts = [*word.heat, *word.regions, *word.picture, word.whole, *word.facts]
            others = [word.dialogue, word.question, *(share for _, share in word.earlier)]
            assert sum(parts) + sum(others) + word.rest == pytest.approx(1, abs=1e-4)
            assert (len(word.heat), len(word.picture), len(word.facts)) == (9, 9, len(found.facts))
        assert " ".join(word.text for word in found.words) == answer.text
        assert (found.words[0].dialogue > 0) == bool(before)


def test_a_word_that_the_record_gave_is_not_called_the_models(inspector, fractured):
    speaker, facts, question = inspector.speaker, facts_of(fractured), "Describe it."
    own = speaker.answer(question, facts, fractured.shown)
    decided = speaker.answer("Is there a scratch?", facts, fractured.shown)  # the record alone
    # As it would be, had the model gone on with what is not so.
    cut = ground(f"{own.raw} There are nine defects.", facts)
    assert cut.corrected and cut.text.startswith(own.text)

    def told(question: str, answer):
        return looked(speaker, question, answer, facts, fractured.shown).answer

    assert {word.by for word in told(question, own).words} == {"model"}
    found = told("Is there a scratch?", decided)
    assert {word.by for word in found.words} == {"record"}
    assert found.note.startswith("The record gave this answer")
    found = told(question, cut)
    count = sum(word.start < len(own.text) for word in found.words)
    assert {word.by for word in found.words[:count]} == {"model"}
    assert {word.by for word in found.words[count:]} == {"record"} and "cut off" in found.note


def test_where_the_record_holds_the_model_its_own_choice_is_told(inspector, fractured):
    """A model that says No wherever it said Yes, about a part whose record says yes."""
    speaker, facts, question = inspector.speaker, facts_of(fractured), "Is there a defect?"
    weight = speaker.model.language_model.get_output_embeddings().weight
    tokenizer = speaker.processor.tokenizer
    yes, no = (tokenizer(w, add_special_tokens=False)["input_ids"][0] for w in ("Yes", "No"))
    with torch.no_grad():
        weight[[yes, no]] = weight[[no, yes]].clone()
    try:
        answer = speaker.answer(question, facts, fractured.shown)
        found = looked(speaker, question, answer, facts, fractured.shown).answer
    finally:
        with torch.no_grad():
            weight[[yes, no]] = weight[[no, yes]].clone()
    first = found.words[0]
    assert (first.text, first.by) == ("Yes,", "held")
    assert first.instead == tokenizer.decode([no]).strip() and "allowed only" in found.note
