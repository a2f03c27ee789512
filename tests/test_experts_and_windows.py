"""Mixtures of experts and windowed attention, beside references and word by word."""

import pytest
import torch
import torch.nn.functional as F
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from anomalyst.config import from_mapping
from anomalyst.errors import AnomalystError
from anomalyst.layers.experts import Experts
from anomalyst.vlm.huggingface.varied_llama import BlockConfig, vary
from anomalyst.vlm.huggingface.windowed_attention import band_mask, windowed

pytestmark = pytest.mark.usefixtures("one_thread")
SIZES = {
    "vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": None,
    "eos_token_id": 1,
}  # fmt: skip


def test_experts_answer_as_when_every_token_is_asked_by_itself():
    torch.manual_seed(0)
    mixture, x = Experts(8, 12, 4, 2, scale=0.5), torch.randn(3, 5, 8)
    answered = mixture(x)
    for token, said in zip(x.flatten(0, 1), answered.flatten(0, 1), strict=True):
        likely = mixture.router(token).softmax(-1)
        best = likely.topk(2)
        one_by_one = [
            (F.silu(token @ mixture.gate[i]) * (token @ mixture.up[i])) @ mixture.down[i]
            for i in best.indices
        ]
        share = best.values / best.values.sum()
        torch.testing.assert_close(said, share[0] * one_by_one[0] + share[1] * one_by_one[1])


def test_the_balance_is_one_where_all_are_used_alike_and_rises_to_their_number():
    mixture = Experts(4, 4, 4, 1)
    mixture.router.weight.data = 50 * torch.eye(4)
    mixture(torch.eye(4))
    assert float(mixture.balance) == pytest.approx(1)
    mixture(torch.eye(4)[:1].repeat(4, 1))
    assert float(mixture.balance) == pytest.approx(4)
    assert mixture.shares.tolist() == [1, 0, 0, 0]


@pytest.mark.parametrize(("length", "window"), [(1, 4), (4, 4), (5, 4), (23, 4), (24, 8), (9, 1)])
def test_blocks_of_a_window_see_what_a_band_sees(length, window):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 3, length, 8, requires_grad=True)
    seen = windowed(q, k, v, window)
    band = band_mask(length, length, window, q.device)
    plain = F.scaled_dot_product_attention(q, k, v, attn_mask=band)
    torch.testing.assert_close(seen, plain)


def test_a_window_reads_and_writes_as_mistrals():
    torch.manual_seed(0)
    mistral = MistralForCausalLM(MistralConfig(**SIZES, sliding_window=6, head_dim=8)).eval()
    ours = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    vary(ours, BlockConfig(window=6).blocks())
    ours.load_state_dict(mistral.state_dict())
    ids = torch.randint(2, 50, (2, 20))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, mistral(ids).logits, atol=1e-5, rtol=1e-5)
        words = {"max_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
        assert torch.equal(ours.generate(ids, **words), mistral.generate(ids, **words))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"window": 8, "positions": "relative"}, "positions other than relative"),
        ({"window": -1}, "0 .all. or more is needed"),
        ({"experts": 2, "experts_per_token": 3}, "1 to experts, 2, is needed"),
        ({"experts": 2, "activation": "relu"}, "leave activation at silu"),
    ],
)
def test_blocks_that_cannot_be_are_refused(values, said):
    with pytest.raises(AnomalystError, match=said):
        from_mapping(BlockConfig, values)
