"""Alignment with simulated inspectors of a known taste: does the model come to what they like?

For each taste: corrections -> SFT; answers sampled from it are ranked, some comparisons the wrong
way -> reward model -> PPO and GRPO, and DPO from the same pairs. A second round samples and ranks
the answers of the first round's PPO. All are judged by the taste itself on held-out questions.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.hardware.processor import checked_choice
from anomalyst.inspection.config import EMBEDDED_LANGUAGE
from anomalyst.io.files import make_folder, write_text
from anomalyst.training.alignment.judging import (
    Judged,
    held_out_prompts,
    judge,
    learned_scores,
    win_rate,
)
from anomalyst.training.alignment.preferences import load_preferences
from anomalyst.training.alignment.prompts import DrawnPrompts, Prompt, training_looks
from anomalyst.training.alignment.rollouts import TOGETHER, replies
from anomalyst.training.alignment.stages import METHODS, AlignConfig, Plan, plan_stages, to_be_run
from anomalyst.training.alignment.verifiable import verify
from anomalyst.training.data.feature_cache import FeatureCacheRecipe, read_features
from anomalyst.training.data.preferences.simulated import SimulatedConfig, judged_by
from anomalyst.training.data.preferences.tastes import TASTES, check_taste, liking
from anomalyst.training.loop import train
from anomalyst.training.monitor.log import LogCallback
from anomalyst.training.monitor.training_monitor import TrainingStopped
from anomalyst.training.studies.resuming import begin_study
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.alignment.reward_model import RewardRecipe
from anomalyst.vlm.huggingface.loading import load_model
from anomalyst.vlm.preferences import Ranking, read_rankings, write_rankings

SAMPLED_SEED = 1 << 45  # nothing else is drawn from these
SHOWN = 4  # answers that are ranked beside one another
SAMPLED = 6  # answers to each question, of which those are shown that go against nothing
LONGEST = 80  # tokens of a sampled answer


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignmentStudy:
    """Who ranks what, and how long is trained."""

    tastes: tuple[str, ...] = TASTES
    methods: tuple[str, ...] = METHODS
    corrections: int = 200  # answers that an inspector words better, a round
    rankings: int = 500  # questions of which four sampled answers are ranked, a round
    noise: float = 0.1  # share of comparisons that come out the wrong way
    rounds: int = 1  # of PPO: collect, reward, PPO, again
    questions: int = 200  # held out, to judge on
    initial: str = ""  # the model to begin with; empty: the shipped one
    looks: str = ""  # features of drawn pictures; empty: made in the study's folder
    episodes: int = 250
    seed: int = 0
    recipes: Path = Path("recipes")
    overrides: tuple[str, ...] = ()  # of the recipes: stage.key=value

    def __post_init__(self) -> None:
        for taste in self.tastes:
            check_taste(taste)
        for method in self.methods:
            checked_choice("--method", method, METHODS)
        if self.rounds > 1 and "ppo" not in self.methods:
            raise AnomalystError("rounds are of PPO; add --method ppo.")


@dataclass(frozen=True, slots=True)
class TasteResult:
    """What came of one inspector."""

    taste: str
    reward: Mapping[str, Any]  # reward.json of the last round, and accuracy by the true taste
    models: Mapping[str, Mapping[str, float]]  # name -> figures of `Judged`
    wins: Mapping[str, float]  # method -> share of questions won against SFT, ties half
    stopped: Mapping[str, str] = field(default_factory=dict)  # run -> why the monitor ended it


def run_alignment_study(
    study: AlignmentStudy,
    out: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
    on_log: Callable[[str], LogCallback] = lambda _: lambda _: None,
) -> list[TasteResult]:
    """Everything that is not there yet, in OUT/TASTE; each taste's figures are kept as JSON."""
    begin_study(out, to_mapping(study))
    recipe = FeatureCacheRecipe(looks=study.looks or str(out / "looks"), episodes=study.episodes)
    looks = read_features(recipe.feature_folder(out))
    held = held_out_prompts(looks, study.questions, turns=1)
    drawn = DrawnPrompts(training_looks(looks))
    found = []
    for taste in study.tastes:
        folder = out / taste
        path = folder / "result.json"
        if not path.is_file():
            say(f"{taste}: corrections, SFT, rankings, reward, {', '.join(study.methods)}")
            inspector = _Inspector(study, taste, folder, drawn, Path(recipe.looks), on_log)
            result = inspector.run(held)
            write_text(path, json.dumps(asdict(result), indent=1) + "\n")
        found.append(TasteResult(**json.loads(path.read_text(encoding="utf-8"))))
    return found


class _Inspector:
    """One simulated inspector and the models that learn from her."""

    def __init__(
        self,
        study: AlignmentStudy,
        taste: str,
        folder: Path,
        drawn: DrawnPrompts,
        looks: Path,
        on_log: Callable[[str], LogCallback],
    ):
        self.study, self.taste, self.folder = study, taste, folder
        self.drawn, self.looks, self.on_log = drawn, looks, on_log
        self.stopped: dict[str, str] = {}
        make_folder(folder)

    def run(self, held: Sequence[Prompt]) -> TasteResult:
        """All stages; then every model on the held-out questions."""
        initial = Path(self.study.initial) if self.study.initial else EMBEDDED_LANGUAGE
        models = {"before": initial, "sft": self.corrected(initial)}
        data = self.ranked(models["sft"], 1)
        for method in self.study.methods:
            models[method] = self.aligned(method, models["sft"], data, 1)
        for number in range(2, self.study.rounds + 1):
            before = models["ppo"] if number == 2 else models[f"ppo, round {number - 1}"]
            data = self.ranked(before, number)
            models[f"ppo, round {number}"] = self.aligned("ppo", before, data, number)
        judged = {name: judge(name, model, held) for name, model in models.items()}
        return TasteResult(
            taste=self.taste,
            reward=self._reward(),
            models={name: self._figures(one, held) for name, one in judged.items()},
            wins={
                name: win_rate(one.answers, judged["sft"].answers, held, self.likes)
                for name, one in judged.items()
                if name not in ("before", "sft")
            },
            stopped=self.stopped,
        )

    def _reward(self) -> dict[str, Any]:
        """What became of the first reward model, and the noise in what it learnt from."""
        path = self.folder / "round-1" / "reward" / "model" / "reward.json"
        if not path.is_file():
            return {}
        noise = json.loads((self.folder / "rankings-1.noise.json").read_text(encoding="utf-8"))
        told = json.loads(path.read_text(encoding="utf-8"))
        counts = {f"ranked_{name}": count for name, count in noise.items()}
        return dict(told) | counts | {"accuracy_by_taste": self._accuracy_by_taste(path.parent)}

    def _accuracy_by_taste(self, model: Path) -> float:
        """Of the held-out pairs that are the right way round by her taste, those ranked right."""
        asked = {one.id: one for n, count in ((0, self.study.corrections), (1, self.study.rankings))
                 for one in self._prompts(n, count)}  # fmt: skip
        recipe = load_recipe(self.study.recipes / "reward.yaml", [])
        assert isinstance(recipe, RewardRecipe)
        held = load_preferences(self.folder / "rankings-1.jsonl", recipe.held_out).held_out
        pairs = [
            (asked[ranking.inspection], pair)
            for ranking, _ in held
            for pair in ranking.pairs()
            if self.likes(asked[ranking.inspection], pair.chosen)
            > self.likes(asked[ranking.inspection], pair.rejected)
        ]
        prompts = [prompt for prompt, _ in pairs]
        better = learned_scores(model, prompts, [pair.chosen for _, pair in pairs])
        worse = learned_scores(model, prompts, [pair.rejected for _, pair in pairs])
        return sum(a > b for a, b in zip(better, worse, strict=True)) / max(1, len(pairs))

    def likes(self, prompt: Prompt, text: str) -> float:
        """How much she likes an answer."""
        assert prompt.intent is not None
        return liking(self.taste, text, prompt.intent, prompt.facts)

    def _figures(self, one: Judged, held: Sequence[Prompt]) -> dict[str, float]:
        liked = sum(self.likes(p, t) for p, t in zip(held, one.answers, strict=True)) / len(held)
        return {k: v for k, v in asdict(one).items() if k not in ("name", "answers")} | {
            "liked": liked
        }

    def corrected(self, initial: Path) -> Path:
        """The model after SFT on what she would rather have read."""
        path = self.folder / "corrections.jsonl"
        if not path.is_file():
            prompts = self._prompts(0, self.study.corrections)
            said = _sampled(initial, prompts, 1, seed=self.study.seed)
            write_rankings(path, self._judged(prompts, said, rewordings=1.0))
        plan = self._plan("ppo", str(initial), path, self.folder, reward="verifiable")
        stage = plan.named("sft")
        if stage is None:
            raise AnomalystError(f"{path}: holds no correction; raise `corrections`.")
        self._train(Plan([stage], ()))
        return stage.model

    def ranked(self, model: Path, number: int) -> Path:
        """Her rankings of answers sampled from a model, with those of the rounds before."""
        path = self.folder / f"rankings-{number}.jsonl"
        if path.is_file():
            return path
        prompts = self._prompts(number, self.study.rankings)
        # As on the pages, she is shown only what does not go against the facts.
        sampled = _sampled(model, prompts, SAMPLED, seed=self.study.seed + number)
        said = [
            _distinct_and_true(prompt, texts)
            for prompt, texts in zip(prompts, sampled, strict=True)
        ]
        kept = self._judged(prompts, said, rewordings=0.0)
        write_text(path.with_suffix(".noise.json"), json.dumps(self._gone_wrong(kept, prompts)))
        before = self.folder / (
            f"rankings-{number - 1}.jsonl" if number > 1 else "corrections.jsonl"
        )
        write_rankings(path, [*read_rankings(before), *kept])
        return path

    def _gone_wrong(self, rows: Sequence[Ranking], prompts: Sequence[Prompt]) -> dict[str, int]:
        """How many of the pairs are the wrong way round by her taste."""
        asked = {one.id: one for one in prompts}
        pairs = wrong = 0
        for row in rows:
            prompt = asked[row.inspection]
            for pair in row.pairs():
                pairs += 1
                wrong += self.likes(prompt, pair.chosen) < self.likes(prompt, pair.rejected)
        return {"pairs": pairs, "wrong": wrong}

    def aligned(self, method: str, start: Path, data: Path, number: int) -> Path:
        """The model after a method, from one that was corrected; the reward model is shared."""
        out = self.folder / f"round-{number}"
        # DPO has no reward: it learns from the pairs themselves.
        reward = "auto" if method == "dpo" else "both"
        plan = self._plan(method, str(start), data, out, reward=reward)
        stages = [one for one in plan.stages if one.name != "sft"]
        if not stages:
            raise AnomalystError(f"{data}: holds too few pairs for {method}; raise `rankings`.")
        stages = [replace(one, recipe=replace(one.recipe, initial=str(start))) for one in stages]
        self._train(Plan(stages, plan.notes))
        return stages[-1].model

    def _plan(self, method: str, initial: str, data: Path, out: Path, *, reward: Any) -> Plan:
        config = AlignConfig(
            method=method,  # type: ignore[arg-type]
            reward=reward,
            initial=initial,
            recipes=self.study.recipes,
            overrides=tuple(self._changes(method)),
        )
        return plan_stages(config, data, out)

    def _changes(self, method: str) -> Iterator[str]:
        """What is changed of the steps that a method has."""
        for name in ("sft", *({method} & {"ppo", "grpo"})):
            yield f"{name}.looks={self.looks}"
            yield f"{name}.episodes={self.study.episodes}"
        for one in self.study.overrides:
            if one.partition(".")[0] not in set(METHODS) - {method}:
                yield one

    def _train(self, plan: Plan) -> None:
        for stage, anew in to_be_run(plan.stages):
            name = f"{self.taste} {stage.folder.relative_to(self.folder)}"
            try:
                train(stage.recipe, stage.folder, resume=not anew, on_log=self.on_log(name))
            except TrainingStopped as error:  # judged as it was at its last checkpoint
                self.stopped[str(stage.folder.relative_to(self.folder))] = str(error)
                if not stage.model.is_dir():
                    raise

    def _prompts(self, number: int, count: int) -> list[Prompt]:
        seeds = (SAMPLED_SEED, self.study.seed, TASTES.index(self.taste), number)
        drawn = (self.drawn.draw(np.random.default_rng((*seeds, i))) for i in range(count))
        return [replace(one, id=f"drawn-{number}-{i}") for i, one in enumerate(drawn)]

    def _judged(
        self, prompts: Sequence[Prompt], said: Sequence[Sequence[str]], *, rewordings: float
    ) -> list[Ranking]:
        config = SimulatedConfig(noise=self.study.noise, rewordings=rewordings)
        rng = np.random.default_rng((SAMPLED_SEED, self.study.seed))
        return [
            row
            for prompt, answers in zip(prompts, said, strict=True)
            for row in judged_by(self.taste, prompt, answers, self.folder, config, rng)
        ]


def _distinct_and_true(prompt: Prompt, texts: Sequence[str]) -> list[str]:
    """The first `SHOWN` different answers that go against nothing."""
    assert prompt.intent is not None
    kept = (
        text
        for text in dict.fromkeys(texts)
        if text and not verify(text, prompt.intent, prompt.facts, look=prompt.look).contradictions
    )
    return list(islice(kept, SHOWN))


def _sampled(model: Path, prompts: Sequence[Prompt], each: int, *, seed: int) -> list[list[str]]:
    """`each` answers of a model to every prompt; a single one is the likeliest."""
    speaker, processor = load_model(model)
    said = replies(
        speaker,
        processor,
        [one for one in prompts for _ in range(each)],
        tokens=LONGEST,
        temperature=float(each > 1),
        generator=torch.Generator().manual_seed(seed),
        together=each * max(1, TOGETHER // each),  # the answers to a question beside one another
    )
    return [[one.text for one in said[i : i + each]] for i in range(0, len(said), each)]
