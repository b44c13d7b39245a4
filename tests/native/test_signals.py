"""Handlers of signals in C: a mapped file that became shorter, and a process that is stuck."""

from __future__ import annotations

import os
import signal
import time

import pytest

from cpm_lm import _native as native
from tests.support.programs import Started, run_program

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

SANITIZED = "CPM_NATIVE" in os.environ  # sanitizers handle SIGBUS too, and end with their own code

MAPPED = """if True:
    import mmap, os, sys, tempfile
    import tests.native.conftest
    from cpm_lm import _native as native

    def mapped(message):
        with tempfile.TemporaryFile() as file:
            file.truncate(1 << 16)
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            files.append(os.dup(file.fileno()))
        return mapping, native.watch_mapping(mapping, message)

    files = []
    (first, one), (second, two) = mapped("the first\\n"), mapped("the second\\n")
    for file in files:
        os.ftruncate(file, 4096)
"""


def test_a_mapping_that_became_shorter_is_named():
    code, out, errors = run_program(MAPPED + "    second[50000]\n")
    assert "the second\n" in errors
    assert "the first" not in errors
    assert out == ""
    if not SANITIZED:
        assert (code, errors) == (-signal.SIGBUS, "the second\n")


def test_the_handler_that_was_there_before_runs_next():
    enabled = "import faulthandler; faulthandler.enable()\n"
    code, _, errors = run_program(enabled + MAPPED + "    first[50000]\n")
    assert "the first\n" in errors
    assert code != 0
    if not SANITIZED:
        assert "Fatal Python error: Bus error" in errors
        assert code == -signal.SIGBUS


def test_what_is_not_watched_is_not_named():
    code, _, errors = run_program(MAPPED + "    native.unwatch_mapping(two); second[50000]\n")
    assert "the second" not in errors
    assert code != 0
    assert SANITIZED or (code, errors) == (-signal.SIGBUS, "")


def test_a_signal_that_a_process_sends_ends_this_one():
    code, _, errors = run_program(MAPPED + "    os.kill(os.getpid(), 7); print('alive')\n")
    assert code != 0
    assert "the first" not in errors
    assert "the second" not in errors


def test_there_may_be_too_many_mappings():
    more = "    print([mapped('')[1] for _ in range(400)].count(-1), mapped('')[1])\n"
    # Each mapping ends at once here, but its watch does not: that is what the caller must end.
    assert run_program(MAPPED + more)[1] == "146 -1\n"


# sum over a C iterator: Python runs no handler until it is done, in some hours, and holds the GIL.
STUCK = """if True:
    import itertools, signal, sys
    import tests.native.conftest
    from cpm_lm import _native as native
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    native.end_if_stuck(1, "last words\\n")
    print("ready", flush=True)
    sum(itertools.repeat(1))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stuck_process_is_ended(number):
    assert Started(STUCK).send(number) == (128 + number, "", "last words\n")


def test_a_second_ctrl_c_ends_a_stuck_process_at_once():
    patient = STUCK.replace("end_if_stuck(1,", "end_if_stuck(3600,")
    started = time.monotonic()
    ended = Started(patient).send(signal.SIGINT, signal.SIGINT, pause=0.3)
    assert ended == (-signal.SIGINT, "", "last words\n")
    assert time.monotonic() - started < 60


def test_a_process_that_handles_its_signal_goes_on():
    handler = "lambda *_: handled.append(signal.alarm(0))"
    waits = (
        "import time\n"
        "    while not handled: time.sleep(0.01)\n"
        "    time.sleep(1.5); print('went on')"
    )
    program = STUCK.replace("lambda *_: None", handler).replace("sum(itertools.repeat(1))", waits)
    program = program.replace("    print(", "    handled = []\n    print(")
    assert Started(program).send(signal.SIGTERM) == (0, "went on\n", "")


@pytest.mark.parametrize("seconds", [0, -1, 3601])
def test_seconds_out_of_range_are_refused(seconds):
    with pytest.raises(ValueError, match="1 to 3600 was expected"):
        native.end_if_stuck(seconds, "")


def test_only_memory_can_be_watched():
    with pytest.raises(TypeError):
        native.watch_mapping(5, "")  # type: ignore[arg-type]
