"""Rows that a bench measures in processes of their own: started, read back, left behind."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist

from anomalyst.config import from_mapping
from anomalyst.io.files import write_text
from anomalyst.training.distributed.launching import Launch, run_module

Row = TypeVar("Row")


def measured_rows(kind: type[Row], module: str, world: int, out: Path, *words: str) -> list[Row]:
    """Run `module OUT WORDS...` in so many processes; the rows that it leaves in `out`."""
    run_module(Launch(nproc=world), [module, str(out), *words])
    return read_rows(kind, out)


def read_rows(kind: type[Row], out: Path) -> list[Row]:
    """What `leave_rows` wrote."""
    return [from_mapping(kind, one) for one in json.loads(out.read_text(encoding="utf-8"))]


def write_rows(out: Path, rows: Sequence[Any]) -> None:
    """Dataclasses as JSON."""
    write_text(out, json.dumps([asdict(row) for row in rows], indent=1) + "\n")


def leave_rows(out: Path, rows: Sequence[Any]) -> None:
    """The end of each process: the first one writes, all leave together."""
    if dist.get_rank() == 0:
        write_rows(out, rows)
    dist.barrier()
    dist.destroy_process_group()
