"""`anomalyst demo`: the main job on the bundled pictures, offline."""

from pathlib import Path
from typing import Annotated

from typer import Option

from anomalyst.cli.batch import exit_if_incomplete, run, show
from anomalyst.cli.screen import progress

PICTURES = Path(__file__).parent.parent / "demo"


def demo(
    out: Annotated[Path, Option(metavar="DIR", help="Where the reports go.")] = Path("out/demo"),
) -> None:
    """Teach three products from twenty bundled good pictures each, inspect others, write a report.

    The pictures were drawn by our own program (synthetic/procedural); no network is needed.

    Example: anomalyst demo --out out/demo
    """
    from anomalyst.inspector import Inspector
    from anomalyst.io.pictures import list_pictures

    inspector = Inspector.load()
    good = {
        folder: list_pictures(folder / "good")
        for folder in sorted(PICTURES.iterdir())
        if (folder / "good").is_dir()
    }
    batches = []
    with progress("Looking at good pictures", sum(map(len, good.values()))) as bar:
        for folder, pictures in good.items():
            bar.describe(f"Learning {folder.name}")
            product = inspector.teach(folder.name, pictures, on_picture=bar.advance)
            batches.append((product, list_pictures(folder / "test")))
    outcome = run(inspector, batches, out)
    show(outcome, out)
    exit_if_incomplete(outcome)
