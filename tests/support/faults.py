"""Every system call of a piece of code fails once, and the process is killed once at each.

A library of wrapped system calls (`system_calls.c`) is compiled and preloaded. `run_all` starts a
Python under it, which forks for every call and every fault, looks at what was left, and lets the
code run again.
"""

from __future__ import annotations

import ctypes
import errno
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("system_calls.c")
KILL_BEFORE, KILL_AFTER = -1, -2
FAULTS = (errno.ENOSPC, errno.EIO, errno.EACCES, KILL_BEFORE, KILL_AFTER)
OUTSIDE = "outside"
"""A directory beside, which nothing may touch."""


@dataclass(frozen=True)
class Scenario:
    """A piece of code, and how to see what it did in a directory."""

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    is_old: Callable[[Path], bool]
    is_new: Callable[[Path], bool]
    names: frozenset[str]
    """What the directory holds at the end, and nothing else."""
    repair: Callable[[Path], None] = field(default=lambda _: None)
    """What someone who only reads would call first."""


def run_all(module: str, *names: str, step: int = 1) -> dict[str, tuple[int, list[str]]]:
    """Return for each scenario the number of system calls, and everything that went wrong.

    Args:
        module: where the scenarios are.
        names: their names.
        step: try only every `step`-th call.
    """
    with tempfile.TemporaryDirectory(dir=_fast_disk()) as directory:
        library = Path(directory, "calls.so")
        compiler = shutil.which("cc") or shutil.which("gcc") or "cc"
        flags = ("-shared", "-fPIC", "-O1", "-Wall", "-Werror")
        subprocess.run([compiler, *flags, "-o", library, SOURCE, "-ldl"], check=True)
        command = [sys.executable, "-m", "tests.support.faults", directory, str(step), module]
        done = subprocess.run(
            [*command, *names],
            env=os.environ | {"LD_PRELOAD": str(library)},
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
    return {name: (calls, wrong) for name, (calls, wrong) in json.loads(done.stdout).items()}


def _fast_disk() -> str | None:
    """A disk in memory, because every case flushes its files."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def main() -> None:
    """Run all faults of the scenarios; print the numbers of calls and the problems."""
    directory, step, module, *names = sys.argv[1:]
    scenarios = importlib.import_module(module)
    found = {}
    for name in names:
        (base := Path(directory, name)).mkdir()
        found[name] = _all_faults(getattr(scenarios, name), base, int(step))
    print(json.dumps(found))  # noqa: T201


def _all_faults(scenario: Scenario, base: Path, step: int) -> tuple[int, list[str]]:
    home = _prepared(scenario, base / "count")
    calls = _in_child(scenario, home, -1, 0)[1]
    wrong = [
        f"call {k}, fault {fault}: {problem}"
        for k in range(0, calls, step)
        for fault in FAULTS
        if (problem := _one(scenario, base / f"{k}.{fault}", k, fault))
    ]
    return calls, wrong


def _prepared(scenario: Scenario, home: Path) -> Path:
    home.mkdir()
    (home / OUTSIDE).mkdir()
    (home / OUTSIDE / "letter").write_text("dear")
    scenario.prepare(home)
    return home


def _in_child(scenario: Scenario, home: Path, call: int, fault: int) -> tuple[int, int]:
    """Run the code in a child; return its status (0 done, 1 refused, -9 killed) and the calls."""
    library = ctypes.CDLL(None)
    to_read, to_write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 3
        try:
            library.arm(ctypes.c_long(call), fault)
            status = _acted(scenario, home)
        finally:
            os.write(to_write, str(library.counted()).encode())
            os._exit(status)
    os.close(to_write)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(to_read) as file:
        return status, int(file.read() or 0)


def _acted(scenario: Scenario, home: Path) -> int:
    from cpm_lm.errors import CpmError

    try:
        scenario.act(home)
    except (CpmError, OSError):
        return 1
    return 0


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def _one(scenario: Scenario, home: Path, call: int, fault: int) -> str | None:
    _prepared(scenario, home)
    status, _ = _in_child(scenario, home, call, fault)
    if status not in ((-9,) if fault < 0 else (0, 1)):
        return f"ended with {status}"
    scenario.repair(home)
    old, new = scenario.is_old(home), scenario.is_new(home)
    if not (new if status == 0 else old if status == 1 else old or new):
        return f"neither whole: status {status}, old {old}, new {new}, {names_in(home)}"
    if (home / OUTSIDE / "letter").read_text() != "dear" or names_in(home / OUTSIDE) != {"letter"}:
        return "something outside was touched"
    again = _acted(scenario, home)
    if again or not scenario.is_new(home):
        return f"the next run ended with {again}"
    if (names := names_in(home)) != scenario.names | {OUTSIDE}:
        return f"left over: {sorted(names)}"
    shutil.rmtree(home)
    return None


if __name__ == "__main__":
    main()
