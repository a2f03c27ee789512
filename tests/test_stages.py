"""Captions, then instructions: what moves, what is learnt from, and what ships."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model

from anomalyst.backbones import load_encoder
from anomalyst.errors import AnomalystError
from anomalyst.inspection.config import InspectorConfig
from anomalyst.inspector import Inspector
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.synthetic.procedural.dataset import SetConfig, write_dataset
from anomalyst.training.data.dialogues.drawn import DrawnConfig, write_drawn
from anomalyst.training.engines import check_engine
from anomalyst.training.engines.base import trained_state
from anomalyst.training.experiments.tiny import write_tiny_llama
from anomalyst.training.loop import train
from anomalyst.training.recipe import EngineConfig
from anomalyst.training.task import Share
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.anomalygpt import AnomalyGPTTask
from anomalyst.training.tasks.inspection_data import AnomalyGPTRecipe, as_tokens
from anomalyst.training.tasks.instruction_data import CAPTION_QUESTION, read_instructions
from anomalyst.training.tasks.instructions import InstructionRecipe, InstructionTask
from anomalyst.types import Dialogue
from anomalyst.vlm.huggingface.layer_patches import Patch
from anomalyst.vlm.huggingface.loading import load_model

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A tiny language model, a tiny vision transformer, drawn captions and drawn dialogues."""
    folder = tmp_path_factory.mktemp("stages")
    write_tiny_llama(folder / "llama", 0, 32)
    torch.manual_seed(0)
    settings = Dinov2Config(
        hidden_size=32, num_hidden_layers=6, num_attention_heads=2, patch_size=16, image_size=96
    )
    Dinov2Model(settings).save_pretrained(folder / "vit")
    world = WorldConfig(size_px=96, references=(1, 1), anomalous_share=0.5)
    for said in ("captions", "dialogues"):
        write_drawn(folder / said, DrawnConfig(count=6, said=said, world=world))
    return folder


@pytest.fixture
def recipe(made: Path) -> InstructionRecipe:
    """Three steps over drawn dialogues; the projector alone."""
    return InstructionRecipe(
        language_model=str(made / "llama"),
        instructions=str(made / "dialogues" / "instructions.json"),
        side_px=96, steps=3, batch=2, warmup_steps=1, learning_rate=1e-2, ema_decay=0.0,
        precision="float32", log_every=1, held_out=0.34, workers=0, lora_rank=4, lora_dropout=0.0,
    )  # fmt: skip


def moved(before: Path, after: Path) -> set[str]:
    """Names of the weights that differ between two model folders."""
    old, new = (load_file(folder / "model.safetensors") for folder in (before, after))
    assert old.keys() == new.keys()
    return {name for name, value in old.items() if not torch.equal(value, new[name])}


def test_captions_move_the_projector_and_nothing_else(recipe, made, tmp_path):
    captions = replace(recipe, instructions=str(made / "captions" / "instructions.json"))
    still = train(replace(captions, steps=1, learning_rate=0.0), tmp_path / "still")
    after = train(captions, tmp_path / "run")
    found = moved(still, after)
    assert found and all(name.startswith("projector.") for name in found)
    language = load_file(made / "llama" / "model.safetensors")
    shipped = load_file(after / "model.safetensors")
    for name, value in language.items():
        own = shipped[f"language_model.{name}"]
        assert torch.equal(own[: len(value)], value), name  # one more row: the picture's token
    noted = json.loads((tmp_path / "run" / "trained.json").read_text())
    projector = sum(v.numel() for n, v in shipped.items() if n.startswith("projector."))
    assert noted["trained"] == projector and noted["of"] > 3 * projector


def test_each_choice_moves_what_it_names_from_stage_one_on(recipe, tmp_path):
    first = train(replace(recipe, steps=1), tmp_path / "one")
    chosen = {
        ("projector", "lora"): ("projector.", "self_attn."),
        ("projector", "language"): ("projector.", "language_model."),
        ("prompt_learner",): ("prompt_learner.",),
    }
    for train_words, starts in chosen.items():
        stage = replace(recipe, language_model="", initial=str(first), train=train_words)
        after = train(stage, tmp_path / "-".join(train_words))
        found = moved(first, after)
        assert all(any(start in name for start in starts) for name in found)
        assert all(any(start in name for name in found) for start in starts)
        load_model(after)


def test_layers_put_in_after_an_earlier_stage_are_trained(recipe, tmp_path):
    first = train(replace(recipe, steps=1), tmp_path / "one")
    patches = (Patch(layer="residual", at="after_block", trained=True),
               Patch(layer="layer_norm", at="inside_mlp"))  # fmt: skip
    stage = replace(recipe, language_model="", initial=str(first), patches=patches)
    for words in (("projector",), ("projector", "sparse")):
        shipped = load_file(train(replace(stage, train=words), tmp_path / words[-1])
                            / "model.safetensors")  # fmt: skip
        residual = [v for n, v in shipped.items() if "patched_residual" in n]
        assert residual and all(bool(value.any()) for value in residual), words
        assert any("patched_layer_norm" in name for name in shipped), words


def test_pictures_are_shown_in_whole_cells_of_their_encoder(recipe, tmp_path):
    torch.manual_seed(0)
    settings = Dinov2Config(hidden_size=32, num_hidden_layers=6, num_attention_heads=2,
                            patch_size=14, image_size=98)  # fmt: skip
    Dinov2Model(settings).save_pretrained(tmp_path / "vit14")
    task = InstructionTask(replace(recipe, vision=f"hf:{tmp_path / 'vit14'}"), tmp_path / "run")
    assert task.single(0)["patches"].shape[1] == 32 and task.detector.encoder.multiple_px == 14


def test_nothing_held_out_is_told_before_it_is_looked_at(recipe, tmp_path):
    with pytest.raises(AnomalystError, match="none is held out"):
        train(replace(recipe, held_out=0.05, validate_every=1), tmp_path)


def test_the_vision_encoder_learns_ships_and_is_used(recipe, made, tmp_path):
    spec = f"hf:{made / 'vit'}"
    stage = replace(recipe, vision=spec, train=("projector", "language", "vision"))
    task = InstructionTask(stage, tmp_path)
    task.loss(next(iter(task.batches(0, Share()))), CPU)[0].backward()
    grown = {n for n, p in task.model.vision_encoder.named_parameters() if p.grad is not None}
    assert any("layer.0." in name for name in grown), "no gradient into the first block"
    model = train(stage, tmp_path / "run")
    noise = torch.rand(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    own = load_encoder(f"hf:{model / 'vision'}")
    assert not torch.allclose(own(noise).embedding, load_encoder(spec)(noise).embedding)
    assert load_model(model)[0].config.vision == f"hf:{model / 'vision'}"
    inside = {k for k in load_file(model / "model.safetensors") if "vision" in k}
    assert not inside, "the encoder lies in its own folder"
    # A user inspects with it, and with no other.
    picture = made / "dialogues" / "000000.png"
    config = InspectorConfig(language=model)
    inspector = Inspector.load(f"hf:{model / 'vision'}", config)
    found = inspector.inspect(picture, inspector.teach("p", [made / "dialogues/000000-good.png"]))
    assert inspector.ask("Is there a defect?", Dialogue(found)).text
    with pytest.raises(AnomalystError, match="trained together with its own encoder"):
        _ = Inspector.load(spec, config).speaker
    # It goes on from there.
    again = replace(stage, language_model="", initial=str(model), vision=f"hf:{model / 'vision'}")
    assert load_model(train(again, tmp_path / "again"))


def test_three_turns_weigh_by_their_tokens_and_no_user_has_a_label(recipe, tmp_path):
    task = InstructionTask(recipe, tmp_path)
    one = next(entry for entry in task.samples.entries if len(entry.turns) == 3)
    sample = as_tokens(task.samples.sample_of(one), task.processor, task.family, 1024)
    labels, ids = sample["labels"], sample["input_ids"]
    assert torch.equal(ids[labels >= 0], labels[labels >= 0])
    said = task.processor.tokenizer.decode(labels[labels >= 0])
    asked = task.processor.tokenizer.decode(ids[labels < 0])
    for question, answer in one.turns:
        assert answer in said and question in asked and question not in said
    batch = {k: (v[None] if k in ("input_ids", "labels") else v) for k, v in sample.items()}
    whole = task.loss(dict(batch), CPU)[0].item()
    # By hand: each answer by itself, given all that was said before it.
    messages = task.samples.sample_of(one)["messages"]
    total = tokens = 0
    shown = {k: v for k, v in batch.items() if k not in ("input_ids", "labels")}
    answers = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    assert len(answers) == 3
    for end in answers:
        ids, marked = task.processor.training_ids(messages[: end + 1], task.family)
        before, _ = task.processor.training_ids(messages[: end - 1], task.family) if end > 2 else (
            [], None)  # fmt: skip
        marked[: len(before)] = -100
        logits = task.model(input_ids=ids[None], **shown).logits[0].log_softmax(1)
        places = (marked >= 0).nonzero()[:, 0]
        total -= logits[places - 1].gather(1, marked[places][:, None]).sum().item()
        tokens += len(places)
    assert whole == pytest.approx(total / tokens, rel=1e-5)
    assert tokens == int((labels >= 0).sum())


def test_every_form_of_the_files_is_read_and_what_is_wrong_is_named(recipe, made, tmp_path):
    (tmp_path / "a.png").write_bytes((made / "captions" / "000000.png").read_bytes())
    human, gpt = {"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "It."}

    def read(*entries: object):
        path = tmp_path / "some.json"
        path.write_text(json.dumps(list(entries)))
        return read_instructions(replace(recipe, instructions=str(path)))

    found = read(
        {"image": "a.png", "caption": "A part."},
        {"image": "a.png", "conversations": [human, gpt, human, gpt]},
        {"image_name": "a.png", "conversation": [human, gpt]},
        {"conversations": [human, gpt]},
    )
    assert found[0].turns == ((CAPTION_QUESTION, "A part."),)
    assert found[1].turns == (("What?", "It."),) * 2
    assert [one.image for one in found] == ["a.png", "a.png", "a.png", ""]
    for entry, sentence in (
        ({"id": "x7", "conversations": [gpt, human]}, r"entry 1 \(x7\): part 1 .* from 'gpt'"),
        ({"conversations": [human, human]}, "part 2 .* a text from 'gpt' is due"),
        ({"conversations": [human, gpt, human]}, "its last question has no answer"),
        ({"image": "a.png"}, r"entry 1 \(a.png\) has neither a caption nor"),
        ({"image": "b.png", "caption": "x"}, "1 of 1 pictures are not in .* first b.png"),
        (7, "entry 1 is a int"),
    ):
        with pytest.raises(AnomalystError, match=sentence):
            read(entry)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"train": ("projektor",)}, "train has 'projektor'; the nearest is 'projector'"),
        ({"train": ("lora", "ia3")}, "lora and ia3; one of them at a time"),
        ({"train": ("language", "lora")}, "the whole language model, or lora in it"),
        ({"train": ("decoder",)}, "train has 'decoder'"),
        ({"train": ()}, "train is empty"),
        ({"train": ("vision",)}, "the pair decoder and its calibration were learnt"),
        ({"validate_every": 2, "held_out": 0.0}, "nothing is held out"),
        ({"train": ("prefix",), "activation_checkpointing": True}, "read the prefix twice"),
    ],
)
def test_recipes_that_cannot_be_meant_are_refused(recipe, changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(recipe, **changed)


def test_another_encoder_than_that_of_stage_one_is_refused(recipe, made, tmp_path):
    first = train(replace(recipe, steps=1), tmp_path / "one")
    stage = replace(recipe, language_model="", initial=str(first), vision=f"hf:{made / 'vit'}")
    with pytest.raises(AnomalystError, match="was trained with the encoder embedded"):
        InstructionTask(stage, tmp_path)
    with pytest.raises(AnomalystError, match="no model is there"):
        replace(stage, initial=str(tmp_path / "none")).resolved()


def test_both_recipes_run_one_after_the_other_at_a_tiny_size(made, tmp_path):
    small = [
        "drawn.count=8", "drawn.world.size_px=96", "side_px=96", "batch=2", "workers=0",
        "held_out=0.25", "validation_batches=1", "lora_rank=4", "precision=float32",
    ]  # fmt: skip
    captions = load_recipe(
        RECIPES / "captions.yaml", [*small, f"language_model={made / 'llama'}"]
    ).resolved()
    assert captions.steps == 3
    first = train(captions, tmp_path / "captions")
    second = load_recipe(
        RECIPES / "instructions.yaml", [*small, f"initial={first}", "watch.probe_every=1"]
    ).resolved()
    found = train(second, tmp_path / "instructions")
    assert json.loads((tmp_path / "instructions/accuracy.json").read_text())["held out"]["asked"]
    assert not load_model(found)[0].config.level_widths
    drawn = json.loads((tmp_path / "captions/drawn/instructions.json").read_text())
    assert all(one["caption"].startswith("It looks like ") for one in drawn)
    assert {one["defective"] for one in drawn} == {True, False}
    assert np.isfinite(
        json.loads((tmp_path / "captions/log.jsonl").read_text().splitlines()[0])["loss"]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("ddp", "[projector,language,vision]"),
        ("fsdp", "[projector,language,vision]"),
        ("fsdp", "[prefix]"),
        ("fsdp", "[sparse]"),
        ("deepspeed", "[prompt]"),
        ("deepspeed", "[sparse]"),
        ("ddp", "[projector,ia3]"),
    ],
)
def test_two_processes_go_down_the_same_curve_whatever_is_trained(engine, words, made, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "task": "instructions",
                "language_model": str(made / "llama"),
                "instructions": str(made / "dialogues/instructions.json"),
                "vision": f"hf:{made / 'vit'}",
                "side_px": 96,
                "steps": 3,
                "batch": 4,
                "micro_batch": 2,
                "warmup_steps": 1,
                "precision": "float32",
                "workers": 0,
                "log_every": 1,
                "virtual_tokens": 4,
                "train": yaml.safe_load(words),
            }
        )  # fmt: skip
    )
    try:
        check_engine(EngineConfig(name=engine), "float32", here=2, world=2)
    except AnomalystError as error:
        pytest.skip(str(error))
    found = []
    for arguments in ([], ["--engine", engine, "--nproc", "2", "engine.zero_stage=3"]):
        out = tmp_path / f"run{len(arguments)}"
        words = [sys.executable, "-m", "anomalyst", "train", recipe, "--out", out, *arguments]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
        found.append([line["loss"] for line in lines if "loss" in line])
        load_model(out / "model")
    assert found[1] == pytest.approx(found[0], abs=1e-4)


def test_the_full_size_learns_all_turns_about_a_map_and_its_encoder_too(made, tmp_path):
    write_dataset(tmp_path / "pills", SetConfig(family="pill", size_px=96, train=3))
    recipe = AnomalyGPTRecipe(
        data=(str(tmp_path / "pills"),), language_model=str(made / "llama"), turns=3,
        vision=f"hf:{made / 'vit'}", train=("projector", "prompt_learner", "decoder", "vision"),
        side_px=96, batch=2, steps=1, workers=0, precision="float32", ema_decay=0.0,
    )  # fmt: skip
    task = AnomalyGPTTask(recipe, tmp_path)
    batch = next(iter(task.batches(0, Share())))
    starts = (batch["labels"][:, 1:] >= 0) & (batch["labels"][:, :-1] < 0)
    assert starts.sum(1).tolist() == [3, 3]
    task.loss(dict(batch), CPU)[0].backward()
    grown = {name.split(".")[0] for name, p in task.model.named_parameters() if p.grad is not None}
    assert grown == {"projector", "prompt_learner", "text_aligned", "vision_encoder"}
    model = task.ship(trained_state(task.module))
    assert load_model(model)[0].config.trained_vision
    task.finish(model)
    assert task.detector.encoder.name == f"hf:{model / 'vision'}"
