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
MEMBERSHIP = Path("/proc/self/cgroup")
MEMINFO = Path("/proc/meminfo")
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
            "CPM_THREADS is {text!r}; an integer from 1 to {max_threads} was expected",
            text=text,
            max_threads=MAX_THREADS,
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
    return max(1, min([physical, MAX_THREADS, *_quotas()]))


def available_memory() -> int | None:
    """Return the bytes that can be allocated without swapping, or None if they are not known."""
    try:
        lines = MEMINFO.read_text().splitlines()
        free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    except OSError:
        return None
    free += _memory_left()
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


def _quotas() -> list[int]:
    """Return the whole processors that each control group of this process may use."""
    pairs = [_fields(group / "cpu.max") for group in _groups("")]
    pairs += [
        _fields(group / "cpu.cfs_quota_us") + _fields(group / "cpu.cfs_period_us")
        for group in _groups("cpu")
    ]
    # Without a quota the first word is "max", in version 1 it is -1.
    return [
        int(quota) // int(period)
        for quota, period in (pair for pair in pairs if len(pair) == 2)
        if quota.isdigit() and period.isdigit() and int(period)
    ]


def _memory_left() -> list[int]:
    """Return the bytes that each control group of this process may still take.

    What it holds of files does not count: files can be read again.
    """
    left = []
    for subsystem, limit, used in (
        ("", "memory.max", "anon"),
        ("memory", "memory.limit_in_bytes", "total_rss"),  # its own and that of groups below it
    ):
        for group in _groups(subsystem):
            most = _fields(group / limit)
            words = _fields(group / "memory.stat")
            taken = dict(zip(words[::2], words[1::2], strict=False)).get(used, "")
            if most and most[0].isdigit() and taken.isdigit():
                left.append(int(most[0]) - int(taken))
    return left


def _groups(subsystem: str) -> list[Path]:
    """Return the directories of this process's control group and of those above it.

    Version 1 has a tree for each subsystem, as `4:cpu,cpuacct:/docker/1f` names it: mounted under
    the name of one subsystem or of all that share it. Version 2 has one, `0::/docker/1f`, called ""
    here. In a container the path may be the host's, which is not to be seen there: the group at the
    root of the mount is then the container's own.
    """
    try:
        lines = [line.split(":", 2) for line in MEMBERSHIP.read_text().splitlines()]
    except OSError:
        return []
    found: list[Path] = []
    for _, names, path in (line for line in lines if len(line) == 3):
        if subsystem not in names.split(","):
            continue
        mounts = (CGROUPS / subsystem, CGROUPS / names) if subsystem else (CGROUPS,)
        mount = next((mount for mount in mounts if mount.is_dir()), mounts[0])
        own = mount / path.strip("/")
        found += [group for group in (own, *own.parents) if group.is_relative_to(mount)]
    return found


def _fields(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
