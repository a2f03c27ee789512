"""Words judge, too: states, text towers, the decoder on CLIP's towers and on a run of ours."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
import transformers
from typer.testing import CliRunner

from anomalyst.backbones.embedded import read_weights
from anomalyst.cli.main import app
from anomalyst.detection.detector import Detector
from anomalyst.errors import AnomalystError
from anomalyst.inspection.config import InspectorConfig, Words
from anomalyst.inspector import Inspector
from anomalyst.training.checkpoint import write_weights
from anomalyst.training.loop import train
from anomalyst.training.tasks.text_aligned import TextAlignedRecipe
from anomalyst.vlm.text_aligned import WEIGHTS, image_tower, text_aligned
from anomalyst.vlm.text_tower import States, TextTower, words_of
from test_baselines_text import VISION, save_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def run(clip: Path, tmp_path_factory) -> Path:
    """A run of three steps on the tiny CLIP's text tower and the embedded encoder."""
    out = tmp_path_factory.mktemp("run")
    recipe = TextAlignedRecipe(text_tower=str(clip), steps=3, batch=4, workers=0, log_every=1)
    train(recipe, out)
    return out


def said(*words: object) -> str:
    """What an error says of words that a command cannot use."""
    found = CliRunner().invoke(app, [str(word) for word in words])
    assert isinstance(found.exception, AnomalystError), found.output
    return str(found.exception)


def inspected(out: Path, *words: object) -> dict:
    """The record of the one picture inspected."""
    found = CliRunner().invoke(app, ["inspect", *map(str, words), "--out", str(out)])
    assert found.exit_code == 0, found.output
    (record,) = (p for p in out.glob("*.json"))
    return json.loads(record.read_text())


def test_states_are_read_as_lines_with_the_name_in_them(tmp_path):
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("# what is fine\nclean\n\n{} with a smooth rim\n")
    bad.write_text("scratched\n{} with a dent")
    states = States.read(good, bad)
    normal, abnormal = states.sentences("bottle cap")
    assert normal[0] == "a photo of a clean bottle cap."
    assert any("a bottle cap with a smooth rim" in s for s in normal)
    assert len(abnormal) == 8 and sum("dent" in s for s in abnormal) == 4
    assert words_of("paper_brown-2") == "paper brown 2"


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("\n# nothing\n", "scratched", "holds no state"),
        ("clean\nWorn", "worn\ndented", "'worn' is in"),
        (None, "scratched", "cannot be read"),
    ],
)
def test_states_that_are_none_are_refused(good, bad, told, tmp_path):
    paths = tmp_path / "good.txt", tmp_path / "bad.txt"
    for path, text in zip(paths, (good, bad), strict=True):
        if text is not None:
            path.write_text(text)
    with pytest.raises(AnomalystError, match=told):
        States.read(*paths)


def test_a_tower_without_words_is_refused(tmp_path):
    transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**VISION)).save_pretrained(tmp_path)
    with pytest.raises(AnomalystError, match="text tower"):
        TextTower(str(tmp_path))
    with pytest.raises(AnomalystError, match="no such folder"):
        TextTower(str(tmp_path / "nowhere"))


def test_an_encoder_of_sentences_is_the_mean_of_its_tokens(clip, tmp_path):
    config = transformers.BertConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    model = transformers.BertModel(config).eval()
    model.save_pretrained(tmp_path)
    for file in clip.glob("*token*"):
        shutil.copy(file, tmp_path)
    tower = TextTower(str(tmp_path))
    short, long = "a photo of a cookie.", "a picture of a cookie without any flaw."
    alone = [tower.embed([text])[0] for text in (short, long)]
    assert torch.allclose(tower.embed([short, long]), torch.stack(alone), atol=1e-6)  # no padding
    ids = tower.tokenizer(short, return_tensors="pt")
    with torch.no_grad():
        mean = model(**ids).last_hidden_state[0].mean(0)
    assert torch.allclose(alone[0], F.normalize(mean, dim=0), atol=1e-6)


def test_a_clip_folder_judges_by_its_own_projection_at_four_depths(clip):
    """Against transformers' own forward: the mean over levels of softmax(scale x patch . text)."""
    words = text_aligned(str(clip), "cookie", States(), "embedded")
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    pixels = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tower = image_tower(f"hf:{clip}")
    assert len(tower.levels) == 4 and tower.side_px == 32
    states = TextTower(str(clip)).states("cookie")
    with torch.no_grad():
        hidden = model.vision_model(
            (pixels - tower.mean) / tower.std, output_hidden_states=True
        ).hidden_states
        maps = []
        for block in hidden[1:]:  # four blocks, each a quarter
            seen = model.visual_projection(model.vision_model.post_layernorm(block[:, 1:]))
            cosine = F.normalize(seen, dim=-1) @ states.T * model.logit_scale.exp()  # (1, 16, 2)
            maps.append(cosine.softmax(-1)[..., 1].reshape(1, 1, 4, 4))
        found = words(pixels, tower(pixels), (4, 4)).sigmoid()
    assert torch.allclose(found, torch.stack(maps).mean(0), atol=1e-4)


def test_words_have_their_share_of_the_map_beside_a_bank(clip, cookie):
    """On CLIP itself: the bank's map and the words' by shares, and the same of the scores."""
    encoder = f"hf:{clip}"
    plain = Inspector.load(encoder)
    words = Words(tower=str(clip), name="cookie")
    fused = Inspector.load(encoder, InspectorConfig(words=words))
    good, query = (sorted((cookie / "train" / "good").glob("*"))[0],
                   sorted((cookie / "test" / "cracked").glob("*"))[0])  # fmt: skip
    one, both = (i.inspect(query, i.teach("cookie", [good])) for i in (plain, fused))
    alone = fused.inspect(query, fused.untaught())
    assert both.map.min() >= 0 and both.map.max() <= 1
    assert both.map.mean() == pytest.approx((one.map.mean() + alone.map.mean()) / 2, abs=0.02)
    said = alone.map.max()  # smoothed, so a little below the words' own
    assert both.score > 0.5 * said and both.score != pytest.approx(one.score)
    assert "words" in " ".join(both.notes) and "words" not in " ".join(one.notes)
    assert alone.verdict == "unsure"  # nothing calibrates it
    with pytest.raises(AnomalystError, match="--text-tower"):
        plain.untaught()


def test_the_front_door_says_who_judged(run, cookie, tmp_path):
    picture = sorted((cookie / "test" / "cracked").glob("*"))[0]
    good = sorted((cookie / "train" / "good").glob("*"))[0]
    alone = inspected(tmp_path / "a", picture, "--zero-shot")
    assert any("compared with itself" in note for note in alone["notes"])
    both = inspected(
        tmp_path / "b", picture, "--zero-shot", "--text-tower", run, "--name", "cookie"
    )
    assert any("itself, and words of" in note for note in both["notes"])
    assert both["score"] != alone["score"]
    beside = inspected(tmp_path / "c", picture, "--reference", good, "--text-tower", run)
    assert any("Beside the good pictures, words of" in note for note in beside["notes"])


def test_what_cannot_judge_is_refused(run, clip, cookie, tmp_path):
    picture = sorted((cookie / "test" / "cracked").glob("*"))[0]
    zero = ("inspect", picture, "--zero-shot")
    good, bad = tmp_path / "good.txt", tmp_path / "bad.txt"
    good.write_text("clean"), bad.write_text("worn")
    assert "give --text-tower" in said(*zero, "--states", good, bad)
    assert "give --text-tower" in said(*zero, "--name", "cookie")
    assert "--reference or --zero-shot" in said("inspect", picture, "--product", "x",
                                                "--text-tower", clip)  # fmt: skip
    tensors, note = read_weights(run / WEIGHTS, "text_aligned")
    lost, old = tmp_path / "lost", tmp_path / "old"
    named = {f"text_aligned.{key}": value for key, value in tensors.items()}
    write_weights(lost / WEIGHTS, named, note | {"text_tower": str(tmp_path / "gone")})
    write_weights(old / WEIGHTS, named, {})
    assert "put it back" in said(*zero, "--text-tower", lost)
    assert "train the recipe again" in said(*zero, "--text-tower", old)
    config = transformers.BertConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    other = tmp_path / "bert"
    transformers.BertModel(config).save_pretrained(other)
    for file in clip.glob("*token*"):
        shutil.copy(file, other)
    assert "no layers were trained for this tower" in said(*zero, "--text-tower", other)
    assert "has no words" in said(*zero, "--text-tower", run, "--engine", "onnx")


def test_a_detector_without_words_is_as_before(inspector):
    """No digit of a fingerprint changes, so products that were taught stay good."""
    assert inspector.detector.text is None
    plain = Detector(inspector.detector.encoder, inspector.detector.decoder)
    assert plain.encode([torch.zeros(32, 32, 3, dtype=torch.uint8).numpy()]).text is None
