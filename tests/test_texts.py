"""BERT, GPT-2 and BART on inspection texts: objectives, folders by class, and each in its place."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    ElectraConfig,
    ElectraModel,
    RobertaConfig,
    RobertaForMaskedLM,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTModel,
)
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.explaining.opening import open_text_model
from anomalyst.report.shift.sentences import summary_by_topic
from anomalyst.server.config import ServingConfig
from anomalyst.server.storage.store import Store
from anomalyst.server.storage.tables import CorrectionRow, InspectionRow
from anomalyst.training.data.texts.drawn import (
    answer_text,
    draw_facts,
    draw_shift_facts,
    kind_of,
    note_of,
    told,
)
from anomalyst.training.data.texts.tokenizer import learn_text_tokenizer
from anomalyst.training.loop import train
from anomalyst.training.studies.texts.comparison import answered, recalls, summary_shares
from anomalyst.training.studies.texts.loops import answer_holds
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.text_networks import TextModelConfig, new_network, parameters
from anomalyst.training.tasks.text_objectives import (
    NOTHING,
    corrupted_spans,
    filled,
    masked_words,
    next_words,
)
from anomalyst.training.tasks.texts import drawn_texts
from anomalyst.vlm.texts.heads import ridge
from anomalyst.vlm.texts.loading import load_text_model
from anomalyst.vlm.texts.summarising import summarise
from anomalyst.vlm.texts.writing import SUMMARY_DECODING, Decoding, loop_of, written
from conftest import ROOT

pytestmark = pytest.mark.usefixtures("one_thread")
run = CliRunner().invoke
TINY = (
    "texts=100", "steps=4", "batch=4", "model.width=32", "model.layers=2", "model.heads=2",
    "model.hidden=320", "workers=0", "checkpoint_every=4", "warmup_steps=1",
)  # fmt: skip
OWN = ("bert", "gpt2", "bart")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with a tiny run of each recipe."""
    out = tmp_path_factory.mktemp("texts")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in OWN:
        train(load_recipe(ROOT / "recipes" / "texts" / f"{name}.yaml", list(TINY)), out / name)
    torch.set_num_threads(threads)
    return out


@pytest.fixture(scope="module")
def tokenizer():
    return learn_text_tokenizer((one.whole for one in drawn_texts(150, 1)), 600, 512)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A record of forty drawn inspections; on each a person noted something."""
    folder, rng = tmp_path_factory.mktemp("record"), np.random.default_rng(3)
    store = Store.open(ServingConfig(home=folder))
    with store.session() as session:
        for number in range(40):
            facts = draw_facts(rng)
            height, width = facts.size_hw
            row = InspectionRow(
                id=f"{number:024x}", product="bolt", picture="a.png", name=f"{number}.png",
                source="api", by="x", owner="server", false_alarm_rate=0.05, state="done",
                verdict=facts.verdict, score=1.0, p_value=0.5,
                record=facts.as_dict() | {"height_px": height, "width_px": width},
            )  # fmt: skip
            session.add(row)
            session.flush()
            session.add(
                CorrectionRow(
                    inspection=row.id, product="bolt", kind="wrong", by="x",
                    detail={"comment": note_of(facts, rng)},
                )
            )  # fmt: skip
    store.engine.dispose()
    return folder


def test_masked_words_are_15_percent_of_which_80_10_10():
    rng = np.random.default_rng(0)
    ids = torch.from_numpy(rng.integers(4, 1000, (400, 250)))
    words = torch.ones_like(ids, dtype=torch.bool)
    words[:, :10] = False  # marks
    read, labels = masked_words(ids, words, rng, mask=3, words=range(4, 1000))
    asked = labels != NOTHING
    count = int(asked.sum())
    expected = 0.15 * int(words.sum())
    assert abs(count - expected) < 4 * (0.85 * expected) ** 0.5  # four standard deviations
    assert not asked[:, :10].any() and torch.equal(labels[asked], ids[asked])
    assert torch.equal(read[~asked], ids[~asked])
    masked, kept = read[asked] == 3, read[asked] == ids[asked]
    for found, share in ((masked, 0.8), (kept, 0.1), (~masked & ~kept, 0.1)):
        wanted = share * count + (0.1 * count / 996 if found is kept else 0)
        assert abs(int(found.sum()) - wanted) < 4 * (share * (1 - share) * count) ** 0.5 + 2


def test_a_short_text_is_asked_for_at_least_one_word():
    ids = torch.full((50, 3), 9)
    _, labels = masked_words(
        ids, ids == 9, np.random.default_rng(0), mask=3, words=range(4, 9), share=1e-6
    )
    assert ((labels != NOTHING).sum(1) == 1).all()


def test_corrupted_spans_hide_30_percent_each_behind_one_mask():
    rng = np.random.default_rng(0)
    lengths = Counter()
    for _ in range(300):
        ids = list(range(10, 10 + int(rng.integers(20, 200))))
        read = corrupted_spans(ids, rng, mask=3)
        left = [one for one in read if one != 3]
        assert left == sorted(left) and set(left) <= set(ids)
        assert len(ids) - len(left) == round(0.3 * len(ids))
        ends = [ids[0] - 1, *left, ids[-1] + 1]
        masks = [0]  # between neighbours that are left
        for one in read:
            masks = [*masks[:-1], masks[-1] + 1] if one == 3 else [*masks, 0]
        for (before, after), count in zip(pairwise(ends), masks, strict=True):
            assert count <= 1 and (count or after == before + 1)
            if count:
                lengths[after - before - 1] += 1
    mean = sum(size * n for size, n in lengths.items()) / lengths.total()
    assert 2.5 < mean < 3.1  # Poisson of 3, the last span of a text cut short
    assert 0.03 < lengths[0] / lengths.total() < 0.09  # exp(-3) = 0.05


def test_spans_of_almost_nothing_end():
    rng = np.random.default_rng(1)
    assert corrupted_spans([], rng, mask=3) == [] and corrupted_spans([7], rng, mask=3) == [7]
    for _ in range(20):  # of two tokens round(0.6) = 1 is hidden
        left = [one for one in corrupted_spans([7, 8], rng, mask=3) if one != 3]
        assert left in ([7], [8])


def test_the_next_word_is_asked_for_everywhere_but_in_the_filling():
    ids = filled([[1, 9, 8, 2], [1, 2]], 0)
    assert next_words(ids, ids == 0).tolist() == [[1, 9, 8, 2], [1, 2, NOTHING, NOTHING]]


def test_the_three_are_of_equal_size(tokenizer):
    sizes = [parameters(new_network(o, TextModelConfig(), tokenizer)) for o in
             ("masked", "next", "spans")]  # fmt: skip
    assert max(sizes) < 1.03 * min(sizes)


@pytest.mark.parametrize("name", OWN)
def test_text_runs_are_looked_into_by_either_name(runs, name):
    for source in (f"run:{runs / name}", str(runs / name), str(runs / name / "model")):
        opened = open_text_model(source)
        assert len(opened.tokenizer) == opened.network.config.vocab_size


def test_texts_survive_the_tokenizer_and_read_alike_in_any_batch(tokenizer, runs):
    text = drawn_texts(5, 9)[2].whole
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    for name in OWN:
        model = load_text_model(f"run:{runs / name}")
        alone = torch.cat([model.embed([one]) for one in ("a dent", text)])
        assert torch.allclose(alone, model.embed(["a dent", text]), atol=1e-5)


def test_a_note_is_about_the_record_beside_it():
    rng = np.random.default_rng(4)
    for _ in range(50):
        facts = draw_facts(rng)
        kind, line = kind_of(facts), told(facts)
        assert ("no defect" in line) == (kind == "fine")
        assert kind == "fine" or f"{kind} at the {facts.regions[0].place}" in line


def test_heads_are_least_squares():
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=rng)
    y = x @ torch.randn(5, 3, generator=rng) + torch.tensor([1.0, -2.0, 0.5])
    weights = ridge(x, y)
    found = torch.cat([x, torch.ones(200, 1)], 1) @ weights
    # A ridge of one variance in 200 samples shrinks by about 1/200.
    assert (found - y).abs().max() < 0.2
    assert torch.allclose(found.mean(0), y.mean(0), atol=1e-4)


def test_recall_counts_as_a_loop_does():
    queries = torch.eye(12)[[3, 5, 7]]
    records = torch.eye(12) + 0.001 * torch.arange(12)[:, None]
    same = torch.zeros(3, 12, dtype=torch.bool)
    same[0, 3] = same[1, 11] = same[2, 0] = True  # first, second, last
    assert recalls(queries, records, same) == pytest.approx((1 / 3, 2 / 3, 2 / 3))


def test_loops_are_phrases_three_times_in_a_row():
    assert loop_of([5, 1, 2, 1, 2, 1, 2, 9]) == (1, 2)
    assert loop_of([4, 4, 4]) == (4,) and loop_of([1, 2, 3, 1, 2, 3]) == ()


def test_any_folder_of_the_three_classes_loads(tokenizer, tmp_path):
    small = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    wide = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 48}  # fmt: skip
    made = {
        "masked": RobertaForMaskedLM(RobertaConfig(max_position_embeddings=514, **wide, **small)),
        "spans": T5ForConditionalGeneration(
            T5Config(d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2,
                     decoder_start_token_id=0, **small)
        ),
        "none": ElectraModel(ElectraConfig(embedding_size=32, **wide, **small)),
    }  # fmt: skip
    for objective, network in made.items():
        folder = tmp_path / objective
        network.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        model = load_text_model(folder)
        assert model.objective == objective and model.heads is None
        vectors = model.embed(["a dent", "word " * 900])
        assert vectors.shape == (2, 32) and torch.allclose(vectors.norm(dim=1), torch.ones(2))
    ids = written(load_text_model(tmp_path / "spans"), "a dent", Decoding(max_new_tokens=5))
    assert 1 <= len(ids) <= 5
    for refused in ("masked", "none"):
        with pytest.raises(AnomalystError, match="writes no text"):
            written(load_text_model(tmp_path / refused), "a dent", Decoding())


def test_a_summary_is_decoded_as_the_source_says():
    assert SUMMARY_DECODING.options() == {
        "max_new_tokens": 100, "min_new_tokens": 0, "num_beams": 4, "do_sample": False,
        "repetition_penalty": 1.0, "no_repeat_ngram_size": 3, "length_penalty": 2.0,
        "early_stopping": True,
    }  # fmt: skip


def test_folders_that_hold_no_text_model_are_refused(refused, runs, tmp_path, home):
    with pytest.raises(AnomalystError, match="holds no config.json"):
        load_text_model(tmp_path)
    ViTModel(ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=32)).save_pretrained(tmp_path / "vit")  # fmt: skip
    with pytest.raises(AnomalystError, match="cannot be read|tokenizer"):
        load_text_model(tmp_path / "vit")
    bert = f"run:{runs / 'bert'}"
    assert "writes no text" in refused("study", "loops", bert)
    times = ("--from", "2026-11-27", "--to", "2026-11-28", "--home", home)
    assert "writes no text" in refused("report", "shift", *times, "--model", bert)
    told = refused("find", "--image", "a.png", "--encoder", f"texts:{bert}", "--home", home)
    assert "give --text" in told
    assert "'cap'" in refused(
        "report", "notes", "--model", bert, "--home", home, "--product", "cap"
    )


def test_recipes_that_make_no_sense_are_refused():
    recipe = ROOT / "recipes" / "texts" / "bert.yaml"
    for words, said in {
        "objective=other": "objective is 'other'",
        "masked_share=0": "between 0 and 1",
        "model.layers=3": "even number",
        "model.hidden=100": "more than",
        "texts=3": "at least 100",
    }.items():
        with pytest.raises(AnomalystError, match=said):
            load_recipe(recipe, [words])


def test_inspections_are_found_by_their_words(runs, home):
    found = run(app, ["find", "--text", "small dent top left", "--encoder",
                      f"texts:run:{runs / 'bert'}", "--home", str(home), "--json"])  # fmt: skip
    assert found.exit_code == 0, found.output
    hits = json.loads(found.stdout)
    assert hits["searched"] == hits["encoded"] == 40 and len(hits["hits"]) == 10
    again = run(app, ["find", "--text", "rust", "--encoder", f"texts:run:{runs / 'bert'}", "--home",
                      str(home), "--json", "--top", "3"])  # fmt: skip
    assert json.loads(again.stdout)["encoded"] == 0


def test_notes_are_sorted_by_kind(runs, home):
    found = run(app, ["report", "notes", "--model", f"run:{runs / 'bert'}", "--home", str(home),
                      "--json"])  # fmt: skip
    assert found.exit_code == 0, found.output
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(rows) == 40 and [row["kind"] for row in rows] == sorted(row["kind"] for row in rows)


def test_loops_and_comparison_write_their_pages(runs, tmp_path):
    loops = run(app, ["study", "loops", f"run:{runs / 'gpt2'}", "--prompts", "1", "--out",
                      str(tmp_path / "loops")])  # fmt: skip
    assert loops.exit_code == 0, loops.output
    assert "repetition penalty 1.3" in (tmp_path / "loops" / "loops.md").read_text()
    names = [f"run:{runs / name}" for name in OWN]
    compared = run(app, ["study", "texts", *names, "--tiny", "--out", str(tmp_path / "texts")])
    assert compared.exit_code == 0, compared.output
    rows = json.loads((tmp_path / "texts" / "texts.json").read_text())
    assert [row["name"] for row in rows] == ["TF-IDF", *names]
    assert rows[1]["answers"] is None and rows[2]["answers"] is not None
    assert rows[0]["kind_all"] > 0.4 and all(0 <= row["recall"][0] <= 1 for row in rows)


def test_bart_writes_summaries_that_are_checked(runs):
    found = run(app, ["bench", "shifts", "--shifts", "3", "--model", f"run:{runs / 'bart'}",
                      "--json"])  # fmt: skip
    assert found.exit_code == 0, found.output
    tally = json.loads(found.stdout)
    assert tally["wrong"] == 0 and tally["refused"] > 0  # four steps teach no numbers


@pytest.mark.parametrize(
    ("name", "wrote"),
    [("gpt2", "It is {0} hole. | {1}: a dent | {1}: and a dent"), ("bart", "{1}: It is {0} hole.")],
)
def test_the_first_answer_is_judged_and_not_what_follows(runs, name, wrote, monkeypatch):
    model = load_text_model(str(runs / name / "model"))

    def writes(text: str) -> None:  # what it was given comes first, or the decoder's start
        ids = torch.tensor([model.tokenizer(text, add_special_tokens=False)["input_ids"]])

        def generate(input_ids, **_):
            given = input_ids if name == "gpt2" else input_ids[:, :1]
            return torch.cat([given, ids], 1)

        monkeypatch.setattr(model.model, "generate", generate)

    writes(wrote.format("a", "answer"))
    assert (
        answered(model, answer_text(draw_facts(np.random.default_rng(1)), np.random.default_rng(1)))
        == "It is a hole."
    )
    writes(wrote.format("one", "summary"))
    assert summarise(model, "inspected 3") == "It is one hole."


def test_an_answer_that_claims_nothing_does_not_hold():
    facts = draw_facts(np.random.default_rng(2))
    there = f"{facts.regions[0].kind} at the {facts.regions[0].place}"
    assert answer_holds(f"Yes, there is a {there}.", facts)
    assert not answer_holds("It is is is.", facts) and not answer_holds("", facts)
    assert not answer_holds("No, there is no defect.", facts)


def test_shares_of_a_true_and_of_a_false_summary():
    rng = np.random.default_rng(1)
    facts = draw_shift_facts(rng)
    true = " ".join(summary_by_topic(facts, 1).values())
    assert summary_shares([facts], [true]) == (1.0, 1.0)
    assert summary_shares([facts], ["777 parts were inspected."]) == (0.0, 0.0)
