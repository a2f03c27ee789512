"""Instructions and captions as LLaVA and PandaGPT write them: all turns, and the picture."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomalyst.backbones.base import to_pixels
from anomalyst.detection.detector import Detector
from anomalyst.errors import AnomalystError
from anomalyst.io.geometry import canvas_for, place
from anomalyst.io.pictures import open_picture
from anomalyst.training.data.dialogues.writer import messages_of
from anomalyst.training.tasks.vision_language import VisionLanguageRecipe
from anomalyst.vlm.dialogue import IMAGE_TOKEN, INSTRUCTION
from anomalyst.vlm.facts import MOST_NAMED
from anomalyst.vlm.visual_inputs import shown

CAPTION_QUESTION = "What do you see?"
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant"}
MOST_KEPT = 4096  # pictures whose features are remembered, about 30 KB each with `embedded`

# What frozen encoders saw, by encoder, side and pictures: dialogues come back, pictures as well.
_KEPT: dict[tuple[str, int, str, str], dict[str, Tensor]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One dialogue about a picture or about none."""

    turns: tuple[tuple[str, str], ...]  # question and answer, at least one
    image: str = ""
    good: str = ""  # ours: a good picture of the same product, beside which the map is drawn
    defective: bool | None = None  # ours: the truth, where the dialogue is an inspection


class InstructionSamples:
    """Dialogues as samples of a task."""

    def __init__(
        self, recipe: VisionLanguageRecipe, detector: Detector, entries: list[Instruction]
    ):
        self.recipe, self.detector, self.entries = recipe, detector, entries
        self.folder = Path(recipe.images or Path(recipe.instructions).parent)

    @classmethod
    def of(cls, recipe: VisionLanguageRecipe, detector: Detector) -> "InstructionSamples":
        """Those of the recipe's file; none without a file."""
        return cls(recipe, detector, read_instructions(recipe) if recipe.instructions else [])

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """One of them."""
        return self.sample_of(self.entries[int(rng.integers(len(self.entries)))])

    def sample_of(self, one: Instruction) -> dict[str, Any]:
        """This one: its messages and what is shown."""
        instruction = "" if one.defective is None else INSTRUCTION  # as an inspection is asked
        return {"messages": messages_of(one.turns, instruction=instruction)} | self.inputs(one)

    def inputs(self, one: Instruction) -> dict[str, Tensor]:
        """What is shown, with the pixels where the encoder is trained."""
        if "vision" not in self.recipe.train:
            return self.shown(one)
        return self.shown(one) | {"pixels": to_pixels([self._canvas(one.image)])}

    def shown(self, one: Instruction) -> dict[str, Tensor]:
        """What a picture is shown as; without a good one beside it its map is empty."""
        recipe = self.recipe
        where = str(self.folder.resolve())
        key = (self.detector.encoder.name, recipe.side_px, f"{where}/{one.image}", one.good)
        if key not in _KEPT:
            found = self._look(one)
            if len(_KEPT) >= MOST_KEPT:
                return found
            _KEPT[key] = found
        return dict(_KEPT[key])

    @torch.no_grad()
    def _look(self, one: Instruction) -> dict[str, Tensor]:
        canvas = self._canvas(one.image)
        features = self.detector.encode([canvas])
        anomaly_map = torch.zeros(64, 64)
        if one.good:
            memory = self.detector.remember(self.detector.encode([self._canvas(one.good)]))
            drawn = torch.from_numpy(self.detector.judge(features, memory, None).map)
            anomaly_map = torch.nn.functional.adaptive_avg_pool2d(drawn[None], 64)[0]
        return shown(anomaly_map, (), canvas.shape[:2], features, most=MOST_NAMED)

    def _canvas(self, image: str) -> np.ndarray:
        """A picture on the square canvas, black without one: uint8 (S, S, 3)."""
        side, multiple = self.recipe.side_px, self.detector.encoder.multiple_px
        canvas = np.zeros((*canvas_for((side, side), side, multiple), 3), np.uint8)
        if not image:
            return canvas
        return place(open_picture(self.folder / image), canvas.shape[:2])[0]


def kept_looks() -> dict[tuple[str, int, str, str], dict[str, Tensor]]:
    """What was seen so far, to be handed to another process."""
    return _KEPT


def read_instructions(recipe: VisionLanguageRecipe) -> list[Instruction]:
    """All turns and the picture of each entry of a LLaVA or PandaGPT file, or of captions.

    LLaVA: {"image", "conversations": [{"from": "human"|"gpt", "value"}, ...]}; PandaGPT the same
    with "image_name" and "conversation"; captions: {"image", "caption"}, asked `CAPTION_QUESTION`.
    Raises AnomalystError for others, naming the entry, and for pictures that are not there.
    """
    path = Path(recipe.instructions)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnomalystError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(entries, list):
        raise AnomalystError(f"{path}: is no list of conversations or captions.")
    read = [_instruction(entry, f"{path}: entry {i}") for i, entry in enumerate(entries, start=1)]
    if not read:
        raise AnomalystError(f"{path}: holds no conversation.")
    folder = Path(recipe.images or path.parent)
    names = dict.fromkeys(name for one in read for name in (one.image, one.good) if name)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise AnomalystError(
            f"{path}: {len(missing)} of {len(names)} pictures are not in {folder}, first "
            f"{missing[0]}; say images=DIR, the folder that they lie in."
        )
    return read


def _instruction(entry: Any, where: str) -> Instruction:
    """One entry; `where` names it in a refusal."""
    if not isinstance(entry, dict):
        raise AnomalystError(f"{where} is a {type(entry).__name__}; an object is needed.")
    name = entry.get("id") or entry.get("image") or entry.get("image_name")
    where = f"{where} ({name})" if name else where
    said = entry.get("conversations") or entry.get("conversation")
    image, good = entry.get("image") or entry.get("image_name") or "", entry.get("good", "")
    if isinstance(entry.get("caption"), str) and not said:
        turns = ((CAPTION_QUESTION, entry["caption"]),)
        return Instruction(turns=turns, image=image, good=good)
    return Instruction(
        turns=_turns(said, where), image=image, good=good, defective=entry.get("defective")
    )


def _turns(said: Any, where: str) -> tuple[tuple[str, str], ...]:
    """Questions and answers in turn. Raises AnomalystError for any other order."""
    if not isinstance(said, list) or not said:
        raise AnomalystError(
            f"{where} has neither a caption nor a list of conversations, as LLaVA or PandaGPT "
            "write them."
        )
    texts = []
    for number, one in enumerate(said):
        due = "human" if number % 2 == 0 else "gpt"
        role = one.get("from") if isinstance(one, dict) else None
        if ROLES.get(str(role)) != ROLES[due] or not isinstance(one.get("value"), str):
            raise AnomalystError(
                f"{where}: part {number + 1} of its conversation is from {role!r}, a text from "
                f"{due!r} is due; human and gpt must take turns."
            )
        texts.append(one["value"].replace(IMAGE_TOKEN, "").strip())
    if len(texts) % 2:
        raise AnomalystError(f"{where}: its last question has no answer; add one or take it out.")
    return tuple(zip(texts[::2], texts[1::2], strict=True))
