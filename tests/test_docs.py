"""The docs say what the program does: commands generated from it, examples that run."""

import doctest
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_the_page_of_commands_is_what_the_command_line_says(tmp_path):
    page = tmp_path / "commands.md"
    command = "anomalyst.cli.main utils docs --name anomalyst --title Commands --output"
    subprocess.run(
        [sys.executable, "-m", "typer", *command.split(), str(page)],
        check=True,
        capture_output=True,
        env=os.environ | {"TERMINAL_WIDTH": "80", "COLUMNS": "80"},
    )
    assert page.read_text() == (ROOT / "docs" / "commands.md").read_text(), "run `make docs`"


@pytest.mark.parametrize("name", ["inspector", "product", "dialogue"])
def test_the_examples_of_the_python_pages_run(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    found = doctest.testfile(str(ROOT / "docs" / "api" / f"{name}.md"), module_relative=False)
    assert found.attempted > 5 and not found.failed


def test_every_command_of_the_systems_page_exists():
    from typer.main import get_command

    from anomalyst.cli.main import app

    text = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
    said = [code for code in re.findall(r"`([^`]+)`", text) if code.startswith("anomalyst ")]
    assert len(said) > 25 and all(f"| S{n} |" in text for n in range(1, 29))
    for code in said:
        command, words = get_command(app), shlex.split(code)[1:]
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, code
            command = command.commands[words.pop(0)]
        known = {option for one in command.params for option in one.opts}
        for word in words:
            assert not word.startswith("--") or word in known, f"{code}: {word}"
            assert not word.startswith("recipes/") or (ROOT / word).is_file(), f"{code}: {word}"
