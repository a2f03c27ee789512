"""What a run uses: time, processor, memory, and the share spent waiting for data."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch


class Resources:
    """Samples processor and memory four times a second while it is open."""

    def __init__(self, device: torch.device):
        self.device = device
        self.process = psutil.Process()
        self.samples: list[tuple[float, float]] = []  # (processor in percent of a core, bytes)
        self.gpu_busy: list[float] = []
        self.peak_bytes = 0
        self._ended = threading.Event()
        self._nvml = _nvml_handle(device)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Resources":
        self.process.cpu_percent()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def figures(self) -> dict[str, float]:
        """Means since the last call, and the peak of memory."""
        self.peak_bytes = max(self.peak_bytes, self.process.memory_info().rss)
        samples, self.samples = self.samples, []
        busy, self.gpu_busy = self.gpu_busy, []
        found: dict[str, float] = {"memory_mb": round(self.peak_bytes / 1e6, 1)}
        if samples:
            found["cpu_percent"] = round(sum(s[0] for s in samples) / len(samples), 1)
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device)
            found["gpu_memory_mb"] = round(peak / 1e6, 1)
        if busy:
            found["gpu_percent"] = round(sum(busy) / len(busy), 1)
        return found

    def _watch(self) -> None:
        while not self._ended.wait(0.25):
            resident = self.process.memory_info().rss
            self.peak_bytes = max(self.peak_bytes, resident)
            self.samples.append((self.process.cpu_percent(), resident))
            if self._nvml is not None:
                nvml, handle = self._nvml
                self.gpu_busy.append(float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu))


class Stopwatch:
    """Seconds since the last reading: all of them, and those spent waiting for data."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.waited = 0.0
        self.counts: Counter[str] = Counter()
        self.steps = 0

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What happens inside is no part of a step."""
        begun = time.perf_counter()
        yield
        self.begun += time.perf_counter() - begun

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """What happens inside is waiting for the next batch."""
        begun = time.perf_counter()
        yield
        self.waited += time.perf_counter() - begun

    def read(self, world: int) -> dict[str, float]:
        """Figures since the last reading; amounts are those of all `world` processes."""
        seconds = max(time.perf_counter() - self.begun, 1e-9)
        found = {
            "steps_per_second": round(self.steps / seconds, 3),
            "seconds_per_step": round(seconds / max(self.steps, 1), 5),
            "waiting_share": round(self.waited / seconds, 4),
        }
        for name, count in self.counts.items():
            found[f"{name}_per_second"] = round(count * world / seconds, 2)
        self.begun, self.waited, self.steps = time.perf_counter(), 0.0, 0
        self.counts.clear()
        return found


def _nvml_handle(device: torch.device) -> tuple[Any, Any] | None:
    """NVIDIA's management library and this device in it, where they are there."""
    if device.type != "cuda":
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except (ImportError, OSError, RuntimeError):
        return None
