"""A product's areas as the server tells and takes them: from product.json, without the model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anomalyst.io.areas import Areas, areas_from, refuse_senses
from anomalyst.product_index import product_folder, product_senses, read_record


def areas_of(name: str, products: Path) -> dict[str, Any]:
    """Size of the first good picture, the areas on it, whether only the product itself counts.

    Raises UnknownProduct, and AnomalystError for a product that is judged by anything but
    photographs.
    """
    folder, record, size_hw = _on_photographs(name, products)
    drawn = record.get("areas")
    kept = Areas.load(drawn, folder) if drawn else None
    found = kept.as_dict() if kept else {"areas": []}
    return {
        "height_px": size_hw[0],
        "width_px": size_hw[1],
        "areas": found["areas"],
        "on_product": kept is not None and kept.product is not None,
        "told": kept.sentence if kept else "",
    }


def checked_areas(name: str, products: Path, drawn: Sequence[dict[str, Any]]) -> list[str]:
    """The names of areas that somebody sent. Raises AnomalystError as `Areas` does."""
    _, _, size_hw = _on_photographs(name, products)
    found = Areas(size_hw=size_hw, drawn=areas_from(list(drawn), size_hw))
    return [area.name for area in found.drawn]


def _on_photographs(name: str, products: Path) -> tuple[Path, dict[str, Any], tuple[int, int]]:
    """The product's folder, its record, and the size of the picture that areas are drawn on."""
    folder = product_folder(name, products)
    senses = product_senses(folder)
    if senses != ["image"]:
        refuse_senses(name, senses)
    record = read_record(folder)
    height, width = record["frame"]["size_hw"]
    return folder, record, (height, width)
