"""How true the words are on drawn parts of families that words were never learnt from.

Twice over: through the whole inspector, and given the true map, which tells the language model's
errors from the detector's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from anomalyst.detection.classifiers.kinds import KIND_OF
from anomalyst.detection.regions import box_iou, find_regions, joined_px
from anomalyst.evaluation.language import strictly_yes_or_no
from anomalyst.inspector import Inspector
from anomalyst.synthetic.procedural import Episode, WorldConfig, make_episode
from anomalyst.synthetic.procedural.families import HELD_OUT
from anomalyst.types import Dialogue, Inspection, Region
from anomalyst.vlm.facts import MOST_NAMED, number
from anomalyst.vlm.prompt_learner import region_figures

EPISODE_SEED = 1 << 42  # nothing was ever trained on these
WORLD = WorldConfig(size_px=256, references=(1, 1), anomalous_share=0.5, families=HELD_OUT)
QUESTIONS = {
    "presence": "Is there any anomaly in the image?",
    "place": "Where is it?",
    "kind": "What kind of defect is it?",
    "count": "How many defects are there?",
}


@dataclass(slots=True)
class Score:
    """Right answers of so many, by what was asked."""

    right: dict[str, int] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    answers: int = 0
    contradictions: int = 0  # words that say yes of a normal verdict, or no of another
    corrected: int = 0  # answers of the language model that were cut

    def add(self, what: str, right: bool) -> None:
        """Count one answer."""
        self.asked[what] = self.asked.get(what, 0) + 1
        self.right[what] = self.right.get(what, 0) + right

    def shares(self) -> dict[str, float]:
        """Share of right answers, in [0, 1], by what was asked."""
        return {what: self.right[what] / asked for what, asked in self.asked.items()}


def judge_words(
    inspector: Inspector, episodes: int, on_episode: Callable[[], None] = lambda: None
) -> dict[str, Score]:
    """Scores "inspected" and "given the true map" over so many episodes."""
    scores = {"inspected": Score(), "given the true map": Score()}
    for index in range(episodes):
        episode = make_episode(EPISODE_SEED + index, WORLD)
        found = _inspected(inspector, episode)
        _judge(inspector, found, episode, scores["inspected"])
        _judge(inspector, _truly(found, episode), episode, scores["given the true map"])
        on_episode()
    return scores


def _inspected(inspector: Inspector, episode: Episode) -> Inspection:
    """The whole way a user goes: pictures on disk, one good one, one to inspect."""
    with TemporaryDirectory() as folder:
        good, query = Path(folder) / "good.png", Path(folder) / "query.png"
        Image.fromarray(episode.references[0]).save(good, compress_level=1)
        Image.fromarray(episode.query).save(query, compress_level=1)
        return inspector.inspect(query, inspector.teach("part", [good]))


def true_regions(episode: Episode) -> tuple[Region, ...]:
    """The places of the true mask with their true kinds; places under 8 pixels do not count."""
    gap = joined_px(episode.mask.shape)
    found = find_regions(episode.mask.astype(np.float32), 0.5, 8, join_px=gap)
    kinds = []
    for region in found:
        overlaps = [(box_iou(region.box_xyxy, d.box_xyxy), d.kind) for d in episode.truth.defects]
        kinds.append(KIND_OF[max(overlaps)[1]])
    return tuple(replace(r, kind=k) for r, k in zip(found, kinds, strict=True))


def _truly(found: Inspection, episode: Episode) -> Inspection:
    """The inspection as a perfect detector would have given it."""
    regions = true_regions(episode)
    mask = torch.from_numpy(episode.mask.astype(np.float32))[None, None]
    shown = {
        **found.shown,
        "anomaly_map": mask,
        "regions": region_figures(regions, found.size_hw, most=MOST_NAMED)[None],
    }
    return replace(
        found,
        shown=shown,
        map=episode.mask.astype(np.float32),
        verdict="anomalous" if regions else "normal",
        p_value=0.01 if regions else 0.5,
        regions=regions,
    )


def _judge(inspector: Inspector, found: Inspection, episode: Episode, score: Score) -> None:
    """Ask what can be asked, and compare with the truth."""
    true = true_regions(episode)
    said = _ask(inspector, "presence", found, score)
    score.add("presence", strictly_yes_or_no(said) is bool(true))
    if not true or not found.regions:
        return
    place = _ask(inspector, "place", found, score)
    score.add("place", any(f"the {t.place} (" in place for t in true))
    kind = _ask(inspector, "kind", found, score)
    score.add("kind", any(str(t.kind) in kind for t in true))
    count = _ask(inspector, "count", found, score).lower()
    score.add("count", f" {number(len(true))} defect" in count)


def _ask(inspector: Inspector, what: str, found: Inspection, score: Score) -> str:
    answer = inspector.ask(QUESTIONS[what], Dialogue(found))
    score.answers += 1
    score.corrected += answer.corrected
    score.contradictions += strictly_yes_or_no(answer.text) is (found.verdict == "normal")
    return answer.text
