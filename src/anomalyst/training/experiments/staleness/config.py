"""What the bench of staleness runs: one case a run, and the grid of them."""

from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from anomalyst.errors import AnomalystError

Topology = Literal["server", "ring", "random", "local", "diloco"]
BOUNDED: tuple[Topology, ...] = ("server", "ring", "random")  # where a bound says who waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run."""

    topology: Topology = "server"
    workers: int = 2
    straggler: float = 1.0  # the last worker's step lasts so many times the others'
    bound: int | None = 0  # iterations ahead of the slowest; 0 is BSP, None without bound is ASP
    servers: int = 1  # each holds an equal part of the weights; of topology server
    every: int = 0  # steps between two averages; of local and diloco

    @property
    def name(self) -> str:
        """A file's name."""
        tail = f"h{self.every}" if self.every else f"s{bound_name(self.bound)}"
        shards = f"-{self.servers}servers" if self.servers > 1 else ""
        return f"{self.topology}-{self.workers}-x{self.straggler:g}-{tail}{shards}"

    @property
    def rule(self) -> str:
        """BSP, SSP with its bound, ASP, or how often is averaged."""
        if self.every:
            return f"every {self.every}"
        return {0: "BSP", None: "ASP"}.get(self.bound, f"SSP {self.bound}")

    def slowness(self, worker: int) -> float:
        """How many times longer a worker's step lasts than that of most."""
        return self.straggler if worker == self.workers - 1 else 1.0

    @property
    def processes(self) -> int:
        """Workers first, then servers."""
        return self.workers + (self.servers if self.topology == "server" else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What all workers together do in a run, the same in every case."""

    batches: int = 480  # by all workers together: each run sees as many pictures
    batch: int = 16  # pictures of a worker's step
    learning_rate: float = 0.3  # of a mean over all workers' batches; plain SGD
    outer_rate: float = 0.7  # of DiLoCo's outer Nesterov step (Douillard et al. 2023)
    outer_momentum: float = 0.9  # of the same
    step_ms: float = 0.0  # least duration of a step; 0: twice what it takes while all compute
    patience_s: float = 10.0  # silence after which a process counts as gone
    pictures: int = 2000  # drawn digits that are trained on
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.batches, self.batch, self.pictures) < 1 or self.learning_rate <= 0:
            raise AnomalystError("batches, batch, pictures and learning_rate are above 0.")
        if self.step_ms < 0 or self.patience_s <= 0:
            raise AnomalystError("step_ms is 0 or more, patience_s above 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StalenessBench:
    """The grid: every topology with every number of workers, straggler and bound."""

    topologies: tuple[Topology, ...] = get_args(Topology)
    workers: tuple[int, ...] = (2, 4)
    stragglers: tuple[float, ...] = (1.0, 2.0, 4.0)
    bounds: tuple[int | None, ...] = (0, 1, 3, 10, None)
    every: tuple[int, ...] = (5, 15)
    servers: int = 2  # shards of an extra server run at the largest number of workers; 1: none
    failures: bool = True  # kill a worker, kill a server, stop a worker for ever
    ray: bool = False  # Ray's parameter-server pattern, too (extra scale)
    work: Work = Work()

    def __post_init__(self) -> None:
        for name in self.topologies:
            if name not in get_args(Topology):
                raise AnomalystError(
                    f"--topology {name}: there is none; choose of {', '.join(get_args(Topology))}."
                )
        if min(self.workers) < 2:
            raise AnomalystError(f"--workers {min(self.workers)}: 2 at least can differ in pace.")
        if min(self.stragglers) < 1:
            raise AnomalystError(
                f"--straggler {min(self.stragglers):g}: how many times slower, 1 or more."
            )
        if any(bound is not None and bound < 0 for bound in self.bounds):
            raise AnomalystError("--bound: iterations, 0 or more, or inf.")
        self._check_rounds()

    def _check_rounds(self) -> None:
        """All workers end together only where the batches can be shared."""
        rounds = [every * p for every in self.every for p in self.workers]
        for shared in (*self.workers, *(rounds if set(self.topologies) - set(BOUNDED) else ())):
            if self.work.batches % shared:
                raise AnomalystError(
                    f"--batches {self.work.batches}: cannot be shared evenly; a multiple of "
                    f"{shared} is needed (workers, times --every where they average)."
                )

    def cases(self) -> list[Case]:
        """All runs but those that fail on purpose; most workers last."""
        found = []
        for workers, topology, slow in product(self.workers, self.topologies, self.stragglers):
            if topology == "random" and workers == 2:
                continue  # the same as a ring of two
            if topology in BOUNDED:
                found += [
                    Case(topology=topology, workers=workers, straggler=slow, bound=bound)
                    for bound in self.bounds
                ]
            else:
                found += [
                    Case(topology=topology, workers=workers, straggler=slow, every=every)
                    for every in self.every
                ]
        if "server" in self.topologies and self.servers > 1:
            found += [
                Case(workers=max(self.workers), bound=bound, servers=self.servers)
                for bound in self.bounds
            ]
        return found


def bound_name(bound: int | None) -> str:
    """0, 1, ... or inf."""
    return "inf" if bound is None else str(bound)


def read_bound(text: str) -> int | None:
    """A bound as one types it. Raises AnomalystError for what is none."""
    if text in ("inf", "none"):
        return None
    if not text.isdigit():
        raise AnomalystError(f"--bound {text}: a whole number of iterations, or inf, is needed.")
    return int(text)
