"""The thread pool: several callers, forks, idle pools, and the choice of the instruction set."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cpm_lm import _native as native

WEIGHTS = native.Matrix(
    (np.random.default_rng(0).standard_normal((200, 300)) / 20).astype(np.float32), "f32"
)


def work(pool: native.Pool, seed: int) -> np.ndarray:
    """Run the kernels of a short session; the result depends on `seed` alone."""
    rng = np.random.default_rng(seed)
    rows = 1 + seed % 12
    cache = native.KeyValueCache(1, 10, 10, "f16")
    x = rng.standard_normal((rows, 200)).astype(np.float32)
    qkv = np.empty((rows, 300), np.float32)
    mixed = np.empty((rows, 100), np.float32)
    for step in range(5):
        native.linear(pool, x, WEIGHTS, qkv)
        cache.reserve((step + 1) * rows)
        slots = np.arange(step * rows, (step + 1) * rows, dtype=np.int32)
        paths = native.Paths(np.arange(rows + 1, dtype=np.int64), slots)
        native.attention(pool, qkv, cache, 0, paths, 0.3, mixed)
        native.gelu(pool, mixed, "tanh")
        x[:, :100] += mixed
    assert np.isfinite(x).all()
    return x


def test_sessions_in_several_threads_share_a_pool(isa):
    expected = [work(native.Pool(1, isa), seed) for seed in range(40)]
    shared = native.Pool(3, isa)
    with ThreadPoolExecutor(6) as callers:
        for result, alone in zip(
            callers.map(lambda s: work(shared, s), range(40)), expected, strict=True
        ):
            assert (result == alone).all()


def test_pools_come_and_go(isa):
    for threads in (1, 2, 7):
        for _ in range(20):
            assert work(native.Pool(threads, isa), 3).shape == (4, 200)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_has_threads_of_its_own():
    program = (
        "import os, tests.native.conftest; from tests.native.test_pool import native, work\n"
        "pool = native.Pool(3); before = work(pool, 5)\n"
        "child = os.fork()\n"
        "same = (work(pool, 5) == before).all()\n"
        "if not child: os._exit(0 if same else 1)\n"
        "assert same and os.waitpid(child, 0)[1] == 0\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_an_idle_pool_sleeps():
    pool = native.Pool(4)
    work(pool, 1)
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1


def test_the_probes_measure_something():
    pool = native.Pool(2)
    assert 1e8 < native.read_bandwidth(pool, 64 << 20, 2) < 1e13
    assert 1e8 < native.fma_peak(pool, 2) < 1e14


def test_the_environment_chooses_the_instruction_set():
    program = "from cpm_lm import _native as n; print(n.Pool(1).instruction_set)"
    environment = {**os.environ, "CPM_ISA": "portable"}
    run = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "portable"


def test_portable_is_always_there():
    assert native.instruction_sets()[-1] == "portable"
    assert native.Pool(1).threads == 1
