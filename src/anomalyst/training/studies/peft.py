"""Parameter-efficient tuning side by side: the same model, data, steps; another method beside.

The stage is AnomalyGPT's: a language model that was told in words what the detector found shall
answer from the map alone. What shows it the map, the prompt learner, is trained in every row; the
rows differ in what of the language model is.
"""

import difflib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from anomalyst.config import from_mapping, to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.inspection.config import EMBEDDED_LANGUAGE
from anomalyst.io.files import make_folder, write_bytes, write_text
from anomalyst.synthetic.procedural import WorldConfig
from anomalyst.training.data.dialogues.drawn import DrawnConfig, write_drawn
from anomalyst.training.experiments.plots import draw_peft
from anomalyst.training.experiments.runs import read_run
from anomalyst.training.experiments.tables import PeftRow, peft_table
from anomalyst.training.loop import train
from anomalyst.training.optimization import make_optimizer
from anomalyst.training.studies.resuming import begin_study
from anomalyst.training.task import Share
from anomalyst.training.tasks.inspection_data import INTENTS
from anomalyst.training.tasks.instruction_data import InstructionSamples, kept_looks
from anomalyst.training.tasks.instructions import InstructionRecipe, InstructionTask
from anomalyst.training.tasks.tuning import METHODS
from anomalyst.vlm.huggingface.loading import load_model

RATE, RATE_OF_THE_WHOLE = 3e-3, 1e-3  # peaks, set by hand; the second where all weights move
NONE, ALONE = "none", "prompt_learner"
ROWS = (NONE, ALONE, *METHODS, "language")
SIDE_PX = 160
BATCH = 8
TIMED = 7  # steps, after one that makes things ready


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftStudy:
    """How much of everything; what decides the outcome."""

    methods: tuple[str, ...] = ROWS
    language: str = str(EMBEDDED_LANGUAGE)  # folder of a model that `initial` could be
    pictures: int = 400  # drawn; a fifth of them is held out
    steps: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for method in self.methods:
            if method not in ROWS:
                near = difflib.get_close_matches(method, ROWS, n=1, cutoff=0.0)[0]
                raise AnomalystError(
                    f"--method {method!r}: the nearest is {near!r} of {', '.join(ROWS)}."
                )

    def recipe(self, instructions: Path, method: str) -> InstructionRecipe:
        """The run of one method."""
        return InstructionRecipe(
            initial=self.language,
            instructions=str(instructions),
            train=(ALONE,) if method in (NONE, ALONE) else (ALONE, method),
            learning_rate=RATE_OF_THE_WHOLE if method == "language" else RATE,
            steps=self.steps,
            warmup_steps=max(1, self.steps // 20),
            held_out=0.2,
            validate_every=self.steps,
            validation_batches=max(1, self.pictures // 5 // BATCH),
            checkpoint_every=self.steps,
            seed=self.seed,
            batch=BATCH,
            side_px=SIDE_PX,
            precision="float32",
            weight_decay=0.0,
            ema_decay=0.0,
            workers=0,
            log_every=10,
            lora_rank=8,
            lora_alpha=16,
            lora_dropout=0.0,
        )


def study_peft(
    study: PeftStudy, out: Path, *, say: Callable[[str], None] = lambda _: None
) -> list[PeftRow]:
    """A row of each method; results.json, peft.md and peft.png in `out`; goes on where it stopped.

    Raises AnomalystError for a folder that holds another study.
    """
    make_folder(out)
    settings = to_mapping(study)
    del settings["methods"]  # which may change
    begin_study(out, settings)
    world = WorldConfig(size_px=SIDE_PX, references=(1, 1), anomalous_share=0.5)
    drawn = DrawnConfig(
        count=study.pictures,
        said="dialogues",
        turns=2,
        intents=INTENTS,  # every answer depends on whether there is a defect
        seed=study.seed,
        world=world,
    )
    instructions = write_drawn(out / "drawn", drawn)
    say(f"{study.pictures} pictures are drawn.")
    rows = [from_mapping(PeftRow, row) for row in _read(out / "results.json")]
    due = [name for name in study.methods if name not in {row.method for row in rows}]
    if due:
        _look_at_all(study.recipe(instructions, NONE), out)
        say("All pictures are looked at.")
    for method in due:
        row = _in_a_process(study.recipe(instructions, method), method, out / "runs" / method)
        rows = sorted([*rows, row], key=lambda one: ROWS.index(one.method))
        write_text(out / "results.json", json.dumps([asdict(r) for r in rows], indent=1) + "\n")
        say(f"{method}: {row.trained:,} trained, {row.right} of {row.asked} right")
    write_text(out / "peft.md", peft_table(rows))
    write_bytes(out / "peft.png", draw_peft(rows))
    return rows


def _read(path: Path) -> Sequence[dict[str, Any]]:
    if not path.is_file():
        return []
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _look_at_all(recipe: InstructionRecipe, out: Path) -> None:
    """See every picture once; the processes of the methods get what was seen."""
    task = InstructionTask(recipe, out)
    samples: InstructionSamples = task.samples
    for one in samples.entries:
        samples.shown(one)


def _in_a_process(recipe: InstructionRecipe, method: str, out: Path) -> PeftRow:
    """Each in a process of its own, so that its memory is its own."""
    handed = (recipe, method, out, dict(kept_looks()), torch.get_num_threads())
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_row, handed)


def _row(
    recipe: InstructionRecipe, method: str, out: Path, looks: dict[Any, Any], threads: int
) -> PeftRow:
    torch.set_num_threads(threads)
    kept_looks().update(looks)
    if method == NONE:
        return _untrained(recipe, out)
    train(recipe, out)
    run = read_run(out)
    trained = json.loads((out / "trained.json").read_text(encoding="utf-8"))
    counts = run.accuracy["held out"]
    return PeftRow(
        method=method,
        trained=trained["trained"],
        whole=trained["of"],
        learning_rate=recipe.learning_rate,
        seconds_per_step=_processor_seconds(InstructionTask(recipe, out)),
        memory_mb=max(line.get("memory_mb", 0.0) for line in run.lines),
        validation_loss=run.last("validation_loss") or 0.0,
        right=int(counts["right"]),
        neither=int(counts["neither"]),
        asked=int(counts["asked"]),
    )


@torch.no_grad()
def _untrained(recipe: InstructionRecipe, out: Path) -> PeftRow:
    """The model as it is, on the same questions."""
    make_folder(out)
    task = InstructionTask(recipe, out)
    task.model.eval()
    cpu = torch.device("cpu")
    batches = task.held_out(Share(), recipe.validation_batches)
    losses = [float(task.loss(batch, cpu)[0]) for batch in batches]
    counts = task.right_answers(load_model(Path(recipe.initial))[0])
    return PeftRow(
        method=NONE,
        trained=0,
        whole=task.whole,
        learning_rate=0.0,
        seconds_per_step=0.0,
        memory_mb=0.0,
        validation_loss=sum(losses) / len(losses),
        right=int(counts["right"]),
        neither=int(counts["neither"]),
        asked=int(counts["asked"]),
    )


def _processor_seconds(task: InstructionTask) -> float:
    """Of one step, forward, backward and optimizer; others may compute here, so no clock tells."""
    batch, cpu = next(iter(task.batches(0, Share()))), torch.device("cpu")
    trained = [p for p in task.model.parameters() if p.requires_grad]
    optimizer = make_optimizer(task.recipe, [{"params": trained}])
    seconds = []
    for _ in range(1 + TIMED):
        started = time.process_time()
        task.loss(dict(batch), cpu)[0].backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.process_time() - started)
    return statistics.median(seconds[1:])
