"""Where a process stands among the others: torchrun's, Slurm's and Horovod's variables read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from anomalyst.errors import AnomalystError


@dataclass(frozen=True, slots=True, kw_only=True)
class RankContext:
    """One of `world` processes."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    master: str = ""  # host:port to meet at; empty: torchrun's own variables say it
    restart: int = 0  # how often the processes were started again

    def rendezvous(self) -> dict[str, Any]:
        """What init_process_group needs to find the others."""
        method = {"init_method": f"tcp://{self.master}"} if self.master else {}
        return method | {"timeout": timedelta(minutes=10)}


def read_context(variables: Mapping[str, str]) -> RankContext | None:
    """The context that a launcher's environment variables say; None: nobody launched this process.

    torchrun's RANK, WORLD_SIZE, LOCAL_RANK; Horovod's HOROVOD_RANK...; a job step's of Slurm
    (`srun`), whose first node becomes the meeting point. Raises AnomalystError for half of a set.
    """
    if "HOROVOD_RANK" in variables:
        rank, world, local = _numbers(variables, ("HOROVOD_RANK", "HOROVOD_SIZE",
                                                  "HOROVOD_LOCAL_RANK"))  # fmt: skip
        return RankContext(rank=rank, world=world, local_rank=local)
    if "WORLD_SIZE" in variables:
        rank, world, local = _numbers(variables, ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        restart = int(variables.get("TORCHELASTIC_RESTART_COUNT", "0"))
        return RankContext(rank=rank, world=world, local_rank=local, restart=restart)
    # A batch script has no step of its own; there `--nproc` starts the processes.
    if int(variables.get("SLURM_NTASKS", "1")) > 1 and "SLURM_STEP_ID" in variables:
        rank, world, local = _numbers(variables, ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"))
        nodes = variables.get("SLURM_STEP_NODELIST") or variables.get("SLURM_JOB_NODELIST", "")
        port = 20000 + int(variables.get("SLURM_JOB_ID", "0")) % 40000
        master = f"{hosts_of(nodes)[0]}:{port}"
        return RankContext(rank=rank, world=world, local_rank=local, master=master)
    return None


def hosts_of(nodes: str) -> list[str]:
    """Slurm's short list of nodes, written out: `a[01-03,7],b` -> a01, a02, a03, a7, b."""
    found = []
    for name, inside in re.findall(r"([^,\[\]]+)(?:\[([^\]]*)\])?,?", nodes):
        for part in inside.split(",") if inside else [""]:
            first, _, last = part.partition("-")
            if not last:
                found.append(name + first)
                continue
            numbers = range(int(first), int(last) + 1)
            found += [f"{name}{number:0{len(first)}d}" for number in numbers]
    if not found:
        raise AnomalystError(f"SLURM_JOB_NODELIST is {nodes!r}; a list of nodes is needed.")
    return found


def _numbers(variables: Mapping[str, str], names: tuple[str, ...]) -> list[int]:
    missing = [name for name in names if not variables.get(name, "").isdigit()]
    if missing:
        raise AnomalystError(
            f"{missing[0]} is {variables.get(missing[0])!r}; a launcher sets {', '.join(names)} "
            "together. Start with `anomalyst train --nproc`, torchrun, horovodrun or srun."
        )
    return [int(variables[name]) for name in names]
