"""The clocks around kernels: they count every call, and leave nothing behind."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.decode import arguments
from benchmarks.python_share import KERNELS, clocked, steps


def test_every_call_is_clocked_and_the_kernels_are_put_back():
    kernels = {name: (lambda value=name: value) for name in KERNELS}
    module = SimpleNamespace(**kernels)
    with clocked(module) as taken:
        assert module.linear() == "linear"
        assert module.gelu() == "gelu"
        assert len(taken) == 2
    assert vars(module) == kernels


def test_kernels_are_put_back_after_an_error():
    kernels = {name: (lambda: 1 / 0) for name in KERNELS}
    module = SimpleNamespace(**kernels)
    with pytest.raises(ZeroDivisionError), clocked(module):
        module.linear()
    assert vars(module) == kernels


def test_kernels_of_the_context_do_not_count_for_the_steps():
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


def test_a_check_that_takes_no_times_writes_none_into_the_page():
    assert arguments(["--check"]).rounds == 0
    with pytest.raises(SystemExit):
        arguments(["--check", "--write"])
