"""What the system's accounts say, told by a tree of files as Linux lays it out."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpm_lm.engines import machine

GIB = 1 << 30
UNLIMITED = 9223372036854771712
"""What version 1 says where there is no limit: the largest number of whole pages."""


class Linux:
    """A machine of 8 cores and 16 GiB, and the control groups of this process."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.groups = root / "cgroup"
        self.groups.mkdir()
        self.membership = root / "membership"
        (root / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {16 * GIB // 1024} kB\n")
        patch.setattr(machine, "CGROUPS", self.groups)
        patch.setattr(machine, "MEMBERSHIP", self.membership)
        patch.setattr(machine, "MEMINFO", root / "meminfo")
        patch.setattr(machine, "TOPOLOGY", str(root / "cpu{}"))
        patch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)

    def belongs(self, *lines: str) -> None:
        self.membership.write_text("".join(line + "\n" for line in lines))

    def write(self, name: str, text: object) -> None:
        path = self.groups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Linux:
    return Linux(tmp_path, monkeypatch)


def test_without_groups_all_of_the_machine_may_be_used(linux: Linux) -> None:
    assert (machine.cores(), machine.available_memory()) == (8, 16 * GIB)  # no membership at all
    linux.belongs("0::/user.slice")
    assert (machine.cores(), machine.available_memory()) == (8, 16 * GIB)


@pytest.mark.parametrize("where", ["", "pod/", "pod/box/"])
def test_version_2_is_read_in_every_group_above(linux: Linux, where: str) -> None:
    linux.belongs("0::/pod/box")
    for group in ("", "pod/", "pod/box/"):
        linux.write(f"{group}cpu.max", "max 100000")
        linux.write(f"{group}memory.max", "max")
        linux.write(f"{group}memory.stat", f"anon {GIB}\nfile {9 * GIB}")
    linux.write(f"{where}cpu.max", "350000 100000")
    linux.write(f"{where}memory.max", 4 * GIB)
    assert (machine.cores(), machine.available_memory()) == (3, 3 * GIB)


# Docker with version 1: as the host sees it, and as a container does, whose path is the host's.
MOUNTS = [
    ("cpu,cpuacct", "cpu,cpuacct/"),
    ("cpu,cpuacct", "cpu/"),
    ("cpuacct,cpu", "cpuacct,cpu/"),
    ("cpu", "cpu/"),
]


@pytest.mark.parametrize(("names", "mount"), MOUNTS)
@pytest.mark.parametrize("where", ["", "docker/", "docker/1f/"])
def test_version_1_is_read_in_every_group_above(
    linux: Linux, names: str, mount: str, where: str
) -> None:
    # A container of 2 processors on a host of 64 started 64 threads.
    linux.belongs("12:pids:/docker/1f", f"4:{names}:/docker/1f", "3:memory:/docker/1f")
    for group in ("", "docker/", "docker/1f/"):
        linux.write(f"{mount}{group}cpu.cfs_quota_us", -1)
        linux.write(f"{mount}{group}cpu.cfs_period_us", 50_000)
        linux.write(f"memory/{group}memory.limit_in_bytes", UNLIMITED)
        linux.write(f"memory/{group}memory.stat", f"cache {7 * GIB}\nrss 0\ntotal_rss {GIB}")
    assert (machine.cores(), machine.available_memory()) == (8, 16 * GIB)
    linux.write(f"{mount}{where}cpu.cfs_quota_us", 125_000)
    linux.write(f"memory/{where}memory.limit_in_bytes", 3 * GIB)
    assert (machine.cores(), machine.available_memory()) == (2, 2 * GIB)


def test_a_container_sees_its_own_group_at_the_root_of_the_mount(linux: Linux) -> None:
    linux.belongs("4:cpu,cpuacct:/docker/1f", "3:memory:/docker/1f", "0::/system.slice")
    linux.write("cpu,cpuacct/cpu.cfs_quota_us", 400_000)
    linux.write("cpu,cpuacct/cpu.cfs_period_us", 100_000)
    linux.write("memory/memory.limit_in_bytes", 2 * GIB)
    linux.write("memory/memory.stat", f"total_rss {GIB // 2}")
    assert (machine.cores(), machine.available_memory()) == (4, 3 * GIB // 2)


def test_a_quota_below_one_processor_is_one(linux: Linux) -> None:
    linux.belongs("1:cpu:/")
    linux.write("cpu/cpu.cfs_quota_us", 20_000)
    linux.write("cpu/cpu.cfs_period_us", 100_000)
    assert machine.cores() == 1


def test_a_group_over_its_limit_leaves_nothing(linux: Linux) -> None:
    linux.belongs("1:memory:/")
    linux.write("memory/memory.limit_in_bytes", GIB)
    linux.write("memory/memory.stat", f"total_rss {2 * GIB}")
    assert machine.available_memory() == 0


@pytest.mark.parametrize("text", ["", "max", "-1", "100000 0", "a b", "1 2 3"])
def test_what_makes_no_sense_is_no_limit(linux: Linux, text: str) -> None:
    linux.belongs("nonsense", "1:cpu,memory:/", "0::/")
    linux.write("cpu.max", text)
    linux.write("memory.max", text if " " not in text else "a b")
    linux.write("memory.stat", text)
    linux.write("cpu/cpu.cfs_quota_us", text.split()[-1] if text else "")
    linux.write("cpu/cpu.cfs_period_us", "")
    linux.write("memory/memory.limit_in_bytes", "?")
    assert (machine.cores(), machine.available_memory()) == (8, 16 * GIB)
