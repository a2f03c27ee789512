"""The docs say what the program does: commands generated from it, examples that run."""

import doctest
import os
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
