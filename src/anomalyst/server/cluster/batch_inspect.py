"""`anomalyst inspect --ray`: a million pictures as a Ray Data job, written in parts; resumes."""

import json
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anomalyst.errors import AnomalystError
from anomalyst.io.files import make_folder, written_whole

PART_ROWS = 2000  # pictures a part: what is lost, at most, when the job is killed
BATCH_ROWS = 16
SCHEMA = pa.schema(
    [
        ("image", pa.string()), ("verdict", pa.string()), ("score", pa.float64()),
        ("severity", pa.float64()), ("area_share", pa.float64()), ("contrast", pa.float64()),
        ("p_value", pa.float64()), ("confidence", pa.float64()), ("guaranteed", pa.bool_()),
        ("regions", pa.string()), ("answer", pa.string()), ("problem", pa.string()),
        ("unfit", pa.string()), ("unfit_said", pa.string()),  # why it cannot be judged
    ]
)  # fmt: skip
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What every worker needs."""

    product: Path  # a taught product's folder, at the same path on every machine
    encoder: str
    false_alarm_rate: float
    threads: int | None = None  # of torch, in each worker; None: as many as Ray gives it


@dataclass(slots=True)
class Summary:
    """What a job came to."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str]] = field(default_factory=list)  # picture, what is wrong
    unfit: Counter[str] = field(default_factory=Counter)  # pictures that cannot be judged, by cause
    parts: list[Path] = field(default_factory=list)
    taken_over: int = 0  # pictures that an earlier run had done


def inspect_on_ray(
    pictures: Sequence[Path], job: Job, out: Path, *, workers: int, told: Told = lambda *_: None
) -> Summary:
    """Inspect with `workers` processes of a Ray cluster, or of this machine.

    Writes out/part-00000.parquet and so on, one row a picture in the order given; a part that is
    there for the same pictures is not made again. Raises AnomalystError for fewer than one worker.
    """
    if workers < 1:
        raise AnomalystError(f"--workers {workers}: at least 1 is needed.")
    make_folder(out)
    summary = Summary()
    for start in range(0, len(pictures), PART_ROWS):
        some = pictures[start : start + PART_ROWS]
        part = out / f"part-{start // PART_ROWS:05d}.parquet"
        if _is_of(part, some):
            summary.taken_over += len(some)
        else:
            _write(part, some, job, workers)
        _count(part, summary)
        told(start + len(some), len(pictures))
    return summary


class Worker:
    """One process: reads the model once, then inspects batch after batch."""

    def __init__(self, job: Job):
        import torch

        from anomalyst.inspector import Inspector
        from anomalyst.product import Product

        if job.threads:
            torch.set_num_threads(job.threads)
        self.job = job
        self.inspector = Inspector.load(job.encoder)
        self.product = Product.load(job.product)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Paths -> the columns of SCHEMA."""
        images = [Path(str(one)) for one in batch["image"]]
        found = self.inspector.inspect_together(
            images, self.product, false_alarm_rate=self.job.false_alarm_rate
        )
        rows = [_row(image, one) for image, one in zip(images, found, strict=True)]
        return {name: [row.get(name) for row in rows] for name in SCHEMA.names}


def _row(image: Path, found: Any) -> dict[str, Any]:
    if isinstance(found, AnomalystError):
        return {"image": str(image), "problem": str(found)}
    record = found.as_dict()
    severity = found.severity.as_dict() if found.severity else {}
    unfit = record["unfit"] or {}
    return (
        record
        | {"severity": severity.get("spreads")}
        | {name: severity.get(name) for name in ("area_share", "contrast")}
        | {"image": str(image), "regions": json.dumps(record["regions"])}
        | {"unfit": unfit.get("cause"), "unfit_said": unfit.get("said")}
    )


def _start_ray() -> None:
    """A cluster: the one that is there, or one of this machine."""
    import ray

    if ray.is_initialized():
        return
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True


def _write(part: Path, some: Sequence[Path], job: Job, workers: int) -> None:
    import ray

    _start_ray()
    # Cut into blocks here: a task that did it would wait for a processor that no worker gives up.
    blocks = min(len(some), max(workers, -(-len(some) // BATCH_ROWS)))
    names = ray.data.from_items([{"image": str(path)} for path in some], override_num_blocks=blocks)
    found = names.map_batches(
        Worker,
        fn_constructor_args=(job,),
        batch_size=BATCH_ROWS,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=1,
    )
    by_name = {row["image"]: row for row in found.iter_rows()}
    table = pa.Table.from_pylist([_typed(by_name[str(path)]) for path in some], schema=SCHEMA)
    with written_whole(part) as temporary:
        pq.write_table(table, temporary)


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """A row in which what is missing is None, as tables carry it, and not NaN."""
    return {name: None if value != value else value for name, value in row.items()}


def _is_of(part: Path, some: Sequence[Path]) -> bool:
    if not part.exists():
        return False
    try:
        if not pq.read_schema(part).equals(SCHEMA):  # of before: parts of one run are read as one
            return False
        names = pq.read_table(part, columns=["image"])["image"].to_pylist()
    except (OSError, pa.ArrowException):
        return False
    return bool(names == [str(path) for path in some])


def _count(part: Path, summary: Summary) -> None:
    table = pq.read_table(part, columns=["image", "verdict", "problem", "unfit"]).to_pylist()
    summary.parts.append(part)
    summary.counts.update(row["verdict"] for row in table if row["verdict"])
    summary.unfit.update(row["unfit"] for row in table if row["unfit"])
    summary.bad += [(row["image"], row["problem"]) for row in table if row["problem"]]
