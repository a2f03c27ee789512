"""Whether a model can be dealt to so many processes, known before any of them starts."""

from anomalyst.errors import AnomalystError
from anomalyst.training.engine_names import MODEL_PARALLEL
from anomalyst.training.recipe import Divisible, Recipe


def check_division(recipe: Recipe, world: int) -> None:
    """Raises AnomalystError where the recipe's model cannot be dealt to `world` processes."""
    engine = recipe.engine
    if engine.name not in MODEL_PARALLEL:
        return
    model = recipe.divisible()
    if model is None:
        raise AnomalystError(
            f"--engine {engine.name}: task {recipe.task!r} cannot be dealt out layer by layer; "
            "task language can (recipes/parallel/), and --engine fsdp splits any."
        )
    if model.obstacles:
        raise AnomalystError(
            f"--engine {engine.name} spreads the model, which {model.obstacles[0]}."
        )
    if recipe.precision == "float16":
        raise AnomalystError(
            f"--engine {engine.name}: precision float16 needs a loss scale, which it does not "
            "have; say precision=bfloat16 or float32."
        )
    if engine.name == "tensor_pipeline" and world % engine.tensor_size:
        raise AnomalystError(
            f"--engine tensor_pipeline: {world} processes are no multiple of engine.tensor_size "
            f"{engine.tensor_size}; take {engine.tensor_size} times the number of stages."
        )
    _check_tensor(model, engine.name, engine.tensor_processes(world))
    if engine.name == "sequence":
        for what in ("heads", "kv_heads"):
            _divides(what, getattr(model, what), world, "--engine sequence")
    _check_stages(recipe, model, world)
    if engine.name == "expert":
        if not model.experts:
            raise AnomalystError(
                "--engine expert: the model has no experts to deal out; say model.experts=4, or "
                "take recipes/parallel/experts.yaml."
            )
        _divides("experts", model.experts, world, "--engine expert")
    elif model.experts:
        raise AnomalystError(
            f"--engine {engine.name}: a mixture of experts is dealt out by --engine expert only; "
            "take that, or model.experts=0."
        )


def _check_tensor(model: Divisible, engine: str, processes: int) -> None:
    for what in ("heads", "kv_heads", "hidden"):
        _divides(what, getattr(model, what), processes, f"--engine {engine}")


def _check_stages(recipe: Recipe, model: Divisible, world: int) -> None:
    engine, stages = recipe.engine, recipe.engine.stages(world)
    parts = engine.parts_of_layers(world)
    _divides("layers", model.layers, parts, f"--engine {engine.name}", "parts")
    count = recipe.parts(1)
    if stages > 1 and engine.order != "gpipe" and count < stages:
        raise AnomalystError(
            f"--engine {engine.name}: a step has {count} micro-batch{'es' * (count > 1)} for "
            f"{stages} stages, and {engine.order} needs as many at least; say micro_batch="
            f"{max(1, recipe.batch // (2 * stages))}."
        )
    rounds = max(1, count // stages)
    if engine.order == "interleaved" and stages > 1 and count % rounds:
        raise AnomalystError(
            f"--engine {engine.name}: interleaved deals out {count} micro-batches in {rounds} "
            f"equal rounds; take a multiple of {stages} of them, by batch and micro_batch."
        )


def _divides(what: str, count: int, by: int, engine: str, whom: str = "processes") -> None:
    if count % by:
        fitting = [n for n in range(1, count + 1) if count % n == 0]
        raise AnomalystError(
            f"{engine}: {by} {whom} do not divide the model's {count} {what}; take "
            f"{', '.join(map(str, fitting[:6]))}{' ...' if len(fitting) > 6 else ''}, or another "
            f"model.{what}."
        )
