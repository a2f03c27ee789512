"""A folder takes another's place, and there is a whole one at every moment."""

import shutil
import sys
from pathlib import Path

import pytest

from anomalyst.io import files
from anomalyst.io.files import folder_written_whole, replace_folder
from anomalyst.product_index import product_names
from killing import killed_at_each_step


def filled(folder: Path, word: str) -> Path:
    """A folder that is whole when its files say the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("product.json", "bank", "more"):
        (folder / name).write_text(word)
    return folder


def held(folder: Path) -> str:
    words = {path.read_text() for path in folder.iterdir()}
    assert len(words) == 1 and len(list(folder.iterdir())) == 3
    return words.pop()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need two steps")
def test_a_kill_leaves_the_old_folder_or_the_new_one(tmp_path):
    bolt, steps = tmp_path / "bolt", 0

    def renew() -> None:
        with folder_written_whole(bolt) as part:
            filled(part, "new")

    filled(bolt, "old")
    for step in killed_at_each_step(renew):
        steps += 1
        assert held(bolt) in ("old", "new"), f"step {step}"
        assert product_names(tmp_path) == ["bolt"], f"step {step}: what is half is no product"
        shutil.rmtree(bolt)
        filled(bolt, "old")
    assert steps > 8 and held(bolt) == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["bolt"]  # the last run took it all away


def test_a_system_without_exchange_does_it_in_two_steps(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "exchanged", lambda *_: False)
    replace_folder(filled(tmp_path / "part", "new"), filled(tmp_path / "bolt", "old"))
    assert held(tmp_path / "bolt") == "new"
    replace_folder(filled(tmp_path / "part", "first"), tmp_path / "nut")
    assert held(tmp_path / "nut") == "first"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bolt", "nut"]
