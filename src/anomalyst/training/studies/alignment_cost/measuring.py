"""SFT, reward model and PPO run for a few steps each, for actors of several sizes."""

import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import torch
from safetensors import safe_open

from anomalyst.backbones.huggingface import quiet
from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.inspection.config import EMBEDDED_LANGUAGE
from anomalyst.io.files import folder_written_whole, make_folder, write_text
from anomalyst.training.alignment.prompts import training_looks
from anomalyst.training.alignment.stages import AlignConfig, Stage, plan_stages, to_be_run
from anomalyst.training.data.feature_cache import FeatureCacheRecipe, read_features
from anomalyst.training.data.preferences.simulated import SimulatedConfig, simulate
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.loop import train
from anomalyst.training.recipe import Recipe
from anomalyst.training.studies.resuming import begin_study
from anomalyst.training.tasks import load_recipe
from anomalyst.training.tasks.language import LanguageModelConfig, model_config
from anomalyst.vlm.huggingface import AnomalystModel, AnomalystProcessor
from anomalyst.vlm.preferences import write_rankings

SHIPPED = "shipped"
HEAD = 32  # numbers of an attention head


@dataclass(frozen=True, slots=True, kw_only=True)
class CostStudy:
    """What is run."""

    steps: int = 6  # of each stage; the first is not timed
    widths: tuple[int, ...] = (128, 512)  # of actors beside the shipped one, with random weights
    questions: int = 150  # that simulated inspectors rank
    looks: str = ""  # folder of looks; empty: OUT/looks
    episodes: int = 250
    recipes: Path = Path("recipes")
    overrides: tuple[str, ...] = ()  # stage.key=value

    def __post_init__(self) -> None:
        for width in self.widths:
            if width < 2 * HEAD or width % (2 * HEAD):
                raise AnomalystError(
                    f"--width {width}: a multiple of {2 * HEAD} is needed, as in --width 128."
                )
        if self.steps < 3:
            raise AnomalystError(f"--steps {self.steps}: 3 or more are needed to time two of them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """One stage of one actor: medians over its steps but the first."""

    actor: str
    stage: str
    parameters: int  # of what is trained
    seconds: float  # of a step
    generating: float  # of these: answers sampled, scored and judged
    samples: float  # a second: dialogues, pairs or answers
    tokens: float  # a second: of PPO those said, else all
    memory_mb: float  # of its process, at its peak
    cpu_percent: float  # of a core that it had: far below its threads, others computed meanwhile


def measure_costs(
    study: CostStudy, out: Path, *, say: Callable[[str], None] = lambda _: None
) -> list[StageCost]:
    """Every stage of every actor, run unless it is there; OUT/costs.json.

    Raises AnomalystError for a folder that holds another study.
    """
    _refuse_wrong_words(study)
    make_folder(out)
    begin_study(out, to_mapping(study))
    looks = FeatureCacheRecipe(looks=study.looks, episodes=study.episodes).feature_folder(out)
    say("All pictures are looked at.")
    preferences = _preferences(study, looks, out / "preferences")
    found = []
    for name, initial in _actors(study, out):
        config = AlignConfig(
            initial=str(initial), recipes=study.recipes, overrides=(*_words(study, looks),)
        )
        stages = plan_stages(config, preferences, out / "runs" / name).stages
        for stage, _ in to_be_run(stages):
            _in_a_process(stage)
        for stage in stages:
            found.append(cost_of(name, stage))
            say(f"{name}, {stage.name}: {found[-1].seconds:.2f} s a step")
    write_text(out / "costs.json", json.dumps([asdict(one) for one in found], indent=1) + "\n")
    return found


def _refuse_wrong_words(study: CostStudy) -> None:
    """Before anything is looked at. Raises AnomalystError."""
    plan_stages(AlignConfig(recipes=study.recipes, overrides=study.overrides), None, Path())
    for stage in ("sft", "reward"):
        words = [one for one in study.overrides if one.startswith(f"{stage}.")]
        path = study.recipes / f"{stage}.yaml"
        load_recipe(path, [one.removeprefix(f"{stage}.") for one in words])


def _words(study: CostStudy, looks: Path) -> Iterator[str]:
    """The recipes as they are, but short, written down at every step, and unwatched.

    An answer is trained on once, as in the setting that is projected; what is read is written in
    the process that is timed.
    """
    for stage in ("sft", "reward", "ppo"):
        for word in ("log_every=1", "warmup_steps=1", "validate_every=0", "watch.every=0",
                     "workers=0", f"steps={study.steps}",
                     f"checkpoint_every={study.steps}"):  # fmt: skip
            yield f"{stage}.{word}"
    yield from (f"{stage}.watch.probe_every=0" for stage in ("sft", "ppo"))
    yield from (f"{stage}.looks={looks}" for stage in ("sft", "ppo"))
    yield "ppo.epochs=1"
    yield from study.overrides


def _preferences(study: CostStudy, looks: Path, folder: Path) -> Path:
    """Rankings by simulated inspectors."""
    path = folder / "rankings.jsonl"
    if not path.exists():
        seen = training_looks(read_features(looks))
        write_rankings(path, simulate(seen, folder, SimulatedConfig(count=study.questions)))
    return path


def _actors(study: CostStudy, out: Path) -> Iterator[tuple[str, Path]]:
    """The smaller ones first."""
    for width in sorted(study.widths):
        folder = out / "actors" / f"width-{width}"
        if not folder.exists():
            _write_actor(folder, width)
        yield folder.name, folder
    yield SHIPPED, EMBEDDED_LANGUAGE


def _write_actor(folder: Path, width: int) -> None:
    """A LLaMA of random weights, as deep as the shipped model and with its tokenizer."""
    torch.manual_seed(0)
    shape = LanguageModelConfig(
        width=width, heads=width // HEAD, kv_heads=width // HEAD // 2, hidden=11 * width // 4
    )
    processor = AnomalystProcessor.from_pretrained(EMBEDDED_LANGUAGE, local_files_only=True)
    with folder_written_whole(folder) as part, quiet():
        AnomalystModel(model_config(shape, processor.tokenizer)).save_pretrained(part)
        processor.save_pretrained(part)


def _in_a_process(stage: Stage) -> None:
    """Each in a process of its own, so that its memory is its own."""
    with get_context("spawn").Pool(1) as pool:
        pool.apply(_train, (stage.recipe, stage.folder, torch.get_num_threads()))


def _train(recipe: Recipe, folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    train(recipe, folder)


def cost_of(actor: str, stage: Stage) -> StageCost:
    """What a run's log says."""
    lines = read_run(stage.folder).lines[1:]
    return StageCost(
        actor=actor,
        stage=stage.name,
        parameters=parameters(stage.model),
        seconds=_median(lines, "seconds_per_step"),
        generating=_median(lines, "generating_seconds"),
        samples=_median(lines, "samples_per_second"),
        tokens=_median(lines, "tokens_per_second"),
        memory_mb=max(line["memory_mb"] for line in lines),
        cpu_percent=_median(lines, "cpu_percent"),
    )


def _median(lines: Sequence[Mapping[str, float]], figure: str) -> float:
    """Of the steps that have it; 0 where none has."""
    return statistics.median([line[figure] for line in lines if figure in line] or [0.0])


def parameters(model: Path) -> int:
    """Of a saved model."""
    total = 0
    for path in model.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            total += sum(math.prod(file.get_slice(key).get_shape()) for key in file.keys())  # noqa: SIM118
    return total


def generation_efficiency(costs: Sequence[StageCost], actor: str) -> float:
    """FLOP/s of PPO's generation over those of its training.

    A round samples by the actor, and scores by actor, reference and reward model; its critic is a
    head on the actor's states. So (6 N + 2 R) T FLOPs against 6 N T, of which T tokens fall out.
    """
    of = {one.stage: one for one in costs if one.actor == actor}
    ppo, reward = of["ppo"], of["reward"]
    work = 1 + reward.parameters / (3 * ppo.parameters)
    return work * (ppo.seconds - ppo.generating) / ppo.generating
