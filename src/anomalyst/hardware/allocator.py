"""Keeping freed memory for the next picture, where the C library is glibc."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> None:
    """Tell glibc not to hand every large buffer back to the kernel; elsewhere it does nothing.

    A picture frees and takes the same buffers as the one before. Returned pages must be zeroed and
    mapped again, which took a fifth of the time of an inspection (docs/benchmarks.md).
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2_000_000_000)
        mallopt(M_TOP_PAD, 64 << 20)


def release_freed_memory() -> None:
    """Hand freed buffers back to the kernel after all: for a process that has nothing to do."""
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
