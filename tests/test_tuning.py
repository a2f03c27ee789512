"""Parameter-efficient tuning: how much is trained, that nothing else moves, and what ships."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from anomalyst.errors import AnomalystError
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.training.checkpoint import fill
from anomalyst.training.data.dialogues.drawn import DrawnConfig, write_drawn
from anomalyst.training.engines.base import trained_state
from anomalyst.training.experiments.plots import draw_peft
from anomalyst.training.experiments.tables import PeftRow, peft_table
from anomalyst.training.experiments.tiny import LAYERS, write_tiny_llama
from anomalyst.training.studies.peft import PeftStudy, study_peft
from anomalyst.training.tasks.instructions import InstructionRecipe, InstructionTask
from anomalyst.training.tasks.tuning import METHODS, SparseLinear, trained_count
from anomalyst.vlm.huggingface.loading import load_model
from anomalyst.vlm.huggingface.virtual_tokens import virtual_tokens_of

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
WIDTH, INNER = 32, 96  # of the tiny LLaMA, with as many heads for keys as for queries


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A tiny LLaMA and four drawn dialogues."""
    folder = tmp_path_factory.mktemp("tuning")
    write_tiny_llama(folder / "llama", 0, WIDTH)
    world = WorldConfig(size_px=96, references=(1, 1))
    write_drawn(folder / "drawn", DrawnConfig(count=4, said="dialogues", turns=1, world=world))
    return folder


@pytest.fixture
def recipe(made: Path) -> InstructionRecipe:
    return InstructionRecipe(
        language_model=str(made / "llama"), instructions=str(made / "drawn/instructions.json"),
        side_px=96, steps=2, batch=2, workers=0, precision="float32", ema_decay=0.0,
        lora_rank=4, lora_dropout=0.0, adapter_width=8, virtual_tokens=5, sparse_share=0.01,
    )  # fmt: skip


LINEAR = (*[WIDTH * WIDTH] * 4, *[WIDTH * INNER] * 3)  # weights of a block
TRAINED = {
    "lora": LAYERS * 4 * 4 * (WIDTH + WIDTH),  # r (d_in + d_out) for q, k, v, o
    "adapter": LAYERS * 2 * (2 * WIDTH * 8 + WIDTH + 8),
    "prefix": 5 * LAYERS * 2 * WIDTH,
    "prompt": 5 * WIDTH,
    "ia3": LAYERS * (WIDTH + WIDTH + INNER),  # k, v and what goes into down
    "bitfit": LAYERS * (5 * WIDTH + 2 * INNER),
    "sparse": LAYERS * sum(round(0.01 * weights) for weights in LINEAR),
}


@pytest.mark.parametrize("method", METHODS)
def test_little_is_trained_the_rest_stays_and_the_shipped_model_says_the_same(
    method, recipe, tmp_path
):
    task = InstructionTask(replace(recipe, train=(method,)), tmp_path)
    assert trained_count(task.module) == TRAINED[method]
    assert task.whole == sum(
        p.numel() for p in InstructionTask(recipe, tmp_path).model.parameters()
    )
    frozen = {n: p.clone() for n, p in task.model.named_parameters() if not p.requires_grad}
    optimizer = torch.optim.AdamW([p for p in task.model.parameters() if p.requires_grad], 0.05)
    batch = task.single(0)
    first = task.loss(dict(batch), CPU)[0].item()
    for _ in range(4):
        loss = task.loss(dict(batch), CPU)[0]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < first
    after = dict(task.model.named_parameters())
    assert all(torch.equal(value, after[name]) for name, value in frozen.items())
    model, processor = load_model(task.ship(trained_state(task.module)))
    shown = {k: v for k, v in batch.items() if k != "labels"}
    with torch.no_grad():
        wanted, found = task.model.eval()(**shown).logits, model(**shown).logits
    assert torch.allclose(wanted, found, atol=2e-5), (wanted - found).abs().max()
    # With a cache, token by token, the shipped model says what it says without.
    prompt = {k: v[:, :60] if k == "input_ids" else v for k, v in shown.items()}
    said = model.generate(**prompt, max_new_tokens=5, do_sample=False, eos_token_id=-1)
    ids = prompt["input_ids"]
    for token in said[0]:
        with torch.no_grad():
            best = model(**prompt | {"input_ids": ids}).logits[0, -1].argmax()
        assert best == token
        ids = torch.cat([ids, best[None, None]], 1)


@pytest.mark.parametrize(
    ("kind", "config"), [("prefix", PrefixTuningConfig), ("prompt", PromptTuningConfig)]
)
def test_virtual_tokens_are_those_of_peft(kind, config, recipe, made, tmp_path):
    task = InstructionTask(replace(recipe, train=(kind,)), tmp_path)
    own = task.model.language_model.eval()
    plain = AutoModelForCausalLM.from_pretrained(made / "llama")
    plain.resize_token_embeddings(own.get_input_embeddings().num_embeddings)
    virtual = virtual_tokens_of(own)
    state = {k: v for k, v in own.state_dict().items() if "virtual_tokens" not in k}
    plain.load_state_dict(state)
    theirs = get_peft_model(plain, config(task_type="CAUSAL_LM", num_virtual_tokens=5)).eval()
    weight = theirs.prompt_encoder["default"].embedding.weight.data
    if kind == "prefix":  # theirs: (P, layers x 2 x width)
        weight.copy_(virtual.states.detach().permute(3, 0, 1, 2, 4).reshape(5, -1))
    else:
        weight.copy_(virtual.embeddings.detach())
    ids = torch.arange(1, 13).reshape(2, 6)
    for mask in (torch.ones_like(ids), torch.tensor([[0, 0, 1, 1, 1, 1], [1] * 6])):
        with torch.no_grad():
            wanted = theirs(input_ids=ids, attention_mask=mask).logits[:, -6:]
            found = own(input_ids=ids, attention_mask=mask).logits
        assert found.shape == wanted.shape
        assert torch.allclose(found[mask > 0], wanted[mask > 0], atol=1e-5)


def test_sparse_tuning_takes_the_weights_of_the_largest_squared_gradients():
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 4)
    sparse = SparseLinear(layer, 0.25)
    information = torch.arange(24.0).flip(0).reshape(4, 6)
    sparse.choose(information)
    assert sparse.index.tolist() == [0, 1, 2, 3, 4, 5]
    x = torch.randn(3, 6)
    assert torch.equal(sparse(x), layer(x))
    sparse.values.data.fill_(1.0)
    sparse(x).sum().backward()
    assert torch.allclose(sparse(x)[:, 0], layer(x)[:, 0] + x.sum(1))
    assert torch.allclose(sparse.values.grad, x.sum(0))


def test_a_run_chooses_its_mask_by_gradients_and_keeps_it(recipe, tmp_path):
    task = InstructionTask(replace(recipe, train=("sparse",)), tmp_path)
    chosen = {n: m.index for n, m in task.model.named_modules() if isinstance(m, SparseLinear)}
    plain = InstructionTask(replace(recipe, train=("language",)), tmp_path)
    plain.model.eval()
    total = 0.0
    name = "language_model.model.layers.1.mlp.up_proj"
    weight = plain.model.get_submodule(name).weight
    for index in range(64):
        plain.model.zero_grad()
        plain.loss(plain.single(index), CPU)[0].backward()
        total = total + weight.grad**2
    best = total.flatten().topk(len(chosen[name])).indices.sort().values
    assert torch.equal(chosen[name], best)
    again = InstructionTask(replace(recipe, train=("sparse",), seed=5), tmp_path)
    fill(again.module, trained_state(task.module))
    assert torch.equal(again.model.get_submodule(name).index, best)


def test_what_a_model_cannot_have_is_refused(recipe, tmp_path):
    task = InstructionTask(replace(recipe, train=("prefix",)), tmp_path)
    folder = task.ship(trained_state(task.module))
    stage = replace(recipe, language_model="", initial=str(folder))
    with pytest.raises(AnomalystError, match="has a prefix already"):
        InstructionTask(replace(stage, train=("prompt",)), tmp_path)
    assert InstructionTask(replace(stage, train=("prefix",)), tmp_path)  # goes on with its own
    gpt2 = tmp_path / "gpt2"
    words = len(task.processor.tokenizer)
    GPT2LMHeadModel(GPT2Config(vocab_size=words, n_embd=32, n_layer=2, n_head=2)).save_pretrained(
        gpt2
    )
    task.processor.tokenizer.save_pretrained(gpt2)
    other = replace(recipe, language_model=str(gpt2))
    for method, sentence in (
        ("prefix", "need a LLaMA-type decoder"),
        ("adapter", "a LLaMA-type model is needed"),
        ("sparse", "has no linear layers"),
    ):
        with pytest.raises(AnomalystError, match=sentence):
            InstructionTask(replace(other, train=(method,)), tmp_path)
    for method in ("lora", "ia3", "bitfit"):  # these any model of the kind can have
        task = InstructionTask(replace(other, train=(method,)), tmp_path / method)
        assert load_model(task.ship(trained_state(task.module)))


def test_the_study_s_table_says_what_each_way_costs_and_names_a_typo(refused):
    rows = [
        PeftRow("none", 0, 1000, 0.0, 0.0, 0.0, 0.9, 4, 1, 8),
        PeftRow("lora", 25, 1000, 0.003, 0.25, 512.0, 0.5, 6, 0, 8),
    ]
    table = peft_table(rows)
    assert "2.500" in table and "75.0" in table and "50.0" in table and "12.5" in table
    assert draw_peft(rows).startswith(b"\x89PNG")
    assert "the nearest is 'lora'" in refused("study", "peft", "--method", "lorra")


@pytest.mark.slow
def test_the_study_goes_on_where_it_stopped_and_refuses_another(tmp_path):
    study = PeftStudy(methods=("none", "bitfit"), pictures=20, steps=10)
    rows = study_peft(study, tmp_path)
    assert [row.method for row in rows] == ["none", "bitfit"]
    assert rows[1].trained == 150_464 + 14_592
    assert (
        all(row.asked == 4 for row in rows) and rows[1].validation_loss != rows[0].validation_loss
    )
    assert study_peft(study, tmp_path) == rows  # at once
    assert (tmp_path / "peft.md").is_file() and (tmp_path / "peft.png").is_file()
    with pytest.raises(AnomalystError, match="holds a study with"):
        study_peft(replace(study, steps=11), tmp_path)
