"""Run the notebooks as they are, at their own sizes, and keep what their cells show in the files.

Usage: python scripts/execute_notebooks.py [NOTEBOOK ...]     (`make notebooks`: all of them)

What they make goes to out/notebooks; delete it to begin anew. Needs the extras `notebooks`, `train`
and `evaluate`. What differs from run to run though nothing has changed (times, counts of kernel
starts) is left out, so that a difference in the file is one in what is shown.
"""

import base64
import io
import os
import sys
from pathlib import Path

import nbformat
import papermill
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
MOST_PX, QUALITY = 800, 85  # of a picture
MOST_BYTES = 300_000  # of a file, so that pages of code hosts show it


def main(files: list[Path]) -> None:
    """Each in turn; the file is left as it was where a cell fails, or shows too much."""
    os.environ["PYTHONWARNINGS"] = "ignore"  # they name files of this machine
    os.chdir(ROOT)
    for file in files or sorted((ROOT / "notebooks").glob("*.ipynb")):
        ran = papermill.execute_notebook(str(file), None, kernel_name="python3")
        text = nbformat.writes(cleaned(ran)) + "\n"
        for place in (str(ROOT), sys.prefix, str(Path.home())):
            if place in text:
                sys.exit(f"{file.name}: its outputs name {place}; nobody else has that.")
        if "Error:" in text:
            sys.exit(f"{file.name}: a command in it failed; nothing was kept.")
        if len(text.encode()) > MOST_BYTES:
            sys.exit(f"{file.name}: {len(text.encode()):,} bytes, at most {MOST_BYTES:,} are kept.")
        file.write_text(text, encoding="utf-8")
        print(f"{file.name}: {len(text.encode()):,} bytes")


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without the marks of one run, and with the parts of a stream put together."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        for mark in ("papermill", "execution"):
            cell.metadata.pop(mark, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]  # papermill adds an empty list
        outputs: list[nbformat.NotebookNode] = []
        for one in cell.get("outputs", ()):
            if "image/png" in one.get("data", ()):
                one.data["image/jpeg"] = smaller(one.data.pop("image/png"))
                if "image/png" in one.metadata:  # how wide it is shown
                    one.metadata["image/jpeg"] = one.metadata.pop("image/png")
            if outputs and one.output_type == "stream" == outputs[-1].output_type:
                outputs[-1].text += one.text
            else:
                outputs.append(one)
        if "outputs" in cell:
            cell.outputs = outputs
    return notebook


def smaller(picture: str) -> str:
    """A PNG in base64 as a JPEG of at most 800 pixels across; a palette would lose faint heat."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as found:
        white = Image.new("RGBA", found.size, "white")
        shown = Image.alpha_composite(white, found.convert("RGBA")).convert("RGB")
    shown.thumbnail((MOST_PX, 10 * MOST_PX))
    held = io.BytesIO()
    shown.save(held, "JPEG", quality=QUALITY, optimize=True)
    return base64.b64encode(held.getvalue()).decode()


if __name__ == "__main__":
    main([Path(name).resolve() for name in sys.argv[1:]])
