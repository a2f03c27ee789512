"""Every command as a user types it, on real pictures."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from anomalyst.cli import batch as batch_command
from anomalyst.cli.main import app, main
from anomalyst.inspector import Inspector


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every command with its words and its help."""
    if not hasattr(command, "commands"):
        yield words, " ".join((command.help or "").split())
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*words, name))


def run(*words: object):
    return CliRunner().invoke(app, [str(w) for w in words])


@pytest.fixture
def shipped(inspector, monkeypatch):
    """Commands in this process share one inspector, loaded once."""
    monkeypatch.setattr(Inspector, "load", classmethod(lambda *_: inspector))


def test_every_command_has_help_with_an_example():
    without = [
        " ".join(words)
        for words, told in leaves(get_command(app))
        if f"Example: anomalyst {' '.join(words)}" not in told
    ]
    assert not without
    assert run("inspect", "--help").exit_code == 0


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from anomalyst.cli import main; "
        "print([m for m in ('torch', 'numpy', 'cv2', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.usefixtures("shipped")
def test_the_demo_writes_one_report_of_all_bundled_pictures(tmp_path):
    result = run("demo", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "report.html").read_text()
    assert page.count("<tr>") == 1 + 18 and "circuit-module" in page
    assert str(tmp_path / "report.html") in result.output
    # A demo whose verdicts are wrong sells nothing: every name says what is true.
    found = [json.loads(record.read_text()) for record in tmp_path.glob("*.json")]
    assert len(found) == 18
    for one in found:
        true = "normal" if Path(one["image"]).name.startswith("good-") else "anomalous"
        assert one["verdict"] == true, one["image"]


@pytest.mark.usefixtures("shipped")
def test_teach_then_inspect_by_name(cookie, tmp_path):
    good = sorted((cookie / "train" / "good").glob("*"))[:2]
    taught = run("teach", "cookie", *good, "--products", tmp_path / "p")
    assert taught.exit_code == 0 and "2 good pictures" in taught.output
    picture = sorted((cookie / "test" / "cracked").glob("*"))[0]
    out = tmp_path / "out"
    found = run(
        "inspect", picture, "--product", "cookie", "--products", tmp_path / "p", "--out", out
    )
    assert found.exit_code == 0, found.output
    assert {p.name for p in out.iterdir()} == {
        f"{picture.stem}.png",
        f"{picture.stem}.json",
        "report.html",
        "inspections.csv",
    }
    record = json.loads((out / f"{picture.stem}.json").read_text())
    assert {"score", "p_value", "verdict", "regions", "overlay"} <= record.keys()


@pytest.mark.usefixtures("shipped")
def test_json_is_one_object_a_line_and_nothing_else(cookie, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = sorted((cookie / "train" / "good").glob("*"))[0]
    pictures = sorted((cookie / "test" / "cracked").glob("*"))[:2]
    result = run("inspect", *pictures, "--reference", good, "--json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["image"] for line in lines] == [str(p) for p in pictures]
    assert not list(tmp_path.iterdir()), "with --json nothing is written unless --out is given"


@pytest.mark.usefixtures("shipped")
def test_a_bad_picture_is_skipped_listed_and_ends_with_code_2(cookie, tmp_path):
    good = sorted((cookie / "train" / "good").glob("*"))[0]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_text("no picture")
    (tmp_path / "in" / "b.jpg").write_bytes(good.read_bytes())
    result = run("inspect", tmp_path / "in", "--reference", good, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "Skipped" in result.output
    page = (tmp_path / "out" / "report.html").read_text()
    assert "a.png: is not a picture" in page and "b.jpg" in page


@pytest.mark.usefixtures("shipped")
def test_ctrl_c_keeps_what_is_done(cookie, tmp_path, monkeypatch):
    good = sorted((cookie / "train" / "good").glob("*"))
    real, seen = batch_command._take, []

    def interrupted(*words: object) -> None:
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(words)
        real(*words)

    monkeypatch.setattr(batch_command, "_take", interrupted)
    result = run("inspect", *good[1:6], "--reference", good[0], "--out", tmp_path / "out")
    assert result.exit_code == 130 and "2 of 5 pictures" in result.output
    assert (tmp_path / "out" / "report.html").read_text().count("<tr>") == 3


@pytest.mark.usefixtures("shipped")
def test_fail_on_anomaly_ends_with_code_1(tmp_path):
    from PIL import Image

    sheet = np.full((128, 128, 3), 160, np.uint8)
    Image.fromarray(sheet).save(tmp_path / "good.png")
    sheet[40:70, 50:90] = (20, 10, 10)
    Image.fromarray(sheet).save(tmp_path / "bad.png")
    words = ("inspect", tmp_path / "bad.png", "--reference", tmp_path / "good.png", "--json")
    assert run(*words).exit_code == 0
    assert run(*words, "--fail-on-anomaly").exit_code == 1


@pytest.mark.usefixtures("shipped")
def test_pictures_are_inspected_without_any_good_one_only_when_asked(cookie, tmp_path, refused):
    picture = sorted((cookie / "test" / "cracked").glob("*.jpg"))[0]
    result = run("inspect", picture, "--zero-shot", "--out", tmp_path)
    assert result.exit_code == 0 and "No good picture is known" in result.output
    assert (tmp_path / "report.html").is_file()
    asked = ("inspect", picture, "--zero-shot", "--reference", picture)
    assert "exclude each other" in refused(*asked)
    assert "or --zero-shot" in refused("inspect", picture)


def test_bench_reports_every_stage_with_as_many_references_as_asked():
    result = run("bench", "inspect", "--pictures", 3, "--references", 2, "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert set(figures["median_ms"]) == {"open", "encode", "decode", "score", "total"}
    assert figures["teach_ms"] > 0 and figures["adapt_ms"] > 0
    assert figures["gflop_per_picture"] > 0.5 and figures["peak_gflops"]["float32"] > 1
    assert figures["setting"]["references"] == 2


def test_a_world_product_is_drawn_as_a_data_set_that_we_can_read(tmp_path):
    from anomalyst.datasets import read_dataset

    words = ("data", "world", tmp_path / "pill", "--family", "pill", "--size", 64)
    assert run(*words, "--good", 2, "--bad", 3).exit_code == 0
    samples = read_dataset(tmp_path / "pill")
    assert sum(s.label == "anomalous" for s in samples) == 3
    assert all(s.mask is not None for s in samples if s.label == "anomalous")


def test_wrong_use_is_one_sentence(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, sentence in (
        (("inspect", "a.png"), "nothing to compare with"),
        (("inspect", "a.png", "--product", "x", "--reference", "b.png"), "exclude each other"),
        (("inspect", "a.png", "--reference", "b.png", "--false-alarm-rate", "2"), "false-alarm"),
        (("teach", "../x", "a.png"), "product name"),
        (("teach", "x", tmp_path / "empty"), "holds no picture"),
        (("teach", "x", "a.png", "--pose", "upside"), "none of auto, fixed, free"),
        (("train", tmp_path / "no.yaml"), "no such recipe"),
        (("data", "world", tmp_path / "w", "--family", "sofa"), "no family 'sofa'"),
        (("bench", "serve", "--of", "file"), "--of is for runs with --outage"),
        (("bench", "watch", "--outage", "5", "--no-pictures"), "--pictures is for runs without"),
    ):
        said = refused(*words)
        assert sentence in said and "Traceback" not in said


def test_an_internal_error_is_one_sentence_with_the_place_of_its_traceback(capsys, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("anomalyst.cli.senses.pictures_in", broken)
    monkeypatch.setattr(sys, "argv", ["anomalyst", "teach", "x", "a.png"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 3
    assert "Internal error: RuntimeError: boom" in capsys.readouterr().err


def test_being_asked_to_end_is_answered_as_ctrl_c(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)

    def asked(*_: object, **__: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("anomalyst.cli.senses.pictures_in", asked)
    monkeypatch.setattr(sys, "argv", ["anomalyst", "teach", "x", "a.png"])
    try:
        with pytest.raises(SystemExit) as stop:
            main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert stop.value.code == 130


def test_an_unknown_command_names_the_nearest():
    result = run("inspct")
    assert result.exit_code == 2 and "'inspect'" in result.output


def test_teaching_never_deletes_a_folder_that_is_no_product(refused, tmp_path):
    (tmp_path / "bolt").mkdir()
    (tmp_path / "bolt" / "a.png").write_text("somebody's picture")
    words = ("teach", "bolt", tmp_path / "bolt", "--products", tmp_path, "--replace")
    said = refused(*words)
    assert "is no product" in said and (tmp_path / "bolt" / "a.png").exists()


def test_keys_backup_and_preferences_from_the_command_line(tmp_path, refused):
    home = ("--home", tmp_path / "home")
    made = run("store", "key", "line 3", "--role", "engineer", *home)
    assert made.exit_code == 0 and made.output.startswith("any_")
    assert "engineer" in run("store", "keys", *home).output
    assert run("store", "revoke", "line 3", *home).output.strip() == "line 3: revoked."
    assert "revoked" in run("store", "keys", *home).output
    assert "counts as this one's" in run("store", "key", "line 3", *home).stderr
    assert "counts as" not in run("store", "key", "line", *home).stderr
    assert run("store", "preferences", tmp_path / "p.jsonl", *home).output.endswith("0 pairs.\n")
    products = ("--products", tmp_path / "products")
    assert run("store", "backup", tmp_path / "b.tar.gz", *home, *products).exit_code == 0
    other = ("--home", tmp_path / "new", "--products", tmp_path / "newer")
    assert "0 inspections are back" in run("store", "restore", tmp_path / "b.tar.gz", *other).output
    assert run("store", "prune", "--days", "30", *home).output.startswith("0 inspections")
    said = refused("store", "key", "x", "--role", "boss", *home)
    assert "none of operator, engineer, admin" in said
    said = refused("serve", "--host", "0.0.0.0", *home)
    assert "needs --keys" in said
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused("serve", "--port", port, *home)
    assert "another server may run there" in said


@pytest.mark.usefixtures("shipped")
def test_calling_false_alarms_fine_is_measured_on_real_parts(cookie):
    result = run("bench", "corrections", cookie, "--good", 3, "--count", 1, "--most", 4)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[2].startswith("| cookie | ")


def test_a_module_of_an_extra_that_is_missing_is_told_with_the_extra(capsys, monkeypatch):
    def bare(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'sqlalchemy'", name="sqlalchemy")

    monkeypatch.setattr("anomalyst.cli.senses.pictures_in", bare)
    monkeypatch.setattr(sys, "argv", ["anomalyst", "teach", "x", "a.png"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert (
        "needs sqlalchemy; install it with `pip install 'anomalyst[serve]'`"
        in capsys.readouterr().err
    )
