"""DeepSpeed: optimizer state, gradients or weights split over the processes (ZeRO 0 to 3)."""

import importlib.util
import json
import logging
import math
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from anomalyst.errors import AnomalystError
from anomalyst.training.distributed.ranks import RankContext
from anomalyst.training.engines.base import (
    EngineSetup,
    GroupEngine,
    StepResult,
    trained_state,
    with_plain_strides,
)
from anomalyst.training.optimization import make_optimizer
from anomalyst.training.recipe import EngineConfig


class DeepSpeedEngine(GroupEngine):
    """ZeRO (Rajbhandari et al. 2020); accumulation, clipping and loss scale are its own."""

    name = "deepspeed"

    def __init__(self, context: RankContext):
        if not torch.cuda.is_available():
            os.environ.setdefault("DS_ACCELERATOR", "cpu")
            # It builds what it sends with, by the ninja that came with it.
            os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        for name in ("rank", "world", "local_rank"):  # srun does not set them
            variable = {"world": "WORLD_SIZE"}.get(name, name.upper())
            os.environ.setdefault(variable, str(getattr(context, name)))
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        super().__init__(context)

    def prepare(self, task: nn.Module, setup: EngineSetup) -> None:
        """Hand the module to DeepSpeed; refuses a stage it did not take."""
        import deepspeed

        self.task, self.setup, self.scale = with_plain_strides(task.to(self.device)), setup, None
        config = deepspeed_config(setup)
        # It cannot send a single number; as a row of one it can.
        self.single = {n for n, p in task.named_parameters() if p.ndim == 0}
        for name in self.single:
            task.get_parameter(name).data = task.get_parameter(name).data[None]
        self.trained = [p for p in task.parameters() if p.requires_grad]
        own = "optimizer" in config
        groups = [{"params": self.trained}]
        self.wrapped, self.optimizer, _, _ = deepspeed.initialize(
            model=task,
            model_parameters=self.trained,
            optimizer=None if own else make_optimizer(setup.recipe, groups),
            config=config,
            dist_init_required=False,
        )
        assert type(self.wrapped).__name__ == "DeepSpeedEngine"
        stage = config["zero_optimization"]["stage"]
        assert self.wrapped.zero_optimization_stage() == stage, "another ZeRO stage"
        self.stage = stage

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """DeepSpeed divides by the accumulation itself and counts its micro-batches."""
        self.wrapped.backward(loss)
        if not last:
            self.wrapped.step()

    def step(self, learning_rate: float) -> StepResult:
        """One step of the optimizer."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        skipped_before = self.wrapped.skipped_steps
        plain = self._norm() if self.stage == 0 else 0.0  # ZeRO-0 in float32 does not say it
        self.wrapped.step()
        norm = float(self.wrapped.get_global_grad_norm() or plain)
        return StepResult(
            norm,
            float(self.optimizer.param_groups[0]["lr"]),
            float(getattr(self.optimizer, "cur_scale", 1.0) or 1.0),
            self.wrapped.skipped_steps > skipped_before or not math.isfinite(norm),
        )

    def squared_norms(self, groups: Mapping[str, list[str]]) -> dict[str, float]:
        """Gathered one parameter at a time: slow, so only on watched steps."""
        from deepspeed.utils import safe_get_full_grad

        by_name = dict(self.task.named_parameters())
        found = {}
        for name, members in groups.items():
            given = [g for m in members if (g := safe_get_full_grad(by_name[m])) is not None]
            found[name] = float(sum(g.float().pow(2).sum() for g in given))
        return found

    def state(self) -> dict[str, Tensor]:
        """Whole weights, or this process's part of each under ZeRO-3."""
        if self.stage < 3:
            return super().state()
        parameters: dict[str, Any] = dict(self.task.named_parameters())  # with a ds_tensor
        parts = {n: p.ds_tensor for n, p in parameters.items() if p.requires_grad}
        held = trained_state(self.task)
        return {name: parts.get(name, value) for name, value in held.items()}

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Put the parts of ZeRO-3 together; every process calls."""
        if self.stage < 3:
            return {n: v[0] if n in self.single else v for n, v in super().whole(tensors).items()}
        by_name: dict[str, Any] = dict(self.task.named_parameters())  # with a ds_shape
        found = {}
        for name, value in tensors.items():
            if name not in by_name:
                found[name] = value.detach().to("cpu")
                continue
            parts = [torch.empty_like(value) for _ in range(self.world)]
            dist.all_gather(parts, value.detach().contiguous())
            shape = by_name[name].ds_shape
            whole = torch.cat(parts)[: shape.numel()].reshape(shape).to("cpu")
            found[name] = whole[0] if name in self.single else whole
        return found

    def share(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors -> this process's parts."""
        if self.stage < 3:
            return {
                n: v[None] if n in self.single else v for n, v in super().share(tensors).items()
            }
        held, shared = self.state(), {}
        trained = {n for n, p in self.task.named_parameters() if p.requires_grad}
        for name, value in tensors.items():
            size = held[name].numel()
            if name not in trained:
                shared[name] = value.to(self.device)
                continue
            flat = value.flatten()
            padded = torch.cat([flat, flat.new_zeros(size * self.world - flat.numel())])
            shared[name] = padded[self.rank * size : (self.rank + 1) * size].to(self.device)
        return shared

    def figures(self) -> dict[str, float]:
        """None: DeepSpeed keeps parts of flat buffers, of which parameters do not tell."""
        return {}

    def optimizer_bytes(self) -> int:
        """Two moments and the weights themselves, in float32."""
        return 12 * sum(getattr(p, "ds_numel", p.numel()) for p in self.trained)

    def save(self, folder: Path) -> None:
        """DeepSpeed's own form, for the same number of processes."""
        self.wrapped.save_checkpoint(str(folder), tag="state", save_latest=False)

    def load(self, folder: Path) -> None:
        """Read it again."""
        found, _ = self.wrapped.load_checkpoint(str(folder), tag="state")
        if found is None:
            raise AnomalystError(f"{folder}: holds no state that DeepSpeed can read.")

    def close(self) -> None:
        """Part from the others without a destructor of DeepSpeed, of which some abort at exit."""
        self.barrier()
        sys.stdout.flush()
        sys.stderr.flush()


def deepspeed_config(setup: EngineSetup) -> dict[str, Any]:
    """The recipe as DeepSpeed's configuration, over the user's own JSON where one is named.

    Raises AnomalystError where both say different things, or the JSON brings a scheduler: a second
    one would silently overrule the recipe's learning rate.
    """
    recipe, engine = setup.recipe, setup.recipe.engine
    config = _user_json(engine)
    decided = {  # by the recipe, so a JSON may only say the same
        "train_batch_size": recipe.batch,
        "train_micro_batch_size_per_gpu": recipe.batch // setup.share.of,
        "gradient_accumulation_steps": setup.share.count,
        "gradient_clipping": recipe.clip_norm,
    }
    for key, wanted in decided.items():
        if config.setdefault(key, wanted) not in (wanted, "auto"):
            raise AnomalystError(
                f"{engine.deepspeed_json}: {key} is {config[key]}, the recipe makes it "
                f"{wanted}; leave it out, or say 'auto'."
            )
        config[key] = wanted
    zero = config.setdefault("zero_optimization", {"stage": engine.zero_stage})
    zero.setdefault("stage", engine.zero_stage)
    if engine.offload_optimizer:
        zero.setdefault("offload_optimizer", {"device": "cpu"})
    config.setdefault("zero_allow_untested_optimizer", True)
    config.setdefault("zero_force_ds_cpu_optimizer", False)
    config.setdefault("steps_per_print", 1 << 60)
    if setup.precision == "bfloat16":
        config.setdefault("bf16", {"enabled": True})
    elif setup.precision == "float16":
        scale = {"initial_scale_power": recipe.loss_scale_power,
                 "loss_scale_window": recipe.loss_scale_window}  # fmt: skip
        config.setdefault("fp16", {"enabled": True, **scale})
    return config


def check_deepspeed(config: EngineConfig, precision: str) -> None:
    """Raises AnomalystError where DeepSpeed is not installed, or cannot do what is asked here."""
    if importlib.util.find_spec("deepspeed") is None:
        raise AnomalystError(
            "--engine deepspeed: it is not installed; `pip install 'anomalyst[deepspeed]'`, or "
            "take --engine fsdp, which splits the same things."
        )
    if not torch.cuda.is_available() and not shutil.which("g++"):
        raise AnomalystError(
            "--engine deepspeed: on a CPU it builds its own messenger and needs g++; install it, "
            "or take --engine fsdp."
        )
    if precision == "float16" and not torch.cuda.is_available():
        raise AnomalystError(
            "precision float16: DeepSpeed has it on a GPU only; say precision=bfloat16."
        )
    _user_json(config)


def _user_json(config: EngineConfig) -> dict[str, Any]:
    if not config.deepspeed_json:
        return {}
    path = Path(config.deepspeed_json)
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnomalystError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(read, dict):
        raise AnomalystError(f"{path}: holds no object; DeepSpeed's configuration is one.")
    if "scheduler" in read:
        raise AnomalystError(
            f"{path}: brings a scheduler, which would overrule the recipe's learning rate; take it "
            "out and say schedule, warmup_steps and learning_rate in the recipe."
        )
    return read
