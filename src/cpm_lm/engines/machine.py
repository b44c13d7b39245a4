"""What this process may use of the machine: processor cores and memory.

Knows the operating system's own accounts; does not know engines or models.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

from cpm_lm.errors import EngineError

__all__ = ["MAX_THREADS", "available_memory", "cores", "processor", "threads_from_environment"]

MAX_THREADS = 1024
CGROUPS = Path("/sys/fs/cgroup")
TOPOLOGY = "/sys/devices/system/cpu/cpu{}/topology"


def threads_from_environment() -> int | None:
    """Return what CPM_THREADS says, or None.

    Raises:
        EngineError: it is not a number of threads.
    """
    text = os.environ.get("CPM_THREADS", "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_THREADS:
        raise EngineError(
            f"CPM_THREADS is {text!r}; a whole number from 1 to {MAX_THREADS} was expected"
        )
    return int(text)


def cores() -> int:
    """Return how many physical cores this process may use: its affinity, within its quota.

    Two threads on one core share its arithmetic and its way to memory, and only get in each
    other's way.
    """
    if hasattr(os, "sched_getaffinity"):
        physical = len({_core(cpu) for cpu in os.sched_getaffinity(0)})
    else:
        physical = os.cpu_count() or 1
    quotas = [
        int(words[0]) // int(words[1])
        for words in _settings("cpu.max")
        if len(words) == 2 and words[0].isdigit()
    ]
    return max(1, min([physical, MAX_THREADS, *quotas]))


def available_memory() -> int | None:
    """Return the bytes that can be had without swapping, or None if the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except OSError:
        return None
    for limit, used in zip(_settings("memory.max"), _settings("memory.stat"), strict=True):
        if limit and limit[0].isdigit() and used[:1] == ["anon"]:  # files can be read again
            free.append(int(limit[0]) - int(used[1]))
    return max(0, min(free)) if free else None


def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _core(cpu: int) -> tuple[str, ...]:
    """Return what names the physical core of a logical one; itself where that is not known."""
    folder = Path(TOPOLOGY.format(cpu))
    try:
        return tuple(
            (folder / name).read_text().strip() for name in ("physical_package_id", "core_id")
        )
    except OSError:
        return (str(cpu),)


def _settings(name: str) -> list[list[str]]:
    """Return the words of one file of this process's control group, and of each above it.

    Version 2 of the groups; without it, and where there is no such file, there are no words.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    own = CGROUPS / next((line[3:] for line in lines if line.startswith("0::")), "/").strip("/")
    return [_words(group / name) for group in (own, *own.parents) if group.is_relative_to(CGROUPS)]


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
