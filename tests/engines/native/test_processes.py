"""Forks, and limits of the process and its environment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpm_lm.errors import EngineError
from tests.support.programs import run_program
from tests.support.random_models import both, shape

START = """if True:
    import multiprocessing, os, sys, threading, warnings
    warnings.simplefilter("ignore")  # that a process with threads forks
    import cpm_lm
    threads = int(sys.argv[1])

    def text(model):
        return model.sample([27, 36, 27, 38], n=4, max_tokens=6, seed=1)[3].text

    def check(pid):
        assert os.waitpid(pid, 0)[1] == 0
"""

FORKS = {
    "while another thread loads the dictionary": """
    from cpm_lm.fork_safe_lock import ForkSafeLock
    model = cpm_lm.load(engine="native", threads=threads)
    held, lock = threading.Event(), ForkSafeLock()

    def load():  # as slow as a dictionary can be
        with lock:
            held.set()
            import time
            time.sleep(0.3)
            state.append("loaded")

    state = []
    other = threading.Thread(target=load)
    other.start()
    held.wait()
    if (pid := os.fork()) == 0:
        with lock:
            text(model)
        os._exit(0 if state == ["loaded"] else 3)
    check(pid)
""",
    "while another thread computes": """
    model = cpm_lm.load(engine="native", threads=threads)
    expected, stop, wrong = text(model), threading.Event(), []

    def compute():
        while not stop.is_set():
            if text(model) != expected:
                wrong.append(1)

    other = threading.Thread(target=compute)
    other.start()
    for _ in range(8):
        if (pid := os.fork()) == 0:
            os._exit(0 if text(model) == expected else 3)
        check(pid)
    stop.set()
    other.join()
    assert not wrong
""",
    "by multiprocessing": """
    model = cpm_lm.load(engine="native", threads=threads)
    expected = text(model)

    def job(i):
        return text(model)

    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(job, range(4)) == [expected] * 4
""",
}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("when", FORKS)
def test_a_fork(when: str, threads: str) -> None:
    # A child waited for ever for a lock of a thread that it does not have.
    assert run_program(START + FORKS[when], threads) == (0, "", "")


@pytest.mark.parametrize("name", ["nonsense", "AVX2", "avx2,portable", "\udcff\n"])
def test_an_unknown_instruction_set_is_an_engine_error(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("CPM_ISA", name)
    with pytest.raises(EngineError, match=r"CPM_ISA is .* expected one of .*portable"):
        both(shape(), threads=9)  # a number of threads that no other test has started


FEW_THREADS = """if True:
    import resource
    import cpm_lm
    from tests.support.random_models import both, shape
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)
    try:
        both(shape(), threads=1000)
    except cpm_lm.EngineError as error:
        assert "1000 threads cannot be started" in str(error), error
        print("refused")
    both(shape(), threads=1)[0].session().extend([1, 2], [-1, -2])
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux")
def test_threads_that_do_not_fit_are_an_engine_error() -> None:
    # std::system_error reached the user as a RuntimeError.
    assert run_program(FEW_THREADS) == (0, "refused\n", "")
