"""`anomalyst align`: learn from what people corrected and ranked."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml
from typer import Argument, Option

from anomalyst.cli import options as opt
from anomalyst.cli.screen import needs, say, user_name
from anomalyst.cli.training.train import Processes, launch
from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.io.files import write_text

if TYPE_CHECKING:
    from anomalyst.training.alignment.stages import Plan, Stage


@opt.grouped
def align(
    words: Annotated[
        list[str] | None,
        Argument(
            metavar="[STORE] [STAGE.key=value...]",
            help="A workbench's home or a file of rankings, and changes to the recipes.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[Path, Option(metavar="DIR", help="Where all steps go.")] = Path("runs/align"),
    method: Annotated[Literal["ppo", "grpo", "dpo"], Option(help="What step 3 is.")] = "ppo",
    reward: Annotated[
        Literal["auto", "verifiable", "learned", "both"],
        Option(help="What step 3 is after; auto: both, where enough answers are ranked."),
    ] = "auto",
    initial: Annotated[
        Path | None,
        Option(metavar="DIR", help="The model to begin with.", show_default="the live one"),
    ] = None,
    recipes: opt.AlignRecipes = Path("recipes"),
    product: Annotated[str | None, Option(metavar="NAME", help="Only what was said of it.")] = None,
    database: opt.Database = None,
    propose: Annotated[
        bool, Option("--propose/--keep", help="Let the new model go live if it passes the gate.")
    ] = True,
    fresh: Annotated[bool, Option("--fresh/--resume", help="Start over, or continue.")] = False,
    engine: Annotated[
        Literal["single", "ddp", "fsdp", "deepspeed", "horovod"] | None,
        Option(help="How it is spread.", show_default="the recipes', or single"),
    ] = None,
    processes: Processes,
) -> None:
    """Learn from corrections: SFT, a reward model and PPO (or GRPO, DPO), one after the other.

    STORE is the home of a workbench or a file that `store preferences --form rankings` wrote; with
    a home, the new model goes live if it is no worse on the frozen gate. Without STORE nobody is
    needed: the reward is what can be verified in the facts. Each step is a recipe of its own; the
    same command goes on where it stopped. Writes align.html.

    Example: anomalyst align workbench --out runs/align

    Nobody needed: anomalyst align ppo.steps=40 --method grpo --out runs/verifiable
    """
    needs("train", "matplotlib", "peft", "psutil")
    from anomalyst.inspection.config import EMBEDDED_LANGUAGE
    from anomalyst.training.alignment.page import write_report
    from anomalyst.training.alignment.stages import AlignConfig, plan_stages

    store, changes = _read(words or [])
    preferences = _preferences(store, out, product, database, fresh=fresh) if store else None
    start_from = initial or _live(store, out, fresh=fresh)
    config = AlignConfig(
        method=method,
        reward=reward,
        initial=str(start_from or ""),
        recipes=recipes,
        overrides=tuple(changes),
    )
    plan = plan_stages(config, preferences, out)
    for note in plan.notes:
        say(f"Note: {note}")
    stopped = _run(plan, out, engine, processes, fresh=fresh)
    figures = write_report(plan, start_from or EMBEDDED_LANGUAGE, out)
    model = plan.stages[-1].model
    _show(figures, model, out)
    if stopped:
        raise AnomalystError(f"{stopped} The model above is of the last checkpoint, not proposed.")
    if store and store.is_dir() and propose:
        _propose(store, model, database)


def _read(words: list[str]) -> tuple[Path | None, list[str]]:
    """STORE, if there is one, and the changes."""
    if words and ("=" not in words[0] or Path(words[0]).exists()):
        return Path(words[0]), words[1:]
    return None, words


def _preferences(
    store: Path, out: Path, product: str | None, database: str | None, *, fresh: bool
) -> Path:
    """The rankings to learn from; of a home they are exported once, so that a run can go on."""
    if store.is_file():
        if product or database:
            raise AnomalystError(
                f"{store}: is a file of rankings; --product and --database are of a workbench."
            )
        return store
    if not store.is_dir():
        raise AnomalystError(
            f"{store}: there is no such workbench; give the home of one (`anomalyst serve --home`) "
            "or a file of rankings."
        )
    needs("serve", "sqlalchemy")
    from anomalyst.server.config import ServingConfig
    from anomalyst.server.storage.preferences import LeftOut, export_for_training
    from anomalyst.server.storage.store import Store

    config = ServingConfig(home=store, database=database)
    if database is None and not (store / "anomalyst.db").is_file():
        raise AnomalystError(
            f"{store}: holds no anomalyst.db, so it is no workbench's home; give --database if its "
            "record is elsewhere."
        )
    path = out / "data" / "rankings.jsonl"
    if path.is_file() and not fresh:
        say(f"Goes on with the corrections in {path}; --fresh, or another --out, takes newer ones.")
        return path
    left = LeftOut()
    export_for_training(Store.open(config), out / "data", product, left)
    say(f"Corrections: {path}{left}")
    return path


def _live(store: Path | None, out: Path, *, fresh: bool) -> Path | None:
    """The model that answers in a workbench; of a run that goes on, the one that did then."""
    path = out / "initial.json"
    if not store or not store.is_dir():
        return None
    if path.is_file() and not fresh:
        return Path(json.loads(path.read_text(encoding="utf-8")))
    from anomalyst.server.language.versions import live_folder

    live = live_folder(store)
    write_text(path, json.dumps(str(live)) + "\n")
    return live


def _run(plan: "Plan", out: Path, engine: str | None, processes: Processes, *, fresh: bool) -> str:
    """Each step by its own recipe, OUT/STEP.yaml; why the last one was stopped, if it was."""
    from anomalyst.training.alignment.stages import to_be_run
    from anomalyst.training.monitor.training_monitor import TrainingStopped

    stages = [_spread(one, engine) for one in plan.stages]
    left = {one.name for one in stages}
    for stage, anew in to_be_run(stages, fresh=fresh):
        left.discard(stage.name)
        path = out / f"{stage.name}.yaml"
        write_text(path, yaml.safe_dump(to_mapping(stage.recipe), sort_keys=False))
        words = ["train", str(path), "--out", str(stage.folder)]
        try:
            launch(stage.recipe, stage.folder, processes, words, fresh=anew)
        except TrainingStopped as error:
            if not stage.model.is_dir():
                raise
            return str(error)
    for name in sorted(left):
        say(f"{name}: done before.")
    return ""


def _show(figures: Mapping[str, Any], model: Path, out: Path) -> None:
    """The models beside one another, and where the last one and the page are."""
    for one in figures["models"]:
        typer.echo(
            f"{one['name']:<7} verifiable reward {one['verifiable']:.3f}, all right "
            f"{100 * one['right']:.1f} %, contradicting {100 * one['contradicting']:.1f} %, "
            f"{one['words']:.1f} words"
        )
    typer.echo(f"Model: {model}")
    typer.echo(f"Page: {out / 'align.html'}")


def _propose(store: Path, model: Path, database: str | None) -> None:
    """Let it go live if it is no worse; the command ends with 1 if it is kept aside."""
    from anomalyst.cli.server.models import propose_model, show_proposal

    found = propose_model(store, model, user_name(), database=database)
    show_proposal(found)
    if not found.decision.passes:
        raise typer.Exit(1)


def _spread(stage: "Stage", engine: str | None) -> "Stage":
    """A step on an engine; its recipe's own where none is named."""
    if engine is None:
        return stage
    spread = replace(stage.recipe.engine, name=engine)  # type: ignore[arg-type]
    return replace(stage, recipe=replace(stage.recipe, engine=spread))
