"""Kernels end early: at Ctrl-C, and when Python ends while another thread computes."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

from cpm_lm import _native as native
from tests.support.programs import run_program

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


class StoppedError(Exception):
    pass


@pytest.fixture
def alarm():
    """Call a handler in this thread after a while, as if a signal came from outside."""
    previous = signal.getsignal(signal.SIGALRM)

    def after(seconds, handler):
        signal.signal(signal.SIGALRM, lambda *_: handler())
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield after
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, previous)


def raise_stopped():
    raise StoppedError


@pytest.mark.parametrize("threads", [1, 3])
def test_a_signal_ends_one_long_call(alarm, threads):
    # One call of seconds: before, a handler ran only when the kernel was done.
    pool = native.Pool(threads)
    x = np.ones((1024, 2048), np.float32)
    matrix = native.Matrix(np.ones((2048, 16384), np.float16), "f16")
    out = np.zeros((1024, 16384), np.float32)
    alarm(0.1, raise_stopped)
    with pytest.raises(StoppedError):
        native.linear(pool, x, matrix, out)
    assert (out[-1] == 0).any()  # tasks are outputs: some were not begun
    small = native.Matrix(np.ones((2048, 8), np.float16), "f16")
    out = np.empty((2, 8), np.float32)
    native.linear(pool, x[:2], small, out)
    assert (out == 2048).all()  # the pool can be used again


def test_a_handler_that_computes_is_refused_and_does_not_hang(alarm):
    pool = native.Pool(2)

    def handler():
        native.fma_peak(pool, 1)

    alarm(0.1, handler)
    with pytest.raises(RuntimeError, match="signal handler"):
        native.read_bandwidth(pool, 1 << 28, 10**6)


def test_other_threads_are_not_ended_by_a_signal(alarm):
    pool, done = native.Pool(2), []
    other = threading.Thread(target=lambda: done.append(native.fma_peak(pool, 50)))
    alarm(0.05, raise_stopped)
    other.start()
    with pytest.raises(StoppedError):  # not by `join`: interrupted, it takes the thread for ended
        time.sleep(60)
    deadline = time.monotonic() + 60
    while not done and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(done) == 1


DAEMON = """if True:
    import atexit, sys, threading, time
    import tests.native.conftest
    import numpy as np
    from cpm_lm import _native as native
    pool = native.Pool(int(sys.argv[1]))
    matrix = native.Matrix(np.ones((256, 4096), np.float16), "f16")
    begun = threading.Event()

    def compute(rows):
        x, out = np.ones((rows, 256), np.float32), np.empty((rows, 4096), np.float32)
        while True:
            native.linear(pool, x, matrix, out)
            begun.set()

    for rows in (1, 50, 2000):
        threading.Thread(target=compute, args=(rows,), daemon=True).start()
    begun.wait()
"""


@pytest.mark.parametrize("threads", ["1", "2"])
def test_python_ends_while_other_threads_compute(threads):
    # Python ended these threads in C++ when they came back for the GIL: std::terminate, SIGABRT.
    for _ in range(2):
        assert run_program(DAEMON, threads) == (0, "", "")


def test_what_atexit_calls_later_may_compute_and_wait_for_threads():
    # The last functions of atexit are those registered first: here before the kernels are imported.
    early = (
        "import atexit, threading\n"
        "def last():\n"
        "    for thread in others: thread.join()\n"
        "    print(native.fma_peak(pool, 1) > 0)\n"
        "atexit.register(last)\n"
    )
    late = "others = [t for t in threading.enumerate() if t.daemon]\n"
    assert run_program(early + DAEMON + late, "2") == (0, "True\n", "")
