"""The white paper of the study, made of its results alone: HTML, and PDF where WeasyPrint is."""

import base64
import json
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


def write_paper(out: Path, results: Results, dataset: Path) -> list[Path]:
    """OUT/vit-vs-cnn.html and, if WeasyPrint is installed, vit-vs-cnn.pdf; the files written.

    `dataset`: the set's folder; of one that was drawn its preview.png and made.json are shown.
    """
    html = _html(results, dataset)
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


def _html(results: Results, dataset: Path) -> str:
    preview = dataset / "preview.png"
    vit = results.best("scratch", "distilled", networks=findings.TRANSFORMERS)
    scratch = results.arms("scratch")
    compared = list(dict.fromkeys([*scratch, vit, results.best()]))
    drawn = {
        "pictures": preview.read_bytes() if preview.is_file() else b"",
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
        drawn_with=_drawn_with(dataset),
        moves=_told(results.recipes[scratch[0]].get("moves", {})),
        named=listed(scratch),
        tables=_tables(results, compared),
        picture={name: base64.b64encode(png).decode() for name, png in drawn.items()},
    )


def _drawn_with(dataset: Path) -> list[tuple[str, str]]:
    """What a set of ours was drawn with, key by key; nothing of any other set."""
    made = dataset / "made.json"
    if not made.is_file():
        return []
    said = json.loads(made.read_text(encoding="utf-8"))
    rows = {**said.get("set", {}), **said.get("config", {})}
    return [(key, _told(value)) for key, value in rows.items()]


def _told(value: Any) -> str:
    """A setting as it is read, not as Python writes it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_told(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return " to ".join(_told(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


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
