"""The frozen gate: questions with what was known and shown, and the answers of held-out ones.

On disk: `dialogues.jsonl`, what was shown beside it, and `gate.json` with the fingerprint of both.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from anomalyst.errors import AnomalystError
from anomalyst.evaluation.gate.figures import ROWS, Row
from anomalyst.io.files import folder_written_whole
from anomalyst.types import Turn
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.grounding import answer_of

FORM = 1  # of the folder; another one is refused
DIALOGUES, ABOUT, SHOWN = "dialogues.jsonl", "gate.json", "shown"
DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class GateItem:
    """One question to a language model."""

    question: str
    facts: Facts
    shown: Path  # safetensors: what the model is shown
    heat: Path | None = None  # the anomaly map as 8-bit grey, where `shown` has none
    turns: tuple[tuple[str, str], ...] = ()  # earlier questions and raw answers
    asked: Row | None = None  # what the expected answer is compared in
    expected: str = ""  # raw, by the grammar; empty: not known (last month's record)

    def tensors(self) -> dict[str, Tensor]:
        """What the model is shown. Raises AnomalystError if it is gone."""
        try:
            shown: dict[str, Tensor] = load_file(self.shown)
        except (OSError, ValueError) as error:
            raise AnomalystError(f"{self.shown}: cannot be read ({error}).") from error
        if self.heat is not None:
            heat = cv2.imread(str(self.heat), cv2.IMREAD_GRAYSCALE)
            if heat is None:
                raise AnomalystError(f"{self.heat}: this map cannot be read.")
            shown["anomaly_map"] = torch.from_numpy(heat.astype(np.float32) / 255)[None, None]
        return shown

    def earlier(self) -> list[Turn]:
        """The turns as a speaker reads them."""
        return [Turn(q, answer_of(raw, raw, self.facts, 0.0)) for q, raw in self.turns]

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values; of files, the names."""
        files = {"shown": self.shown.name, "heat": self.heat.name if self.heat else None}
        return asdict(self) | {"facts": self.facts.as_dict()} | files

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], folder: Path) -> Self:
        """The item of which `as_dict` gave the values; what is shown lies in `folder`."""
        if values["asked"] not in (None, *ROWS):
            raise ValueError(f"it asks for {values['asked']!r}")
        read = {
            "facts": Facts.from_dict(values["facts"]),
            "shown": folder / values["shown"],
            "turns": tuple((question, answer) for question, answer in values["turns"]),
        }
        return cls(**dict(values) | read)


def fingerprint(items: Sequence[GateItem]) -> str:
    """12 hexadecimal digits of SHA-256 over all that is asked, known, expected and shown."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(item.as_dict(), sort_keys=True).encode())
    for path in sorted({path for one in items for path in (one.shown, one.heat) if path}):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:DIGITS]


def write_gate(
    folder: Path, scenes: Sequence[tuple[dict[str, Tensor], Sequence[GateItem]]], **about: Any
) -> str:
    """Freeze scenes (what is shown, and the questions about it); returns the fingerprint."""
    with folder_written_whole(folder) as part:
        (part / SHOWN).mkdir()
        items: list[GateItem] = []
        for number, (shown, asked) in enumerate(scenes):
            path = part / SHOWN / f"{number:04d}.safetensors"
            save_file({name: tensor.contiguous() for name, tensor in shown.items()}, path)
            items += [replace(item, shown=path) for item in asked]
        lines = (json.dumps(item.as_dict()) + "\n" for item in items)
        (part / DIALOGUES).write_text("".join(lines), encoding="utf-8")
        found = fingerprint(items)
        told = about | {"form": FORM, "fingerprint": found, "items": len(items)}
        (part / ABOUT).write_text(json.dumps(told, indent=1), encoding="utf-8")
    return found


def read_gate(folder: Path) -> list[GateItem]:
    """The items of a frozen gate, exactly as they were written.

    Raises AnomalystError for a gate that is not there, of another form, or changed since.
    """
    anew = f"delete {folder}, and `anomalyst store propose` draws it anew"
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if about["form"] != FORM:
            raise AnomalystError(
                f"{folder}: is a gate of form {about['form']!r}, this version reads {FORM}; {anew}."
            )
        lines = (folder / DIALOGUES).read_text(encoding="utf-8").splitlines()
        items = [GateItem.from_dict(json.loads(line), folder / SHOWN) for line in lines]
        found = fingerprint(items)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnomalystError(f"{folder}: is no gate that can be read ({error}); {anew}.") from error
    if found != about["fingerprint"]:
        raise AnomalystError(
            f"{folder}: was changed since it was frozen ({found}, not {about['fingerprint']}); "
            f"bring back what it was, or {anew}."
        )
    return items
