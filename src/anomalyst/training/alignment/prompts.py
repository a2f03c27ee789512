"""What a model in alignment is asked: the grammar's questions, or people's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from anomalyst.errors import AnomalystError
from anomalyst.training.data.dialogues.answers import Intent
from anomalyst.training.data.dialogues.scenes import Scene, draw_scene
from anomalyst.training.data.dialogues.writer import messages_of, write_dialogue
from anomalyst.training.data.feature_cache import MAP_PX, CachedFeatures
from anomalyst.vlm.dialogue import Message, messages_for
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.generation import without_user_marks
from anomalyst.vlm.huggingface.modeling import SHOWN
from anomalyst.vlm.preferences import Ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A question about one picture."""

    question: str
    turns: tuple[tuple[str, str], ...] = ()  # earlier questions and raw answers
    facts: Facts
    shown: dict[str, Tensor]  # what the model sees of the picture, each with B = 1
    intent: Intent | None = None  # what is asked; None: a person's own words
    look: str = ""  # what the product looks like
    id: str = ""  # of the picture, where there is one

    def messages(self) -> list[Message]:
        """As the model reads them, the question last."""
        record = without_user_marks(self.facts).as_text()
        if not self.turns:
            return messages_for(record, (), self.question)
        return [*messages_of(self.turns, record), {"role": "user", "content": self.question}]


def training_looks(looks: Sequence[CachedFeatures]) -> Sequence[CachedFeatures]:
    """The pictures that alignment learns from: four of five."""
    return looks[: -max(1, len(looks) // 5)]


def held_out_looks(looks: Sequence[CachedFeatures]) -> Sequence[CachedFeatures]:
    """The pictures that models are judged on."""
    return looks[-max(1, len(looks) // 5) :]


@dataclass(frozen=True, slots=True)
class DrawnPrompts:
    """Questions of the grammar about drawn scenes."""

    looks: Sequence[CachedFeatures]
    imagined: float = 0.5  # share of scenes whose regions never were
    size_px: int = 256
    turns: int = 1  # of a dialogue, of which the last is asked

    def scene(self, rng: np.random.Generator) -> Scene:
        """What is asked about: facts, what the product looks like, and what a model is shown."""
        return draw_scene(self.looks, rng, imagined=self.imagined, size_px=self.size_px)

    def draw(self, rng: np.random.Generator) -> Prompt:
        """One question with what is true."""
        while True:
            facts, look, shown = self.scene(rng)
            turns = int(rng.integers(self.turns)) + 1
            *before, last = write_dialogue(facts, look, rng, turns=turns)
            # What lies beyond the regions that a model is told of, it cannot know.
            if last.intent.name not in ("at", "of kind") or len(facts.regions) <= MOST_NAMED:
                break
        earlier = tuple((one.question, one.answer) for one in before)
        return Prompt(
            question=last.question, turns=earlier, facts=facts, shown=shown, intent=last.intent,
            look=look,
        )  # fmt: skip


def prompt_of(ranking: Ranking, folder: Path) -> Prompt:
    """The question that a ranking is about; `folder`: where what was shown lies.

    Raises AnomalystError where that cannot be read.
    """
    path = folder / ranking.shown
    try:
        held = load_file(path)
        shown = {name: held[name].float() for name in SHOWN}
    except (OSError, SafetensorError, KeyError) as error:
        raise AnomalystError(
            f"{path}: what the model was shown cannot be read ({type(error).__name__}: {error}); "
            "export the preferences again."
        ) from error
    shown["anomaly_map"] = F.adaptive_avg_pool2d(shown["anomaly_map"], MAP_PX)
    return Prompt(question=ranking.question, turns=ranking.turns, facts=ranking.facts, shown=shown)
