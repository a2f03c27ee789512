"""Drawn pictures with their sentences, written as LLaVA writes captions and instructions."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np

from anomalyst.config import to_mapping
from anomalyst.detection.regions import find_regions, joined_px
from anomalyst.errors import AnomalystError
from anomalyst.io.files import make_folder, write_bytes, write_text
from anomalyst.io.pictures import encoded
from anomalyst.synthetic.procedural import Episode, WorldConfig, make_episode
from anomalyst.training.data.dialogues.answers import Intent, answer_to
from anomalyst.training.data.dialogues.scenes import LOOKS
from anomalyst.training.data.dialogues.writer import write_dialogue
from anomalyst.training.data.feature_cache import true_kind
from anomalyst.vlm.facts import Facts

INTENTS = ("presence", "sound", "where", "count", "kind", "size", "report", "look", "at", "it")
DRAWN_SEED = 1 << 43  # nothing else is drawn from these


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnConfig:
    """What is drawn and said."""

    count: int = 1000  # pictures, each with a good one of its product
    said: Literal["captions", "dialogues"] = "captions"
    turns: int = 3  # of a dialogue
    intents: tuple[str, ...] = INTENTS  # what is asked
    seed: int = 0
    world: WorldConfig = WorldConfig(references=(1, 1), anomalous_share=0.5)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"count is {self.count}; one picture or more is needed")
        for name in self.intents:
            if name not in INTENTS:
                near = get_close_matches(name, INTENTS, n=1, cutoff=0.0)[0]
                raise ValueError(f"intents has {name!r}; the nearest is {near!r}")


def write_drawn(
    folder: Path, config: DrawnConfig, on_picture: Callable[[int], None] = lambda _: None
) -> Path:
    """Pictures and instructions.json in a folder; what is there already is kept. The JSON's path.

    Entries are LLaVA's, {"image", "caption"} or {"image", "conversations"}, with two keys more:
    "good", a good picture of the same product, and "defective", the truth.
    """
    path, drawn = folder / "instructions.json", folder / "drawn.json"
    wanted = to_mapping(config)
    if drawn.is_file() and json.loads(drawn.read_text(encoding="utf-8")) != wanted:
        raise AnomalystError(f"{folder}: holds other drawings; delete it, or take another --out.")
    if path.is_file():
        return path
    make_folder(folder)
    write_text(drawn, json.dumps(wanted, indent=1) + "\n")
    entries = []
    for index in range(config.count):
        episode = make_episode((DRAWN_SEED, config.seed, index), config.world)
        image, good = f"{index:06d}.png", f"{index:06d}-good.png"
        write_bytes(folder / image, encoded(episode.query))
        write_bytes(folder / good, encoded(episode.references[0]))
        rng = np.random.default_rng((DRAWN_SEED, config.seed, index, 1))
        said = _said(episode, config, rng)
        defective = bool(episode.mask.any())
        entries.append({"image": image, "good": good, "defective": defective} | said)
        on_picture(index)
    write_text(path, json.dumps(entries, indent=1) + "\n")
    return path


def _said(episode: Episode, config: DrawnConfig, rng: np.random.Generator) -> dict[str, Any]:
    """The caption or the dialogue of an episode."""
    facts, look = true_facts(episode), LOOKS[episode.truth.family]
    if config.said == "captions":
        sentences = (answer_to(Intent(name=name), facts, look, rng) for name in ("look", "report"))
        return {"caption": " ".join(sentences)}
    turns = write_dialogue(facts, look, rng, turns=config.turns, intents=config.intents)
    said = [(who, text) for one in turns
            for who, text in (("human", one.question), ("gpt", one.answer))]  # fmt: skip
    return {"conversations": [{"from": who, "value": text} for who, text in said]}


def true_facts(episode: Episode) -> Facts:
    """What is true of an episode's query."""
    mask = episode.mask
    found = find_regions(mask.astype(np.float32), 0.5, 4, join_px=joined_px(mask.shape))
    regions = tuple(replace(region, kind=true_kind(region, episode)) for region in found)
    return Facts(
        verdict="anomalous" if regions else "normal", p_value=0.02 if regions else 0.5,
        confidence=0.9, regions=regions, size_hw=(mask.shape[0], mask.shape[1]), num_good=1,
        guaranteed=False, colours=episode.truth.colours,
    )  # fmt: skip
