"""The white paper of the study, made of its results alone: HTML, and PDF where WeasyPrint is."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anomalyst.inspection.parts import listed
from anomalyst.io.files import write_bytes, write_text
from anomalyst.io.templates import template
from anomalyst.training.studies.networks import findings, plots, tables
from anomalyst.training.studies.networks.plan import STUDENT
from anomalyst.training.studies.networks.results import Results

NAME = "vit-vs-cnn"
SHOWN = (
    "steps", "batch", "optimizer", "learning_rate", "warmup_steps", "schedule", "weight_decay",
    "size", "params", "normalise",
)  # fmt: skip


def write_paper(out: Path, results: Results, pictures: bytes | None = None) -> list[Path]:
    """OUT/vit-vs-cnn.html and, if WeasyPrint is installed, vit-vs-cnn.pdf; the files written.

    `pictures`: a PNG that shows some of the data.
    """
    html = _html(results, pictures)
    written = [out / f"{NAME}.html"]
    write_text(written[0], html)
    pdf = _pdf(html)
    if pdf is not None:
        written.append(out / f"{NAME}.pdf")
        write_bytes(written[1], pdf)
    return written


def _pdf(html: str) -> bytes | None:
    """None where WeasyPrint, or the Pango that it draws with, is not installed."""
    try:
        from weasyprint import HTML
    except (ImportError, OSError):
        return None
    drawn: bytes = HTML(string=html).write_pdf()
    return drawn


def _html(results: Results, pictures: bytes | None) -> str:
    vit = results.best("scratch", "distilled", networks=findings.TRANSFORMERS)
    scratch = results.arms("scratch")
    compared = list(dict.fromkeys([*scratch, vit, results.best()]))
    drawn = {
        "pictures": pictures or b"",
        "vit_curves": plots.curves(results, [vit]),
        "vit_confusion": plots.confusion(results.of(vit)[0].figures),
        "roc": plots.roc(results, compared),
        "curves": plots.curves(results, compared),
        "areas": plots.areas(results, results.arms("scratch", "distilled")),
        "reliability": plots.reliability(results, compared),
        "cost": plots.cost(results),
    }
    return template("anomalyst.training.studies.networks", "paper.html.j2").render(
        results=results,
        abstract=findings.abstract(results),
        conclusions=findings.conclusions(results),
        vit=vit,
        student=STUDENT,
        vit_runs=results.of(vit),
        vit_recipe=_settings(results, vit),
        named=listed(scratch),
        tables=_tables(results, compared),
        picture={name: base64.b64encode(png).decode() for name, png in drawn.items()},
    )


def _tables(results: Results, compared: Sequence[str]) -> dict[str, tables.Table]:
    groups = ("scratch", "distilled", "normalised", "ablation")
    return {
        "data": tables.data(results),
        "compared": tables.quality(results, compared),
        "differences": tables.differences(results, compared),
        "costs": tables.costs(results),
        "published": tables.published(results),
        **{group: tables.quality(results, results.arms(group)) for group in groups},
    }


def _settings(results: Results, arm: str) -> list[tuple[str, str]]:
    """The best ViT's recipe, key by key."""
    recipe = results.recipes[arm]
    flat: dict[str, Any] = {key: recipe[key] for key in SHOWN if key in recipe}
    model = recipe.get("model", {})
    if isinstance(model, Mapping):
        flat |= {f"model.{key}": value for key, value in model.items()}
    return [(key, str(value)) for key, value in flat.items()]
