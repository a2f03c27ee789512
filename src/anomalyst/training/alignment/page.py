"""What an alignment did, on one page: figures, curves, and the same questions answered by each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from anomalyst.io.files import write_text
from anomalyst.report.sections import Section
from anomalyst.training.alignment.judging import (
    Judged,
    held_out_prompts,
    judge,
    learned_scores,
    share_won,
)
from anomalyst.training.alignment.prompts import Prompt
from anomalyst.training.alignment.stages import Plan, Stage
from anomalyst.training.data.feature_cache import FeatureCacheRecipe, read_features
from anomalyst.training.experiments.plots import draw_alignment, draw_calibration
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.studies.page import write_page

SHOWN = 8  # questions whose answers stand on the page


def write_report(plan: Plan, initial: Path, out: Path, *, questions: int = 200) -> dict[str, Any]:
    """OUT/align.html, align.md and align.json: every model of a plan on held-out questions.

    `initial`: the model that the plan begins with. Returns what align.json holds.
    """
    recipes = [one.recipe for one in plan.stages]
    known = next((r for r in recipes if isinstance(r, FeatureCacheRecipe)), None)
    looks = (known or FeatureCacheRecipe(episodes=250)).feature_folder(out)
    prompts = held_out_prompts(read_features(looks), questions, turns=2)
    models = [("before", initial)]
    models += [(one.name, one.model) for one in plan.stages if one.name != "reward"]
    judged = [judge(name, folder, prompts) for name, folder in models]
    reward = plan.named("reward")
    liked = _liked(reward, judged, prompts) if reward else {}
    figures: dict[str, Any] = {
        "questions": len(prompts),
        "notes": list(plan.notes),
        "models": [{k: v for k, v in asdict(one).items() if k != "answers"} for one in judged],
        "liked": {name: sum(scores) / len(scores) for name, scores in liked.items()},
        "won": _won(liked),
        "reward_model": _reward_figures(reward) if reward else None,
        "stages": {one.name: _cost(one) for one in plan.stages},
    }
    write_text(out / "align.json", json.dumps(figures, indent=1) + "\n")
    sections = [
        _models_section(judged, figures),
        *_reward_sections(figures),
        *_curve_sections(plan),
        _answers_section(judged, prompts),
        _cost_section(figures["stages"]),
    ]
    write_page(out, "align", "Alignment", plan.notes, sections)
    return figures


def _liked(
    reward: Stage, judged: Sequence[Judged], prompts: Sequence[Prompt]
) -> dict[str, list[float]]:
    return {one.name: learned_scores(reward.model, prompts, one.answers) for one in judged}


def _won(liked: Mapping[str, Sequence[float]]) -> float | None:
    """How often the reward model likes the last model's answer better than the one before's."""
    if len(liked) < 2:
        return None
    *_, before, last = liked.values()
    return share_won(last, before)


def _reward_figures(reward: Stage) -> dict[str, Any]:
    return dict(json.loads((reward.model / "reward.json").read_text(encoding="utf-8")))


def _cost(stage: Stage) -> dict[str, float]:
    """Seconds and memory of a step, and the part of the time in which answers were sampled."""
    lines = read_run(stage.folder).lines
    seconds = before = sampling = 0.0
    rounds = getattr(stage.recipe, "epochs", 1)
    for line in lines:
        steps, before = line["step"] - before, line["step"]
        seconds += steps * line["seconds_per_step"]
        sampling += steps * line.get("generating_seconds", 0.0) / rounds
    memory = max((line.get("memory_mb", 0.0) for line in lines), default=0.0)
    return {
        "steps": before,
        "seconds": seconds,
        "sampling_share": sampling / seconds if seconds else 0.0,
        "memory_mb": memory,
    }


def _models_section(judged: Sequence[Judged], figures: Mapping[str, Any]) -> Section:
    rows = [
        [one.name, f"{one.verifiable:.3f}", f"{100 * one.right:.1f}",
         f"{100 * one.contradicting:.1f}", f"{one.words:.1f}",
         f"{figures['liked'][one.name]:.2f}" if one.name in figures["liked"] else "-"]
        for one in judged
    ]  # fmt: skip
    said = [
        f"{figures['questions']} questions of the grammar about pictures that alignment did not "
        "learn from (of the kind that the shipped model was trained on), answered greedily and "
        "unchecked: what is shown to people is checked first."
    ]
    if figures["won"] is not None:
        said.append(
            f"By the reward model the last answers win {100 * figures['won']:.0f} % against those "
            "before."
        )
    heads = ["model", "verifiable reward", "all right, %", "contradicting, %", "words",
             "learned reward"]  # fmt: skip
    return Section(title="Before and after", sentences=said, heads=heads, rows=rows)


def _reward_sections(figures: Mapping[str, Any]) -> list[Section]:
    found = figures["reward_model"]
    if not found:
        return []
    said = (
        f"Learnt from {found['pairs']} pairs; of {found['held_out_pairs']} held-out pairs "
        f"{100 * found['accuracy']:.1f} % are ranked right; expected calibration error "
        f"{found['calibration_error']:.3f}."
    )
    picture = draw_calibration(found["calibration"])
    return [Section(title="Reward model", sentences=[said], picture=picture, shows="Calibration")]


def _curve_sections(plan: Plan) -> list[Section]:
    last = plan.stages[-1]
    if last.name not in ("ppo", "grpo"):
        return []
    picture = draw_alignment(read_run(last.folder).lines)
    return [Section(title="Curves", picture=picture, shows="Rewards, KL, entropy, length")]


def _answers_section(judged: Sequence[Judged], prompts: Sequence[Prompt]) -> Section:
    """The questions on which the models differ most are of more interest than the others."""
    differing = [i for i in range(len(prompts)) if len({one.answers[i] for one in judged}) > 1]
    chosen = (differing + [i for i in range(len(prompts)) if i not in differing])[:SHOWN]
    rows = [[prompts[i].question, *(one.answers[i] for one in judged)] for i in chosen]
    said = f"The models differ on {len(differing)} of {len(prompts)} questions."
    heads = ["question", *(one.name for one in judged)]
    return Section(title="The same questions", sentences=[said], heads=heads, rows=rows)


def _cost_section(stages: Mapping[str, Mapping[str, float]]) -> Section:
    rows = [
        [name, f"{one['steps']:.0f}", f"{one['seconds']:.0f}",
         f"{100 * one['sampling_share']:.0f}", f"{one['memory_mb']:.0f}"]
        for name, one in stages.items()
    ]  # fmt: skip
    heads = ["step", "steps", "seconds", "of which sampling, %", "memory, MB"]
    return Section(title="What it cost", heads=heads, rows=rows)
