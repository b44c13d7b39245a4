"""Ctrl-C, SIGTERM and SIGHUP: the command ends soon, without a traceback, and cleans up."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from cpm_lm.cli import signals
from tests.support.programs import PATIENCE, ROOT, Started, run_program

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

# Runs `cpm` and sends a signal to itself when it imports a module for the first time.
AT_IMPORT = """if True:
    import os, signal, sys
    wanted = sys.argv.pop(1)

    class Sender:
        def find_spec(self, name, path, target=None):
            if name == wanted:
                sys.meta_path.remove(self)
                os.kill(os.getpid(), signal.SIGINT)

    sys.meta_path.insert(0, Sender())
    from cpm_lm.__main__ import main
    main()
    print("not interrupted")
"""


@pytest.mark.parametrize(
    "module",
    ["cpm_lm.cli", "click", "cpm_lm.cli.sample", "numpy", "cpm_lm.engines.native", "cpm_lm.model"],
)
def test_ctrl_c_while_something_is_imported(module: str) -> None:
    # A traceback of the import system, and exit code 1.
    words = ("sample", "今天", "--max-tokens", "2")
    assert run_program(AT_IMPORT, module, *words) == (130, "", "")


@pytest.mark.keras
@pytest.mark.slow
@pytest.mark.parametrize("module", ["keras", "keras.src.layers", "ml_dtypes"])
def test_ctrl_c_while_a_framework_is_imported(module: str) -> None:
    engine = os.environ["KERAS_BACKEND"]
    words = ("sample", "今天", "--max-tokens", "2", "--engine", engine)
    assert run_program(AT_IMPORT, module, *words) == (130, "", "")


def start(*words: str, **streams: Any) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "cpm_lm", *words]
    return subprocess.Popen(command, cwd=ROOT, **streams)


LONG = ("sample", "今天天气", "-n", "5000", "--max-tokens", "100", "--top-p", "1")


def read_until(descriptor: int, size: int) -> bytes:
    found = b""
    while len(found) < size and (more := os.read(descriptor, 1000)):
        found += more
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_sample_that_is_interrupted_ends_its_line(number: signal.Signals) -> None:
    with start(*LONG, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert process.stdout
            found = read_until(process.stdout.fileno(), 10)
            process.send_signal(number)
            out, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
    assert process.returncode == 128 + number
    assert errors == b""
    assert (found + out).endswith(b"\n")


def test_a_terminal_is_left_clean() -> None:
    ours, theirs = pty.openpty()
    with start(*LONG, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            found = read_until(ours, 10)
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
            found += read_all(ours)
        finally:
            process.kill()
            os.close(ours)
    assert process.returncode == 130
    assert b"Traceback" not in found
    assert b"Aborted" not in found
    assert found.endswith(b"\n")
    assert found.count(b"\x1b[?25l") == found.count(b"\x1b[?25h")  # the cursor


def read_all(descriptor: int) -> bytes:
    found = b""
    while True:
        try:
            more = os.read(descriptor, 1000)
        except OSError:  # the other end is closed
            return found
        if not more:
            return found
        found += more


GUARDED = """if True:
    import os, signal, sys, time
    from cpm_lm.cli.signals import signals_end_the_command
    for name in sys.argv[1:]:
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    with signals_end_the_command():
        try:
            print("ready", flush=True)
            time.sleep(CALL)
        finally:
            print("cleaned", flush=True)
            CLEANING
"""


def guarded(call: str = "60", cleaning: str = "pass") -> str:
    return GUARDED.replace("CALL", call).replace("CLEANING", cleaning)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_half_done_is_cleaned(number: signal.Signals) -> None:
    # `timeout` sends its signal to the process and to its group: twice.
    twice = Started(guarded(cleaning="time.sleep(0.05)")).send(number, number)
    assert twice == (128 + number, "cleaned\n", "")


def test_a_second_ctrl_c_does_not_wait_for_the_cleaning() -> None:
    program = guarded(cleaning="[time.sleep(0.01) for _ in range(100_000)]")
    ended = Started(program).send(signal.SIGINT, signal.SIGINT, pause=1)
    assert ended == (-signal.SIGINT, "cleaned\n", "")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    # nohup, and a shell that starts a process in the background.
    program = Started(guarded(call="1"), "SIGHUP", "SIGINT")
    assert program.send(signal.SIGHUP, signal.SIGINT) == (0, "cleaned\n", "")


@pytest.mark.parametrize(
    "swallowing",
    [
        "try: time.sleep(60)\n            except BaseException: raise OSError('lost') from None",
        "try: time.sleep(60)\n            except BaseException: pass",
    ],
)
def test_a_library_that_swallows_the_exception_changes_nothing(swallowing: str) -> None:
    program = GUARDED.replace("time.sleep(CALL)", swallowing).replace("CLEANING", "pass")
    assert Started(program).send(signal.SIGINT) == (130, "cleaned\n", "")


def test_an_exception_that_python_drops_ends_the_command() -> None:
    # In a callback of a weak reference Python prints "Exception ignored in", and goes on.
    dropped = (
        "import weakref\n"
        "            class Thing: pass\n"
        "            thing = Thing()\n"
        "            send = lambda _: os.kill(os.getpid(), 2) or time.sleep(9)\n"
        "            kept = weakref.ref(thing, send)\n"
        "            del thing\n"
        "            time.sleep(60)"
    )
    program = GUARDED.replace("time.sleep(CALL)", dropped).replace("CLEANING", "pass")
    code, _, errors = run_program(program)
    assert (code, errors) == (130, "")


STUCK = """if True:
    import itertools, sys, types
    from importlib.machinery import ModuleSpec
    from cpm_lm.cli import signals

    class Loader:
        def create_module(self, spec):
            return None
        def exec_module(self, module):
            print("ready", flush=True)
            sum(itertools.repeat(1))  # Python runs no handler, and the GIL is held

    signals.PathFinder = types.SimpleNamespace(
        find_spec=lambda name, *_: ModuleSpec(name, Loader())
    )
    with signals.signals_end_the_command():
        import keras
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_framework_that_keeps_python_from_acting_is_ended(number: signal.Signals) -> None:
    pytest.importorskip("cpm_lm._native")
    process = Started(STUCK)
    time.sleep(0.2)
    started = time.monotonic()
    code, _, errors = process.send(number)
    assert errors == ""
    assert code == 128 + number
    assert time.monotonic() - started + 0.5 >= signals.STUCK_SECONDS


def test_looking_for_a_framework_installs_nothing() -> None:
    program = """if True:
        from importlib.util import find_spec
        import sys
        from cpm_lm.cli import signals
        signals.end_if_stuck = lambda: print("installed")
        with signals.signals_end_the_command():
            find_spec("keras"), find_spec("jax"), find_spec("tensorflow")
    """
    assert run_program(program) == (0, "", "")


def test_a_closed_pipe_is_silent_for_every_stream() -> None:
    shell = f'{sys.executable} -m cpm_lm next 今天 | head -c 1; exit "${{PIPESTATUS[0]}}"'
    ended = subprocess.run(
        ["bash", "-c", shell], cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False
    )
    assert b"Traceback" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_streams_give_no_traceback(closed: str) -> None:
    words = [sys.executable, "-m", "cpm_lm", "sample", "今天", "--max-tokens", "2"]
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", *words]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=PATIENCE, check=False)
    assert b"Traceback" not in ended.stderr
    assert ended.returncode in (0, 1)


def test_the_package_is_imported_lazily() -> None:
    # So that the entry point handles Ctrl-C before anything that takes time.
    code = "import sys, cpm_lm; print([m for m in sys.modules if m.startswith('cpm_lm')])"
    assert run_program(code) == (0, "['cpm_lm']\n", "")
    used = "import cpm_lm; cpm_lm.engines; cpm_lm.errors; print(dir(cpm_lm)[0])"
    assert run_program(used) == (0, "CapacityError\n", "")
