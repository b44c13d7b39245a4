"""Timing the kernels: every call is counted, and the kernels are restored."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.decode import arguments
from benchmarks.python_share import KERNELS, steps, timed_kernels


def test_every_call_is_timed_and_the_kernels_are_restored():
    kernels = {name: (lambda value=name: value) for name in KERNELS}
    module = SimpleNamespace(**kernels)
    with timed_kernels(module) as taken:
        assert module.linear() == "linear"
        assert module.gelu() == "gelu"
        assert len(taken) == 2
    assert vars(module) == kernels


def test_kernels_are_restored_after_an_error():
    kernels = {name: (lambda: 1 / 0) for name in KERNELS}
    module = SimpleNamespace(**kernels)
    with pytest.raises(ZeroDivisionError), timed_kernels(module):
        module.linear()
    assert vars(module) == kernels


def test_kernel_times_of_the_prefill_do_not_count():
    taken: list[float] = []

    class Session:
        def extend(self, tokens, parents):
            taken.append(100.0 if len(tokens) > 1 else 0.25)
            return np.arange(len(tokens)), None

        def release(self, nodes):
            assert len(nodes) == 1

    whole, inside = steps(Session(), 3, taken)
    assert inside == [0.25] * 3
    assert len(whole) == 3


def test_check_and_write_exclude_each_other():
    assert arguments(["--check"]).rounds == 0
    with pytest.raises(SystemExit):
        arguments(["--check", "--write"])
