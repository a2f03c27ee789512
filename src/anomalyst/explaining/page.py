"""What was looked at as one page, and the views in it that looked.js draws."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from anomalyst.explaining.answers import Looked
from anomalyst.explaining.attention import TokenAttention
from anomalyst.io.files import write_text
from anomalyst.io.geometry import resize
from anomalyst.io.pictures import data_uri
from anomalyst.report.overlay import shown_size
from anomalyst.report.sections import Section, sections_page
from anomalyst.types import Inspection

HERE = Path(__file__).parent
NOTE = "Attention says what a layer read, not why the model decided; a share is not a reason."
PICTURE_PX = 640
MOST_WEIGHTS = 12_000_000  # kept on a page by layer and head; of more, the mean over the heads


def write_looked(path: Path, title: str, intro: Sequence[str], sections: Sequence[Section]) -> Path:
    """The page, whose views looked.js draws. Raises AnomalystError if it cannot be written."""
    style, script = (
        (HERE / f"looked.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    note = NOTE if any(one.view for one in sections) else ""
    write_text(path, sections_page(title, intro, sections, style=style, script=script, note=note))
    return path


def answer_view(looked: Looked, picture: np.ndarray, found: Inspection) -> dict[str, Any]:
    """An answer whose words can be touched, by layer and head."""
    answer, size_hw = looked.answer, found.size_hw
    return {
        "kind": "answer",
        "picture": _fitted(picture),
        "size_hw": list(size_hw),
        "boxes": [list(region.box_xyxy) for region in found.regions],
        "grid": answer.grid,
        "facts": list(answer.facts),
        "question": answer.question,
        "note": answer.note,
        "words": [
            {"text": w.text, "by": w.by, "chance": round(w.chance, 3), "instead": w.instead,
             "keenest": w.keenest}
            for w in answer.words
        ],
        "belongs": list(looked.belongs),
        "kinds": [list(kind) for kind in looked.kinds],
        "weights": _packed(looked.weights),
    }  # fmt: skip


def patch_view(
    picture: np.ndarray,
    weights: np.ndarray,
    rolled: np.ndarray,
    grid_hw: tuple[int, int],
    names: Sequence[str],
) -> dict[str, Any]:
    """Attention among the patches of a picture, (L, heads, T, T), and its rollout (T, T).

    `names`: of the tokens before the patches, the class token first.
    """
    return {
        "kind": "patches",
        "picture": _fitted(picture),
        "size_hw": list(picture.shape[:2]),
        "grid_hw": list(grid_hw),
        "names": list(names),
        "weights": _packed(weights),
        "rollout": _packed(rolled[None, None]),
    }


def token_view(found: TokenAttention) -> dict[str, Any]:
    """Attention among tokens as matrices with numbers, and as lines."""
    return {
        "kind": "tokens",
        "queries": list(found.queries),
        "keys": list(found.keys),
        "weights": _packed(found.weights),
    }


def _packed(weights: np.ndarray) -> dict[str, Any]:
    """Each row as bytes, and its largest value: errors are below 1/500 of that."""
    if weights.size > MOST_WEIGHTS:
        weights = weights.mean(1, keepdims=True)
    top = weights.max(-1, keepdims=True)
    levels = np.round(weights / np.maximum(top, 1e-12) * 255).astype(np.uint8)
    return {
        "shape": list(weights.shape),
        "levels": base64.b64encode(levels.tobytes()).decode(),
        "tops": base64.b64encode(top.astype("<f4").tobytes()).decode(),
    }


def _fitted(picture: np.ndarray) -> str:
    return data_uri(resize(picture, shown_size(picture.shape[:2], PICTURE_PX)), quality=85)
