"""What the study reads: running text to pretrain on, six sets of dialogues, questions held out.

Everything is words: scenes are imagined, so that no picture has to be looked at, and a model is
told the record of facts alone. What only a picture shows (what a product looks like) is not asked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from anomalyst.io.colours import NAMES
from anomalyst.training.alignment.prompts import Prompt
from anomalyst.training.data.dialogues.answers import Intent, answer_to
from anomalyst.training.data.dialogues.patterns import one_of
from anomalyst.training.data.dialogues.scenes import LOOKS, draw_scene
from anomalyst.training.data.dialogues.writer import Exchange, write_dialogue
from anomalyst.training.data.feature_cache import MAP_PX, CachedFeatures
from anomalyst.training.tasks.language import dialogue_sample
from anomalyst.vlm.facts import Facts
from anomalyst.vlm.huggingface import AnomalystProcessor
from anomalyst.vlm.huggingface.modeling import SHOWN

SETS: Mapping[str, Sequence[str]] = {
    "yes or no": ("presence", "sound"),
    "where": ("where", "at"),
    "how many": ("count", "nth"),
    "kind": ("kind", "of kind"),
    "size": ("size", "largest", "worst"),
    "the rest": ("sure", "good", "colour"),
}
TURN = "Question:"  # how a turn begins
# The record, then turns in plain words: a base model has seen such text, and no marks of ours.
TEMPLATE = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ m.content.split('\n', 1)[1] }}\n"
    "{% elif m.role == 'user' %}Question: {{ m.content }}\n"
    "{% else %}Answer: {{ m.content }}{{ eos_token }}\n{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}Answer:{% endif %}"
)
_ASKED = tuple(name for names in SETS.values() for name in names)
_TOLD = tuple(name for name in _ASKED if name not in ("nth", "at", "of kind"))
SIZE_PX = 256
_NOTHING_SHOWN = {name: torch.zeros(1, 1) for name in SHOWN}


def imagined_scene(rng: np.random.Generator) -> Facts:
    """Facts about a part that never was."""
    colours = rng.choice(list(NAMES), 2, replace=False)
    nothing = torch.zeros(1, MAP_PX, MAP_PX)
    look = CachedFeatures(
        map=nothing, embedding=torch.zeros(1), patches=torch.zeros(1, 1, 1), regions=(),
        family=one_of(list(LOOKS), rng), colours=tuple(map(str, colours)), anomalous=False,
    )  # fmt: skip
    return draw_scene([look], rng, imagined=1.0, size_px=SIZE_PX)[0]


def running_text(rng: np.random.Generator) -> str:
    """A record, then true sentences about it, or turns of which none answers its question.

    Nothing ends: after an answer comes the next question.
    """
    facts = imagined_scene(rng)
    turns = write_dialogue(facts, "", rng, turns=4, intents=_ASKED)
    said = [_other_than(one, facts, rng) for one in turns]
    if rng.random() < 0.5:
        return f"{facts.as_text()}\n{' '.join(said)}"
    talk = (f"{TURN} {one.question}\nAnswer: {text}" for one, text in zip(turns, said, strict=True))
    return "\n".join((facts.as_text(), *talk, TURN))


def _other_than(asked: Exchange, facts: Facts, rng: np.random.Generator) -> str:
    """A true sentence about the scene that is not what was asked for."""
    names = [name for name in _TOLD if name != asked.intent.name]
    return answer_to(Intent(name=one_of(names, rng)), facts, "", rng)


def text_sample(processor: AnomalystProcessor, rng: np.random.Generator) -> dict[str, Any]:
    """Running text as ids (T,) with a loss on every token."""
    ids = processor(running_text(rng))["input_ids"][0]
    return {"input_ids": ids, "labels": ids}


def answer_sample(
    processor: AnomalystProcessor, rng: np.random.Generator, intents: Sequence[str]
) -> dict[str, Any]:
    """A question with its answer as ids (T,), and labels (T,) of the answer alone."""
    nothing_shown: dict[str, Tensor] = {}
    return dialogue_sample(
        (imagined_scene(rng), "", nothing_shown), processor, rng,
        turns=1, family="llama", intents=intents,
    )  # fmt: skip


def held_out_prompts(name: str, count: int, seed: int) -> list[Prompt]:
    """Questions of a set about scenes that nothing is trained on."""
    found = []
    for index in range(count):
        rng = np.random.default_rng((seed, 1 << 45, list(SETS).index(name), index))
        facts = imagined_scene(rng)
        one = write_dialogue(facts, "", rng, turns=1, intents=SETS[name])[0]
        prompt = Prompt(question=one.question, facts=facts, shown=_NOTHING_SHOWN, intent=one.intent)
        found.append(prompt)
    return found
