"""Questions on the command line, and MMAD's: through the front door, on pictures that ship."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from anomalyst.cli.main import app
from anomalyst.errors import AnomalystError
from anomalyst.evaluation.mmad import Choice, Entry, Question, mmad_table, read_mmad, run_mmad
from conftest import DEMO

GOOD = DEMO / "bottle" / "good" / "000.jpg"
STAIN = DEMO / "bottle" / "test" / "discolouration-004.jpg"
SOUND = DEMO / "bottle" / "test" / "good-000.jpg"


def run(*words: object, text: str | None = None):
    return CliRunner().invoke(app, [str(w) for w in words], input=text, catch_exceptions=False)


def test_inspect_answers_a_question_about_each_picture():
    asked = ("--ask", "Is there a defect, and where?", "--json")
    done = run("inspect", STAIN, SOUND, "--reference", GOOD, *asked)
    assert done.exit_code == 0, done.output
    for line in done.stdout.splitlines():
        found = json.loads(line)
        words = found["words"]
        assert words["verdict"] == found["verdict"]
        assert words["text"].startswith("No" if found["verdict"] == "normal" else "Yes")
        for region in words["regions"]:
            box = ", ".join(map(str, region["box_xyxy"]))
            assert f"at the {region['place']} (box {box})" in words["text"]
            assert region in found["regions"] and region["kind"]


def test_the_report_shows_the_words(tmp_path: Path):
    done = run("inspect", STAIN, "--reference", GOOD, "--ask", "How many?", "--out", tmp_path / "o")
    assert done.exit_code == 0
    report = (tmp_path / "o" / "report.html").read_text()
    record = json.loads(next((tmp_path / "o").glob("**/*.json")).read_text())
    assert record["words"]["text"] in report


def test_chat_talks_until_an_empty_line(tmp_path: Path):
    products = ("--products", tmp_path)
    taught = run("teach", "bottle", GOOD, "--describe", "the cap is red", *products)
    assert taught.exit_code == 0
    talk = "Is there a defect?\nwhat did i tell you about the product?\n\n"
    done = run("chat", STAIN, "--product", "bottle", *products, text=talk)
    assert done.exit_code == 0, done.output
    assert '"the cap is red"' in done.stdout
    once = run("chat", STAIN, "--product", "bottle", *products, "--ask", "Where?", "--ask", "Why?")
    assert once.stdout.count("> ") == 2 and once.exit_code == 0


def test_chat_goes_on_after_a_question_that_is_refused():
    done = run("chat", SOUND, "--reference", GOOD, text="why " * 2500 + "\nIs there a defect?\n")
    assert done.exit_code == 0
    assert "at most 500 are read" in done.output


def test_a_question_is_checked_before_anything_is_taught():
    with pytest.raises(AnomalystError, match="the question is empty"):
        run("inspect", STAIN, "--reference", GOOD, "--ask", " ")


@pytest.fixture
def benchmark(tmp_path: Path) -> Path:
    """Pictures in MMAD's form: letters with gaps, a normal one, a spoiled one and a lost one."""
    entries = {}
    for name, source, answer in (("good/0", SOUND, "B"), ("stain/1", STAIN, "A")):
        path = tmp_path / "DS-MVTec/bottle/image" / f"{name}.jpg"
        path.parent.mkdir(parents=True)
        shutil.copy(source, path)
        entries[path.relative_to(tmp_path).as_posix()] = {
            "image_path": f"image/{name}.jpg",
            "mask_path": "",
            "similar_templates": [],
            "random_templates": ["MVTec-AD/bottle/train/good/001.jpg"],
            "conversation": [
                {"Question": "Is there any defect in the object?", "Answer": answer,
                 "Options": {"A": "Yes.", "B": "No."}, "type": "Anomaly Detection",
                 "annotation": True},
                {"Question": "What is the colour?", "Answer": "D",
                 "Options": {"B": "It is red.", "D": "It is green."}, "type": "Object Details",
                 "annotation": True},
            ],
        }  # fmt: skip
    entries["DS-MVTec/bottle/image/hole/lost.jpg"] = entries[list(entries)[1]]
    template = tmp_path / "MVTec-AD/bottle/train/good/001.jpg"
    template.parent.mkdir(parents=True)
    shutil.copy(GOOD, template)
    (tmp_path / "mmad.json").write_text(json.dumps(entries))
    return tmp_path / "mmad.json"


def test_mmad_is_answered_by_likelihood_within_the_verdict(benchmark: Path, inspector):
    entries = read_mmad(benchmark, benchmark.parent)
    assert [q.right for q in entries[1].questions] == [0, 1]
    assert entries[0].normal and not entries[1].normal and entries[0].dataset == "DS-MVTec"
    found = list(run_mmad(inspector, entries))
    choices = [c for c in found if isinstance(c, Choice)]
    assert len(choices) == 4 and len(found) == 5  # the lost picture is one error
    product = inspector.teach("bottle", [entries[1].template])
    verdict = inspector.inspect(entries[1].image, product).verdict
    chosen = next(c for c in choices if c.entry is entries[1])
    assert chosen.question.options[chosen.chosen] == ("No." if verdict == "normal" else "Yes.")


def test_the_mmad_command_writes_answers_and_names_what_it_skipped(benchmark: Path, tmp_path: Path):
    done = run("mmad", benchmark, "--out", tmp_path / "out")
    assert done.exit_code == 2 and "lost.jpg" in done.output
    answers = (tmp_path / "out" / "answers.jsonl").read_text().splitlines()
    assert len(answers) == 4 and json.loads(answers[0])["type"] == "Anomaly Detection"
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert "Object Analysis" in table["DS-MVTec"]


def test_the_mmad_table_by_hand():
    def choices(normal: bool, kind: str, rights: list[bool]) -> list[Choice]:
        question = Question(kind, "?", ("a", "b"), 0)
        entry = Entry(Path("x"), None, "VisA", normal, (question,))
        return [Choice(entry, question, 0 if right else 1) for right in rights]

    table = mmad_table(
        choices(True, "Anomaly Detection", [True, False])
        + choices(False, "Anomaly Detection", [True, True, True, True])
        + choices(False, "Defect Analysis", [False])
    )
    assert table["VisA"]["Anomaly Detection"] == pytest.approx((0.5 + 1.0) / 2)
    assert table["VisA"]["average"] == pytest.approx((0.75 + 0.0) / 2)


def test_what_is_not_mmads_is_refused(tmp_path: Path):
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(AnomalystError, match="is not MMAD's JSON"):
        read_mmad(tmp_path / "x.json", tmp_path)
    with pytest.raises(AnomalystError, match="there is no such file"):
        read_mmad(tmp_path / "y.json", tmp_path)
    (tmp_path / "z.json").write_bytes(b"\xff\xd8" * 4000)
    with pytest.raises(AnomalystError, match="is not MMAD's JSON") as refused:
        read_mmad(tmp_path / "z.json", tmp_path)
    assert len(str(refused.value)) < 300  # a sentence, not the file
