"""Which model a `look` command means: a run of ours, or what explaining/opening.py opens."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    import numpy as np

    from anomalyst.explaining.opening import PictureModel

Model = Annotated[
    str,
    Argument(
        metavar="RUN_OR_MODEL",
        help="A run's folder, that of a Hugging Face model, embedded, segment, or run:DIR.",
    ),
]
Out = Annotated[
    Path | None,
    Option(metavar="FILE.html", help="The page.", show_default="out/look-WHAT.html"),
]
Layer = Annotated[str, Option(metavar="NAME", help="Which layer; `look layers` names them.")]


def opened(source: str) -> "PictureModel":
    """The network that reads pictures. Raises AnomalystError if it cannot be opened."""
    from anomalyst.explaining.opening import open_picture_model

    run = Path(source.removeprefix("run:"))
    if (run / "model" / "config.json").is_file():
        return _supervised(source, run)
    if (run / "recipe.json").is_file() and not source.startswith("run:"):
        source = f"run:{run}"  # of a detector
    return open_picture_model(source)


def _supervised(source: str, run: Path) -> "PictureModel":
    """The classifier of a run of recipes/supervised."""
    from anomalyst.explaining.opening import PictureModel
    from anomalyst.training.networks.classifier import Classifier

    found = Classifier.load(run)
    inputs = found.card.inputs
    return PictureModel(
        name=source,
        network=found.network.requires_grad_(False),
        pixels=lambda picture: inputs.normalised(inputs.read(picture)[None]),
        classes=found.classes,
        logits=found.network,
    )


def picture_at(path: Path) -> "np.ndarray":
    """A picture, uint8 (H, W, 3). Raises PictureError."""
    from anomalyst.io.pictures import open_picture

    return open_picture(path)


def page_path(out: Path | None, what: str) -> Path:
    """Where the page goes. Raises AnomalystError for a name that is no page's."""
    path = out or Path("out") / f"look-{what}.html"
    if path.suffix.lower() != ".html":
        raise AnomalystError(f"--out {path}: is no .html; give a name that ends so.")
    return path


def chosen_layer(model: "PictureModel", layer: str, default: str) -> str:
    """The layer asked for. Raises AnomalystError with the nearest names for one not there."""
    import difflib

    names = [name for name, _ in model.network.named_modules() if name]
    if not layer or layer in names:
        return layer or default
    near = difflib.get_close_matches(layer, names, n=3, cutoff=0.0)
    raise AnomalystError(
        f"--layer {layer}: {model.name} has no such layer; perhaps {', '.join(near)}. "
        "`anomalyst look layers` names the main ones."
    )
