"""Where the figures of a run also go: TensorBoard, MLflow, Weights & Biases."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anomalyst.config import to_mapping
from anomalyst.errors import AnomalystError
from anomalyst.training.recipe import Recipe, Tracker

Track = Callable[[int, Mapping[str, float]], None]


def open_trackers(recipe: Recipe, out: Path) -> list[Track]:
    """One function per tracker of the recipe, to be called with a step and its figures."""
    makers = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}
    return [makers[name](recipe, out) for name in recipe.trackers]


def check_trackers(names: tuple[Tracker, ...]) -> None:
    """Raises AnomalystError for one that is not installed."""
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise AnomalystError(
                f"trackers: {name} is not installed; `pip install 'anomalyst[{name}]'`, or leave "
                "it out: log.jsonl and summary.html are always written."
            )


def _tensorboard(recipe: Recipe, out: Path) -> Track:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(out / "tensorboard"))
    writer.add_text("recipe", f"`{to_mapping(recipe)}`")

    def track(step: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return track


def _mlflow(recipe: Recipe, out: Path) -> Track:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{(out / 'mlflow.db').resolve()}")
    mlflow.start_run(run_name=out.name)
    mlflow.log_params({k: str(v)[:250] for k, v in to_mapping(recipe).items()})
    return lambda step, figures: mlflow.log_metrics(dict(figures), step=step)


def _wandb(recipe: Recipe, out: Path) -> Track:
    import wandb

    run = wandb.init(project="anomalyst", name=out.name, dir=str(out), config=to_mapping(recipe))
    return lambda step, figures: run.log(dict(figures), step=step)
