"""Read a hostile file in a process of its own, and measure what that costs.

A table of handmade files is a list of `Case`; each is read in a fork of one server process, which
has imported the package already, so that hundreds of cases cost little. A row of the table says
what reading must give: a result, or an error whose text is stated. Whatever it gives, it must cost
no more than LIMIT_CPU and LIMIT_MEMORY, and must not end the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Case", "Outcome", "Server", "check", "run_verb"]

LIMIT_CPU = 2.0
"""Seconds of CPU time that any file under 1 MB may take."""
LIMIT_MEMORY = 100_000_000
"""Bytes of memory above those of a path that holds nothing."""
SLACK = 3
"""The tests allow this multiple: the machine may be busy."""
LONGEST_MESSAGE = 4000
ADDRESS_SPACE = 6 << 30
"""Bytes of address space a reader may take, so that a failure does not stop the machine."""
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One handmade file, and what reading it must give."""

    name: str
    make: Callable[[Path], Path]
    """Writes the files into an empty directory; returns the path to read."""
    error: str | None = None
    """A part of the error's text; None for a file that is readable."""
    read: str = "inspect"
    """How it is read: a key of READS."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What reading a file gave, and what it cost."""

    kind: str
    """`readable`, the name of the error's class, or `killed by SIGNAL`."""
    ours: bool
    """Whether it was readable, or the error is one of the package."""
    message: str
    cpu: float
    """Seconds."""
    memory: int
    """Bytes of the process at its peak, above what it had before reading."""


def _inspect(path: Path) -> object:
    from cpm_lm.verification.inspect import inspect

    return inspect(path).to_json()


def _tokenizer(path: Path) -> object:
    from cpm_lm.tokenizer import Tokenizer

    return Tokenizer.load(path).encode("今天天气 hello")


def _convert(path: Path) -> object:
    from cpm_lm.checkpoints.convert import convert

    with tempfile.TemporaryDirectory() as folder:
        return convert(path, Path(folder) / "out", heads=1).to_json()


def _verify(path: Path) -> object:
    from cpm_lm.errors import CheckpointError
    from cpm_lm.verification.verify import verify

    if problems := verify(path).problems:
        raise CheckpointError("; ".join(problems))
    return None


def _store(path: Path) -> object:
    from cpm_lm.checkpoints.layouts.store import Store

    return Store.open(path).names


def _config(path: Path) -> object:
    from cpm_lm.checkpoints.config_file import read_config

    return read_config(path)


def _aliases(path: Path) -> object:
    from cpm_lm.generation.answers import read_aliases

    return read_aliases(path)


def _misbehave(path: Path) -> object:
    """Take as many bytes as a file says, or crash if it says a negative number."""
    if (size := int(path.read_text())) < 0:
        os.abort()
    return bytearray(size).count(1)


READS: dict[str, Callable[[Path], object]] = {
    "inspect": _inspect,
    "tokenizer": _tokenizer,
    "convert": _convert,
    "verify": _verify,
    "store": _store,
    "config": _config,
    "aliases": _aliases,
    "misbehave": _misbehave,
}
"""The functions that a case may be read by; the last is for the tests of this harness."""


class Server:
    """A process that reads each path in a fork of itself, and says what that gave and cost."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.hostile.harness"],
            cwd=ROOT, env=_environment(), text=True, encoding="utf-8",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def read(self, path: Path, how: str = "inspect") -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([how, os.fspath(path)]) + "\n")
        self._process.stdin.flush()
        return Outcome(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def check(server: Server, case: Case, directory: Path) -> Outcome:
    """Read a case; raise AssertionError where it does not give what its row says, or costs more."""
    outcome = server.read(case.make(directory), case.read)
    found = f"{case.name}: {outcome.kind}: {outcome.message[:500]}"
    assert outcome.ours, found
    if case.error is None:
        assert outcome.kind == "readable", found
    else:
        assert outcome.kind != "readable", found
        assert case.error in outcome.message, f"{found}; expected {case.error!r}"
        assert len(outcome.message) <= LONGEST_MESSAGE, f"{case.name}: {len(outcome.message)}"
        assert outcome.message.isprintable(), f"{case.name}: {outcome.message!a}"
    assert outcome.cpu < SLACK * LIMIT_CPU, f"{case.name}: {outcome.cpu:.1f} s"
    assert outcome.memory < SLACK * LIMIT_MEMORY, f"{case.name}: {outcome.memory:,} bytes"
    return outcome


def run_verb(*words: str | Path) -> tuple[int, str, float, int]:
    """Run a verb of the command line under the limits, as a user does.

    Returns:
        code: the exit status; negative for a signal.
        stderr: what it wrote there.
        cpu: seconds.
        memory: bytes at its peak, above those of an inspection of an empty directory.
    """
    code, stderr, cpu, peak = _run(tuple(str(word) for word in words))
    return code, stderr, cpu, peak - _empty()


@cache
def _empty() -> int:
    """Return the memory of `cpm inspect` of an empty directory, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        return _run(("inspect", folder))[3]


def _run(words: tuple[str, ...]) -> tuple[int, str, float, int]:
    with tempfile.TemporaryFile() as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "cpm_lm", *words],
            cwd=ROOT, env=_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=written, preexec_fn=_limit,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        written.seek(0)
        stderr = written.read().decode("utf-8", "replace")
    return process.returncode, stderr, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "CPM_LANG": "en",
    }


def _limit() -> None:
    """Let the system stop a reader that goes far beyond what the tests allow."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + 4 * SLACK * LIMIT_CPU) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _serve() -> None:
    """Read requests from stdin; answer each from a fork, one line of JSON on stdout."""
    for read in READS.values():  # all modules are imported before the forks
        with contextlib.suppress(Exception):
            read(Path("/nonexistent"))
    from cpm_lm.tokenizer.words import words

    next(iter(words("今天")))  # loads jieba's dictionary
    with contextlib.suppress(ImportError):
        import h5py  # noqa: F401
    for line in sys.stdin:
        how, path = json.loads(line)
        sys.stdout.write(json.dumps(_in_fork(READS[how], Path(path))) + "\n")
        sys.stdout.flush()


def _in_fork(read: Callable[[Path], object], path: Path) -> dict[str, Any]:
    receive, send = os.pipe()
    started = time.monotonic()
    if (child := os.fork()) == 0:
        os.close(receive)
        _limit()
        before = _resident()
        answer = json.dumps([before, *_attempt(read, path)])
        with os.fdopen(send, "w") as out:
            out.write(answer)
        os._exit(0)
    os.close(send)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(60)  # a reader that waits, as for a pipe, takes no CPU time
    with os.fdopen(receive) as found:
        text = found.read()
    _, status, used = os.wait4(child, 0)
    signal.alarm(0)
    cpu = used.ru_utime + used.ru_stime
    if not text:
        number = os.waitstatus_to_exitcode(status)
        waited = f" after {time.monotonic() - started:.0f} s"
        return {
            "kind": f"killed by {signal.Signals(-number).name if number < 0 else number}",
            "ours": False, "message": waited, "cpu": cpu, "memory": 0,
        }  # fmt: skip
    before, kind, ours, message = json.loads(text)
    memory = max(0, used.ru_maxrss * 1024 - before)
    return {"kind": kind, "ours": ours, "message": message, "cpu": cpu, "memory": memory}


def _attempt(read: Callable[[Path], object], path: Path) -> tuple[str, bool, str]:
    from cpm_lm.errors import CpmError

    try:
        read(path)
    except CpmError as error:
        return type(error).__name__, True, str(error)
    except BaseException as error:
        return type(error).__name__, False, ascii(error)[:2000]
    return "readable", True, ""


def _resident() -> int:
    """Return the bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """Start a server, and end it afterwards."""
    server = Server()
    try:
        yield server
    finally:
        server.close()


if __name__ == "__main__":
    _serve()
