"""Held-out dialogues for the gate: drawn parts of families that words are never learnt from."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from anomalyst.evaluation.gate.figures import Row
from anomalyst.evaluation.gate.items import GateItem, write_gate
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.training.data.dialogues.scenes import draw_scene
from anomalyst.training.data.dialogues.writer import write_dialogue
from anomalyst.training.data.feature_cache import fill_cache, read_features

GATE_SEED = 1 << 43  # of episodes and dialogues; nothing else is drawn from it
# What an intent's answer is compared in; answers to the others must only not contradict.
ASKED: dict[str, Row] = {
    "presence": "presence", "sound": "presence", "order": "presence", "where": "place",
    "at": "place", "nth": "place", "it": "place", "kind": "kind", "of kind": "kind",
    "count": "count",
}  # fmt: skip
# One named again is asked that much more often than in training, or its row would be short.
INTENTS = (*ASKED, "report", "worst", "largest", "sure", *("count",) * 3, "kind", "where")


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """How large the gate is, and what it is drawn from."""

    scenes: int = 80  # dialogues, each about one picture
    turns: int = 3  # questions of each
    looks: int = 60  # pictures that the inspector looks at; a scene takes one of them
    imagined: float = 0.5  # share of scenes whose regions never were, as in training
    seed: int = GATE_SEED
    world: WorldConfig = field(
        default_factory=lambda: WorldConfig(
            size_px=256, references=(1, 1), anomalous_share=0.7, families=HELD_OUT
        )
    )


def draw_gate(folder: Path, config: GateConfig | None = None) -> str:
    """Draw the held-out dialogues and freeze them in `folder`; returns their fingerprint.

    Another processor or number of threads gives another fingerprint: what the inspector saw
    differs there in the last digits.
    """
    config = config or GateConfig()
    with TemporaryDirectory(prefix="anomalyst-") as looks:
        with torch.random.fork_rng():
            fill_cache(Path(looks), config.world, config.looks, seed=config.seed)
        scenes = list(_scenes(Path(looks), config))
    return write_gate(folder, scenes, drawn=asdict(config))


def _scenes(looks: Path, config: GateConfig) -> Iterator[tuple[dict[str, Tensor], list[GateItem]]]:
    seen, rng = read_features(looks), np.random.default_rng(config.seed)
    for _ in range(config.scenes):
        facts, look, shown = draw_scene(
            seen, rng, imagined=config.imagined, size_px=config.world.size_px
        )
        written = write_dialogue(facts, look, rng, turns=config.turns, intents=INTENTS)
        said = [(one.question, one.answer) for one in written]
        yield (
            shown,
            [
                GateItem(
                    question=one.question,
                    facts=facts,
                    shown=Path(),
                    turns=tuple(said[:index]),
                    asked=ASKED.get(one.intent.name),
                    expected=one.answer,
                )
                for index, one in enumerate(written)
            ],
        )
