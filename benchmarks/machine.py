"""The machine of a benchmark: its processor, and its memory bandwidth and float32 peak now.

Knows the processor; does not know models or implementations.
"""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from cpm_lm.engines.machine import available_memory

__all__ = ["Probe", "available_memory", "describe"]

READ = 2 * 10**9
"""Bytes that the probe reads, larger than any cache."""
SIDE = 2048
"""Rows and columns of the matrices that measure the peak."""


class Probe:
    """Measures read bandwidth and float32 peak with all threads.

    Each is measured with our kernels and with numpy; the faster counts, because a slow probe would
    make all shares too large.

    Args:
        threads: the same number as the implementations use.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.parts = list(np.ones((threads, READ // 4 // threads), np.float32))
        self.square = np.ones((SIDE, SIDE), np.float32)
        try:
            from cpm_lm import _native
        except ImportError:
            self.native = None
        else:
            self.native, self.pool = _native, _native.Pool(threads)

    def bandwidth(self) -> float:
        """Return bytes per second read from memory: the fastest of three reads."""
        with ThreadPoolExecutor(self.threads) as pool:
            seconds = best_of(lambda: list(pool.map(np.sum, self.parts)))
        summed = sum(part.nbytes for part in self.parts) / seconds
        return max(summed, self.native.read_bandwidth(self.pool, READ, 3) if self.native else 0)

    def peak(self) -> float:
        """Return float32 operations per second: the fastest of three products."""
        with threadpool_limits(self.threads, "blas"):
            seconds = best_of(lambda: self.square @ self.square)
        multiplied = 2 * SIDE**3 / seconds
        return max(multiplied, self.native.fma_peak(self.pool, 3) if self.native else 0)


def best_of(call: Callable[[], object], times: int = 3) -> float:
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def describe() -> str:
    """Return processor, cores, load, date and commit on one line."""
    name = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        lines = info.read_text().splitlines()
        name = next((x.split(": ")[1] for x in lines if x.startswith("model name")), name)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return (
        f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, "
        f"{time.strftime('%Y-%m-%d')}, commit {commit}"
    )
