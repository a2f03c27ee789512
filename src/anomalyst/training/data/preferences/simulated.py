"""Rankings by simulated inspectors, before anybody has ranked: drawn scenes, a question each,
several answers, and a known taste."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from anomalyst.io.files import make_folder, write_bytes
from anomalyst.training.alignment.verifiable import verify
from anomalyst.training.data.dialogues.answers import Intent
from anomalyst.training.data.dialogues.scenes import draw_scene
from anomalyst.training.data.dialogues.writer import write_dialogue
from anomalyst.training.data.feature_cache import CachedFeatures
from anomalyst.training.data.preferences.spoiled import spoiled
from anomalyst.training.data.preferences.styles import STYLES, write
from anomalyst.training.data.preferences.tastes import TASTES, check_taste, liking, ranks, reworded
from anomalyst.vlm.facts import MOST_NAMED, Facts
from anomalyst.vlm.preferences import Ranking

SIMULATED_SEED = 1 << 44  # nothing else is drawn from these


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedConfig:
    """What is asked and who ranks."""

    count: int = 1000  # questions; one whose answers are all the same gives no ranking
    tastes: tuple[str, ...] = TASTES  # of the inspectors, in turn
    noise: float = 0.1  # share of comparisons that come out the wrong way
    rewordings: float = 0.5  # share of questions whose first answer she also says better
    imagined: float = 0.5  # share of scenes whose regions never were
    size_px: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        if self.count < 1 or not self.tastes:
            raise ValueError(f"count is {self.count}, tastes {self.tastes}; one of each is needed")
        for taste in self.tastes:
            check_taste(taste)
        for name in ("noise", "rewordings", "imagined"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a share is from 0 to 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A question about a drawn scene, and what is known of it."""

    id: str  # the `inspection` of its rankings
    question: str
    intent: Intent  # which the rankings do not have: people's questions have none
    facts: Facts
    look: str  # what the product looks like
    shown: Mapping[str, Tensor]


# (question, facts, shown, intent, look, rng) -> raw answers
Sampler = Callable[
    [str, Facts, Mapping[str, Tensor], Intent, str, np.random.Generator], Sequence[str]
]


def prompts(looks: Sequence[CachedFeatures], config: SimulatedConfig) -> Iterator[Prompt]:
    """The questions of a configuration, always the same."""
    for index in range(config.count):
        rng = np.random.default_rng((SIMULATED_SEED, config.seed, index))
        intent, question, facts, look, shown = _asked(looks, config, rng)
        yield Prompt(
            id=f"simulated-{config.seed}-{index}", question=question, intent=intent, facts=facts,
            look=look, shown=shown,
        )  # fmt: skip


def _asked(
    looks: Sequence[CachedFeatures], config: SimulatedConfig, rng: np.random.Generator
) -> tuple[Intent, str, Facts, str, dict[str, Tensor]]:
    while True:
        facts, look, shown = draw_scene(
            looks, rng, imagined=config.imagined, size_px=config.size_px
        )
        one = write_dialogue(facts, look, rng, turns=1)[0]
        # What lies beyond the regions that a model is told of, it cannot know.
        if one.intent.name not in ("at", "of kind") or len(facts.regions) <= MOST_NAMED:
            return one.intent, one.question, facts, look, shown


def styled_candidates(
    question: str,  # noqa: ARG001
    facts: Facts,
    shown: Mapping[str, Tensor],  # noqa: ARG001
    intent: Intent,
    look: str,
    rng: np.random.Generator,
) -> list[str]:
    """Three answers in different styles, for one question in four one of them spoiled."""
    styles = rng.permutation(len(STYLES))[:3]
    said = [write(STYLES[index], intent, facts, look, rng) for index in styles]
    if rng.random() < 0.25:
        said[0] = spoiled(said[0], rng)
    return [said[index] for index in rng.permutation(3)]


def simulate(
    looks: Sequence[CachedFeatures],
    folder: Path,
    config: SimulatedConfig,
    say: Sampler = styled_candidates,
) -> list[Ranking]:
    """Rankings and rewordings; what the model is shown of each goes into the folder.

    Write them with `write_rankings` into the same folder. Answers that are the same count once.
    """
    make_folder(folder)
    found: list[Ranking] = []
    for index, prompt in enumerate(prompts(looks, config)):
        taste = config.tastes[index % len(config.tastes)]
        rng = np.random.default_rng((SIMULATED_SEED, config.seed, index, 1))
        answers = say(prompt.question, prompt.facts, prompt.shown, prompt.intent, prompt.look, rng)
        found += _ranked(prompt, taste, list(dict.fromkeys(answers)), folder, config, rng)
    return found


def _ranked(
    prompt: Prompt,
    taste: str,
    answers: Sequence[str],
    folder: Path,
    config: SimulatedConfig,
    rng: np.random.Generator,
) -> Iterator[Ranking]:
    intent, facts = prompt.intent, prompt.facts
    made: list[tuple[str, Sequence[str], tuple[int, ...]]] = []
    if len(answers) > 1:
        order = ranks(taste, answers, intent, facts, rng, noise=config.noise)
        made.append(("ranking", answers, order))
    if rng.random() < config.rewordings:
        better = reworded(taste, intent, facts, prompt.look, rng)
        if liking(taste, better, intent, facts) > liking(taste, answers[0], intent, facts):
            made.append(("answer", (better, answers[0]), (1, 2)))
    if not made:
        return
    known: dict[str, Any] = {
        "inspection": prompt.id, "product": facts.product, "by": f"simulated {taste}",
        "time": datetime.now(UTC).isoformat(timespec="seconds"), "model": "simulated",
        "question": prompt.question, "facts": facts, "shown": keep_shown(prompt.shown, folder),
    }  # fmt: skip
    for kind, said, order in made:
        against = tuple("; ".join(verify(one, intent, facts).contradictions) for one in said)
        yield Ranking(
            id=f"{prompt.id}-{kind}", kind=kind, answers=tuple(said), ranks=order,  # type: ignore[arg-type]
            contradictions=against if any(against) else (), **known,
        )  # fmt: skip


def keep_shown(shown: Mapping[str, Tensor], folder: Path) -> str:
    """What a model is shown as a safetensors file in a folder, in half precision; its name."""
    tensors = {name: tensor.to(torch.float16).contiguous() for name, tensor in shown.items()}
    data = save_tensors(tensors)
    name = f"{sha256(data).hexdigest()[:32]}.safetensors"
    if not (folder / name).exists():
        write_bytes(folder / name, data)
    return name
