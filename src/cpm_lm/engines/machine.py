"""The processor cores and the memory that this process may use.

Knows the files in which the operating system reports them; does not know engines or models.
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
    """Return the environment variable CPM_THREADS as a number, or None if it is not set.

    Raises:
        EngineError: it is not an integer from 1 to MAX_THREADS.
    """
    text = os.environ.get("CPM_THREADS", "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MAX_THREADS:
        raise EngineError(
            f"CPM_THREADS is {text!r}; an integer from 1 to {MAX_THREADS} was expected"
        )
    return int(text)


def cores() -> int:
    """Return how many physical cores this process may use: its affinity, within its quota.

    Physical cores, because two threads on one core share its arithmetic units and its bandwidth.
    """
    if hasattr(os, "sched_getaffinity"):
        physical = len({_core(cpu) for cpu in os.sched_getaffinity(0)})
    else:
        physical = os.cpu_count() or 1
    quotas = [
        int(fields[0]) // int(fields[1])
        for fields in _cgroup_fields("cpu.max")
        if len(fields) == 2 and fields[0].isdigit()
    ]
    return max(1, min([physical, MAX_THREADS, *quotas]))


def available_memory() -> int | None:
    """Return the bytes that can be allocated without swapping, or None if they are not known."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except OSError:
        return None
    limits, usages = _cgroup_fields("memory.max"), _cgroup_fields("memory.stat")
    for limit, used in zip(limits, usages, strict=True):
        # Only anonymous memory counts: the kernel can drop cached files and read them again.
        if limit and limit[0].isdigit() and used[:1] == ["anon"]:
            free.append(int(limit[0]) - int(used[1]))
    return max(0, min(free)) if free else None


def processor() -> str:
    """Return the processor's name, or its architecture if the name is not known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _core(cpu: int) -> tuple[str, ...]:
    """Return the package and core ids of a logical CPU, or its own number if they are not known."""
    folder = Path(TOPOLOGY.format(cpu))
    try:
        return tuple(
            (folder / name).read_text().strip() for name in ("physical_package_id", "core_id")
        )
    except OSError:
        return (str(cpu),)


def _cgroup_fields(name: str) -> list[list[str]]:
    """Return the fields of a file of this process's control group and of each parent group.

    Control groups version 2. A missing file has no fields; without control groups the list is
    empty.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    own = CGROUPS / next((line[3:] for line in lines if line.startswith("0::")), "/").strip("/")
    groups = [group for group in (own, *own.parents) if group.is_relative_to(CGROUPS)]
    return [_fields(group / name) for group in groups]


def _fields(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
