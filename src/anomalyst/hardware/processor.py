"""What the processor does well: vector extensions, precisions, matrix rates, usable threads.

The one place that decides in which precision a network computes. Nothing is measured to decide:
the instructions a processor has say it, so the same machine always decides the same way. Rates are
measured for those who want to read them (`matrix_peaks`). torch is imported only where it computes:
the server asks here, too.
"""

import difflib
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anomalyst.errors import AnomalystError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("auto", "float32", "bfloat16")
DeviceName = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[DeviceName, ...] = ("auto", "cpu", "cuda")
Engine = Literal["auto", "torch", "onnx", "openvino"]
ENGINES: tuple[Engine, ...] = ("auto", "torch", "onnx", "openvino")
CPUINFO = Path("/proc/cpuinfo")
SPINS = 50000  # turns an OpenMP thread waits awake; then it lets others have the processor
PEAK_SIZE = 1024  # side of the square matrices whose product is timed
_VECTORS = {"avx512bw": "AVX512", "avx2": "AVX2", "asimd": "NEON"}  # the widest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """A processor as far as networks care."""

    name: str
    vectors: str  # the widest vector extension: "AVX512", "AVX2", "NEON", or "" where none is known
    bfloat16: bool  # has instructions for it; without them it is slower than float32
    int8: bool  # has dot products of 8-bit integers (VNNI, AMX, or ARM's dot product)
    cores: int  # that this process may use: affinity and cgroup quota counted

    @property
    def precision(self) -> Literal["float32", "bfloat16"]:
        """In which precision networks are fastest here without losing a verdict."""
        return "bfloat16" if self.bfloat16 else "float32"

    def as_dict(self) -> dict[str, Any]:
        """What `bench inspect` and the server's health say of it, as plain JSON values."""
        return {
            "processor": self.name,
            "vectors": self.vectors,
            "bfloat16": self.bfloat16,
            "int8": self.int8,
            "cores": self.cores,
            "precision": self.precision,
        }


@lru_cache(maxsize=1)
def processor() -> Processor:
    """The processor this process runs on. Raises AnomalystError for an x86 one without AVX2."""
    name, flags = _name_and_flags()
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
    if flags and x86 and "avx2" not in flags:
        raise AnomalystError(
            f"this processor ({name}) has no AVX2, which torch's networks need here; use one "
            "made since about 2013, or give the virtual machine its host's processor type."
        )
    return Processor(
        name=name,
        vectors=next((v for flag, v in _VECTORS.items() if flag in flags), ""),
        bfloat16=bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}),
        int8=bool(flags & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}),
        cores=usable_cores(),
    )


def precision_of(wanted: str, device: "torch.device | None" = None) -> "torch.dtype":
    """The precision that `auto`, `float32` or `bfloat16` means on a device (None: this processor).

    Raises AnomalystError for any other word; it names the nearest.
    """
    checked_choice("--precision", wanted, PRECISIONS)
    import torch

    name = wanted
    if wanted == "auto":
        name = processor().precision
        if device is not None and device.type == "cuda":
            name = "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def device_of(wanted: str) -> "torch.device":
    """The device that `auto` (a GPU if torch sees one), `cpu` or `cuda` means.

    Raises AnomalystError for any other word, and for `cuda` where torch sees no GPU.
    """
    checked_choice("--device", wanted, DEVICES)
    import torch

    seen = torch.cuda.is_available()
    if wanted == "cuda" and not seen:
        raise AnomalystError(
            "--device cuda: torch sees no GPU here (its build is for "
            f"{'CUDA ' + torch.version.cuda if torch.version.cuda else 'processors only'}); "
            "install a CUDA build of torch and its driver, or leave --device out."
        )
    return torch.device("cuda" if seen and wanted != "cpu" else "cpu")


def checked_choice(option: str, wanted: str, known: Sequence[str]) -> None:
    """Raises AnomalystError for a word that is not known; it names the nearest that is."""
    if wanted not in known:
        near = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)[0]
        raise AnomalystError(
            f"{option} {wanted!r}: is none of {', '.join(known)}; the nearest is {near!r}."
        )


def limit_threads(wanted: int | None) -> int:
    """Let this process and its children compute with so many threads -> how many.

    None: as many processors as it may use. OpenMP and OpenCV read it when they are imported, so
    this comes first; a torch that is there already is told. Raises AnomalystError for fewer than
    one thread or more than there are processors.
    """
    cores = usable_cores()
    if wanted is not None and not 1 <= wanted <= cores:
        raise AnomalystError(
            f"--threads {wanted}: this process may use {cores} processor{'s' * (cores > 1)}; "
            f"give a number from 1 to {cores}."
        )
    count = wanted or cores
    for name in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
        if wanted is not None:
            os.environ[name] = str(count)
        os.environ.setdefault(name, str(count))
    # A thread that waits for another one soon lets that one have the processor: where two jobs
    # share the cores they are up to 30 times slower otherwise. threads.py sees to the rest.
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    if wanted is not None and "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    return count


def usable_cores() -> int:
    """Processors this process may use: its affinity, and no more than its cgroup's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _cgroup_quota(Path("/sys/fs/cgroup"))
    return max(1, min(count or 1, math.ceil(quota) if quota else 1 << 20))


@lru_cache(maxsize=1)
def matrix_peaks() -> dict[str, float]:
    """Best rate of a product of two 1024 x 1024 matrices in 1e9 operations a second, measured once.

    By precision. What other figures are to be divided by: it tells one machine from another.
    """
    import torch

    return {
        str(dtype).removeprefix("torch."): 2 * PEAK_SIZE**3 / product_seconds(dtype) / 1e9
        for dtype in (torch.float32, torch.bfloat16)
    }


def product_seconds(dtype: "torch.dtype", seconds: float = 0.5) -> float:
    """Least time of a product of two 1024 x 1024 matrices with the threads in use."""
    import torch

    a, b = (torch.randn(PEAK_SIZE, PEAK_SIZE).to(dtype) for _ in range(2))
    best, until = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < until or best == math.inf:
        started = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - started)
    return best


def _name_and_flags() -> tuple[str, set[str]]:
    """What the kernel says of the first processor; no flags where it says none (macOS, Windows)."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine(), set()
    said = {
        key.strip().lower(): value.strip()
        for key, _, value in (line.partition(":") for line in text.splitlines())
    }
    flags = said.get("flags") or said.get("features") or ""
    return said.get("model name") or platform.machine(), set(flags.split())


def _cgroup_quota(root: Path) -> float | None:
    """Processors that the cgroup allows (version 2, then 1); None without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        return float(quota) / float(period) if float(quota) > 0 else None
    except ValueError:  # "max"
        return None
