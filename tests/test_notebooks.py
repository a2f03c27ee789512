"""The notebooks run from the first cell to the last, at tiny sizes, in a folder of their own."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
TRAINED = {"count": 60, "size": 32, "params": "12k", "epochs": 1}
TINY = {
    "1-first-inspection": {"size": 160, "good": 20, "bad": 4},
    "2-train-a-vit": TRAINED,
    "3-distil-it": TRAINED | {"teacher_network": "lenet"},
    "4-lensing": TRAINED | {"networks": ["lenet", "vit"]},
    "5-few-shot-study": {
        "families": ["biscuit"], "size": 128, "good": 3, "bad": 3, "shots": "1", "seeds": 1,
    },
    "6-attention": {},
}  # fmt: skip


def test_every_notebook_is_run_and_begins_alike():
    assert {file.stem for file in NOTEBOOKS.glob("*.ipynb")} == set(TINY)
    for file in NOTEBOOKS.glob("*.ipynb"):
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        assert "In Colab" in cells[1]["source"][0] and "parameters" in cells[2]["metadata"]["tags"]


ALL = [pytest.param(name, marks=[pytest.mark.slow] if i else []) for i, name in enumerate(TINY)]


@pytest.mark.parametrize("name", ALL)
def test_a_notebook_runs(name, tmp_path, monkeypatch):
    papermill = pytest.importorskip("papermill")
    (tmp_path / "recipes").symlink_to(NOTEBOOKS.parent / "recipes")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    ran = papermill.execute_notebook(
        str(NOTEBOOKS / f"{name}.ipynb"),
        str(tmp_path / "ran.ipynb"),
        parameters=TINY[name],
        kernel_name="python3",
        cwd=tmp_path,
        progress_bar=False,
    )
    for cell in ran.cells:
        for output in cell.get("outputs", ()):
            # A command that fails in a cell does not stop the notebook.
            text = str(output.get("text", ""))
            assert "Error:" not in text and "Traceback" not in text, text
