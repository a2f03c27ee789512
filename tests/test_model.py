"""The Hugging Face form: saved, loaded, generated from, tuned, and refused when broken."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoProcessor,
    GPT2Config,
    LlamaConfig,
    OPTConfig,
    Qwen2Config,
    Trainer,
    TrainingArguments,
)

from anomalyst.errors import AnomalystError
from anomalyst.training.data.dialogues.tokenizer import learn_tokenizer
from anomalyst.training.tasks.language import collated
from anomalyst.types import Answer, Turn
from anomalyst.vlm.dialogue import INSTRUCTION, messages_for
from anomalyst.vlm.generation import Speaker
from anomalyst.vlm.huggingface import AnomalystConfig, AnomalystModel, AnomalystProcessor
from anomalyst.vlm.huggingface.loading import load_model
from anomalyst.vlm.prompt_learner import PromptLearner
from test_grounding import NONE, TWO, check

pytestmark = pytest.mark.usefixtures("one_thread")
TEXTS = [
    "Is there a defect?",
    "Yes, there is one defect at the upper left <region 1>.",
    INSTRUCTION,
]
FAMILIES = {
    "llama": LlamaConfig,
    "qwen2": Qwen2Config,
    "opt": OPTConfig,
    "gpt2": GPT2Config,
}


@pytest.fixture(scope="module")
def tokenizer():
    return learn_tokenizer(TEXTS * 20, 420)


def tiny(tokenizer, family: str = "llama") -> AnomalystModel:
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 32, "num_attention_heads": 4}
    if family == "gpt2":
        sizes = {"vocab_size": len(tokenizer), "n_embd": 32, "n_head": 4, "n_layer": 2}
    elif family == "opt":
        sizes |= {"num_hidden_layers": 2, "ffn_dim": 64, "word_embed_proj_dim": 32}
    else:
        sizes |= {
            "num_hidden_layers": 2, "intermediate_size": 64, "num_key_value_heads": 2,
            "tie_word_embeddings": True,
        }  # fmt: skip
    text = FAMILIES[family](
        **sizes, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    return AnomalystModel(
        AnomalystConfig(
            text_config=text,
            embedding_width=16,
            patch_width=8,
            level_widths=(8, 8),
            state_width=6,
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        )
    ).eval()


def shown(batch: int = 1) -> dict[str, torch.Tensor]:
    numbers = torch.Generator().manual_seed(3)
    return {
        "anomaly_map": torch.rand(batch, 1, 40, 56, generator=numbers),
        "regions": torch.rand(batch, 6, 8, generator=numbers),
        "image_embedding": torch.rand(batch, 16, generator=numbers),
        "patches": torch.rand(batch, 8, 4, 4, generator=numbers),
    }


@pytest.fixture
def folder(tmp_path: Path, tokenizer) -> Path:
    model = tiny(tokenizer)
    model.save_pretrained(tmp_path / "m")
    AnomalystProcessor(tokenizer, model.config.num_image_tokens).save_pretrained(tmp_path / "m")
    return tmp_path / "m"


@pytest.mark.parametrize("family", FAMILIES)
def test_any_language_model_sees_and_speaks(tokenizer, family: str):
    model = tiny(tokenizer, family)
    processor = AnomalystProcessor(tokenizer, model.config.num_image_tokens)
    inputs = processor("<image>Is there a defect?", shown())
    told = model.generate(**inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    assert told.shape == (1, 5)
    other = shown() | {"anomaly_map": 1 - shown()["anomaly_map"]}
    logits = [model(**inputs | s).logits for s in (shown(), other)]
    assert not torch.allclose(logits[0][:, -1], logits[1][:, -1])  # it looks at the map


def test_generation_with_a_cache_says_what_the_plain_way_says(tokenizer):
    model = tiny(tokenizer)
    inputs = AnomalystProcessor(tokenizer, model.config.num_image_tokens)("<image>Is it?", shown())
    told = model.generate(**inputs, max_new_tokens=6, min_new_tokens=6, do_sample=False)[0]
    ids = inputs["input_ids"]
    for token in told:
        seen = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        logits = model(**inputs | seen).logits[0, -1]
        logits[model.config.eos_token_id] = -torch.inf
        assert int(logits.argmax()) == int(token)
        ids = torch.cat([ids, token.view(1, 1)], 1)


def test_saved_and_loaded_through_the_auto_classes_it_is_the_same(folder: Path, tokenizer):
    before = tiny(tokenizer)
    assert isinstance(AutoConfig.from_pretrained(folder), AnomalystConfig)
    model = AutoModelForCausalLM.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    assert isinstance(model, AnomalystModel) and isinstance(processor, AnomalystProcessor)
    assert processor.num_image_tokens == model.config.num_image_tokens == 29
    for name, value in before.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    assert not list(folder.glob("*.bin")) and list(folder.glob("*.safetensors"))
    inputs = processor("<image>" + TEXTS[0], shown())
    assert torch.allclose(before(**inputs).logits, model(**inputs).logits, atol=1e-5)


def test_a_prompt_must_hold_as_many_places_as_the_picture_fills(tokenizer):
    model = tiny(tokenizer)
    processor = AnomalystProcessor(tokenizer, 5)
    with pytest.raises(ValueError, match="needs 29 placeholders"):
        model(**processor("<image>", shown()))
    with pytest.raises(ValueError, match="needs all of anomaly_map"):
        model(**processor("<image>"))


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 200), (512, 512)])
def test_the_prompt_learner_takes_maps_of_any_size(size_hw: tuple[int, int]):
    learner = PromptLearner(32, base_tokens=4, regions=6)
    tokens = learner(torch.rand(2, 1, *size_hw), torch.zeros(2, 6, 8))
    assert tokens.shape == (2, 19, 32)
    # The scale of word embeddings from the start, unlike the predecessor's 1.0 beside 0.018.
    assert 0.05 < float(tokens.std()) < 0.2


def test_labels_are_only_what_the_assistant_says(tokenizer):
    processor = AnomalystProcessor(tokenizer, 29)
    messages = messages_for("verdict: normal", (), "Is it?")
    messages += [{"role": "assistant", "content": "No."}, {"role": "user", "content": "And?"},
                 {"role": "assistant", "content": "Yes."}]  # fmt: skip
    ids, labels = processor.training_ids(messages, "llama")
    assert tokenizer.decode(labels[labels >= 0]) == "No.<|end|>Yes.<|end|>"
    assert torch.equal(ids[labels >= 0], labels[labels >= 0])


@pytest.mark.parametrize("family", ["llama", "opt", "gpt2"])
def test_a_tokenizer_without_a_template_gets_that_of_its_family(tokenizer, family: str):
    own = tokenizer.chat_template
    tokenizer.chat_template = None
    try:
        turn = Turn("Is it?", Answer(text="No.", raw="No.", regions=(), verdict="normal",
                                     confidence=1.0))  # fmt: skip
        messages = messages_for("verdict: normal", [turn], "And the colour?")
        text = AnomalystProcessor(tokenizer, 29).prompt(messages, family)
    finally:
        tokenizer.chat_template = own
    order = [text.index(p) for p in ("verdict: normal", "Is it?", "No.", "And the colour?")]
    assert order == sorted(order) and text.startswith("<image>")
    assert text.endswith("### Assistant:" if family == "llama" else "Answer:")


def test_a_folder_loads_strictly_or_says_what_is_wrong(folder: Path, tmp_path: Path):
    model, _ = load_model(folder)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    with pytest.raises(AnomalystError, match="holds no config.json"):
        load_model(tmp_path)
    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(AnomalystError, match="is a pickle, which is never loaded"):
        load_model(pickled)
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    whole = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AnomalystError, match="cannot be read"):
        load_model(cut)
    wider = tmp_path / "wider"
    shutil.copytree(folder, wider)
    config = json.loads((wider / "config.json").read_text())
    config["level_widths"] = [8, 8, 8]
    (wider / "config.json").write_text(json.dumps(config))
    with pytest.raises(AnomalystError, match="missing weights: text_aligned"):
        load_model(wider)
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    AnomalystProcessor(
        learn_tokenizer(TEXTS + ["wholly other words"] * 9, 520), 29
    ).save_pretrained(other)
    with pytest.raises(AnomalystError, match="take the tokenizer that was saved with the model"):
        load_model(other)


def test_a_missing_shard_is_named(tmp_path: Path, tokenizer):
    model = tiny(tokenizer)
    model.save_pretrained(tmp_path, max_shard_size="50KB")
    AnomalystProcessor(tokenizer, 29).save_pretrained(tmp_path)
    load_model(tmp_path)
    lost = sorted(tmp_path.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(AnomalystError, match=lost.name):
        load_model(tmp_path)


def test_untrained_words_never_beat_the_verdict(folder: Path):
    """A model that babbles: what is shown is the verdict all the same."""
    speaker = Speaker.load(folder)
    for facts in (NONE, TWO):
        heard: list[str] = []
        answer = speaker.answer("Is there a defect?", facts, shown(), on_sentence=heard.append)
        check(answer.text, facts)
        assert " ".join(heard) == answer.text


def test_peft_and_trainer_take_it(tokenizer, tmp_path: Path):
    from peft import LoraConfig, get_peft_model

    model = tiny(tokenizer)
    processor = AnomalystProcessor(tokenizer, 29)
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    messages = [*messages_for("", (), "Is it?"), {"role": "assistant", "content": "No."}]
    ids, labels = processor.training_ids(messages, "llama")
    rows = [{"input_ids": ids, "labels": labels} | shown() for _ in range(4)]
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, per_device_train_batch_size=2, report_to=[],
        remove_unused_columns=False, disable_tqdm=True, learning_rate=0.05, use_cpu=True,
    )  # fmt: skip
    before = {n: p.clone() for n, p in adapted.named_parameters() if "lora_B" in n}
    Trainer(adapted, arguments, train_dataset=rows, data_collator=collated).train()
    assert any(not torch.equal(p, dict(adapted.named_parameters())[n]) for n, p in before.items())
