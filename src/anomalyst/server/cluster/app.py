"""The same app on Ray Serve: one front, and the model in replicas, as many as the load asks."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

from fastapi import FastAPI

from anomalyst.errors import AnomalystError
from anomalyst.server.config import ServingConfig
from anomalyst.server.errors import CLOSING, Busy
from anomalyst.server.jobs.tasks import Ask, Embed, Inspect, Resemble, Segment, Task, Transcribe

APP, MODEL = "anomalyst", "Model"
TOGETHER = 64  # tasks that the front has under way at once
ONGOING_A_REPLICA = 4  # above it another replica is started
Say = Callable[[str], None]


def serve_on_ray(config: ServingConfig, replicas: int, *, blocking: bool = True) -> None:
    """Deploy on the Ray cluster that is there, or on one of this machine; ends with Ctrl-C.

    Store, pictures and products must be at the same paths on every machine of the cluster. Raises
    AnomalystError for fewer than one replica.
    """
    import ray
    from ray import serve

    if replicas < 1:
        raise AnomalystError(f"--replicas {replicas}: at least 1 is needed.")
    if not ray.is_initialized():
        ray.init(include_dashboard=False, configure_logging=False, namespace=APP)
    serve.start(http_options={"host": config.host, "port": config.port})
    serve.run(deployment(config, replicas), name=APP, route_prefix="/", blocking=blocking)


def deployment(config: ServingConfig, replicas: int) -> Any:
    """The app as Ray Serve deploys it."""
    from ray import serve

    scaling = {"min_replicas": 1, "max_replicas": replicas, "upscale_delay_s": 5}
    model = serve.deployment(
        name=MODEL,
        max_ongoing_requests=2 * config.limits.together,
        ray_actor_options={"num_cpus": 0.75},  # two and the front fit on two cores
        autoscaling_config=scaling | {"target_ongoing_requests": ONGOING_A_REPLICA},
    )(Replica)

    def build() -> FastAPI:
        from anomalyst.server.app import build_server
        from anomalyst.server.service import Service

        handle = serve.get_deployment_handle(MODEL, app_name=APP)
        return build_server(Service(config, RayQueue(handle)))

    @serve.ingress(build)
    class Front:
        """Pages and REST; one, for it owns the queue and the sessions."""

        def __init__(self, model: Any):
            self.model = model

    front = serve.deployment(
        name="Front", num_replicas=1, max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": 0.25},
    )(Front)  # fmt: skip
    return front.bind(model.bind(config))


class Replica:
    """One copy of the model; inspections that wait together are done together."""

    def __init__(self, config: ServingConfig):
        from ray import serve

        from anomalyst.server.jobs.worker import Model

        self.model = Model(config)
        self._lock = threading.Lock()  # one batch at a time
        self._together = serve.batch(
            max_batch_size=config.limits.together, batch_wait_timeout_s=0.005
        )(self._inspect)

    async def do(self, task: Task) -> Any:
        """A result, or the error that a person can mend."""
        if isinstance(task, Inspect):
            return await self._together(task)
        return (await asyncio.to_thread(self._done, [task], lambda _: None))[0]

    async def told(self, task: Task) -> AsyncIterator[tuple[str, Any]]:
        """What is said on the way, then the result."""
        said: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def say(text: str) -> None:
            loop.call_soon_threadsafe(said.put_nowait, text)

        doing = asyncio.create_task(asyncio.to_thread(self._done, [task], say))
        while not (doing.done() and said.empty()):
            try:
                yield "say", await asyncio.wait_for(said.get(), 0.05)
            except TimeoutError:
                continue
        yield "done", doing.result()[0]

    async def _inspect(self, tasks: list[Inspect]) -> list[Any]:
        found: dict[int, Any] = {}
        for batch in {task.batch: None for task in tasks}:
            some = [i for i, task in enumerate(tasks) if task.batch == batch]
            done = await asyncio.to_thread(self._done, [tasks[i] for i in some], lambda _: None)
            found |= dict(zip(some, done, strict=True))
        return [found[i] for i in range(len(tasks))]

    def _done(self, tasks: Sequence[Task], say: Say) -> list[Any]:
        with self._lock:
            return self.model.do(tasks, say)


class RayQueue:
    """Tasks to the replicas; what changes a product goes one after the other."""

    def __init__(self, handle: Any):
        self.handle = handle
        self.ready = False
        self.problem: str | None = None  # Ray itself starts replicas again, and says why
        self._pool = ThreadPoolExecutor(TOGETHER, thread_name_prefix="task")
        self._changing = threading.Lock()
        self._count_lock = threading.Lock()
        self.waiting = 0
        threading.Thread(target=self._await_ready, daemon=True).start()

    def start(self) -> None:
        """Ray has started them."""

    def submit(self, task: Task, say: Say = lambda _: None) -> "Future[dict[str, Any]]":
        """The task's result, once it is done."""
        with self._count_lock:
            self.waiting += 1
        try:
            return self._pool.submit(self._do, task, say)
        except RuntimeError:
            raise Busy(CLOSING) from None

    def cancel(self, future: "Future[dict[str, Any]]") -> bool:
        """Give a task up that waits; one that a replica does goes on."""
        return future.cancel()

    def close(self, seconds: float) -> None:  # noqa: ARG002
        """Finish what is being done; what waits is given up, and stays in the store."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _do(self, task: Task, say: Say) -> dict[str, Any]:
        try:
            if isinstance(task, Inspect | Resemble | Segment | Transcribe | Embed):
                return _result(self.handle.do.remote(task).result())
            with nullcontext() if isinstance(task, Ask) else self._changing:
                return self._told(task, say)
        finally:
            with self._count_lock:
                self.waiting -= 1

    def _told(self, task: Task, say: Say) -> dict[str, Any]:
        for kind, value in self.handle.options(stream=True).told.remote(task):
            if kind == "done":
                return _result(value)
            say(value)
        raise RuntimeError("a replica ended without a result")

    def _await_ready(self) -> None:
        from ray import serve

        while not self.ready:
            running = serve.status().applications.get(APP)
            model = running.deployments.get(MODEL) if running else None
            self.ready = model is not None and model.status == "HEALTHY"
            threading.Event().wait(0.2)


def _result(value: Any) -> dict[str, Any]:
    if isinstance(value, AnomalystError):
        raise value
    return dict(value)
