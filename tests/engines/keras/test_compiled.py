"""Later steps neither retrace nor recompile, and do not copy the KV cache."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cpm_lm.engines.forest import chain
from cpm_lm.engines.keras.buckets import ROWS

pytestmark = pytest.mark.keras


def frontier(session, count):
    """A decode step: one new token below each of the last `count` nodes."""
    nodes, _ = session.extend([1] * count, [-1] * count, list(range(count)))
    for _ in range(2):
        nodes, _ = session.extend([2] * count, nodes, list(range(count)))


def test_nothing_is_retraced(engine):
    sizes = (1, 3, 4, 9, 20)
    for count in sizes:
        frontier(engine.session(200), count)
    traces, shapes = engine.compilations.traces, len(engine.compilations.seconds)
    for count in (*sizes, 2, 12, 30):
        frontier(engine.session(200), count)
    assert engine.compilations.traces == traces
    assert len(engine.compilations.seconds) == shapes


def test_the_number_of_compiled_shapes_is_bounded(engine):
    for count in (5, 6, 7, 8, 33, 40, 50, 63, 64):
        frontier(engine.session(200), count)
    shapes = [shape for kind, shape in engine.compilations.seconds if kind == "step"]
    assert set(shapes) <= {"one", "many"} or {rows for rows, _ in shapes} <= set(ROWS)
    assert all(seconds > 0 for seconds in engine.compilations.seconds.values())


def test_the_cache_is_written_in_place(engine, backend):
    session = engine.session(64)
    nodes, _ = session.extend([1, 2], [-1, -2])
    before = addresses(session._cache, backend)
    session.extend([3], nodes[-1:])
    assert addresses(session._cache, backend) == before


def addresses(cache, backend):
    if backend == "jax":
        return [part.unsafe_buffer_pointer() for pair in cache for part in pair]
    return [np.asarray(memoryview(part)).ctypes.data for part in cache]


@pytest.mark.skipif(
    os.environ.get("CPM_TEST_ENGINE") == "jax", reason="about TensorFlow; JAX compiles everywhere"
)
def test_xla_gives_the_same_logits(tiny, engine, reference):
    """On a CPU, the program for GPUs: padded to few shapes, each compiled once."""
    from cpm_lm.engines.keras.engine import KerasEngine
    from cpm_lm.engines.keras.on_tensorflow import TensorFlowProgram
    from cpm_lm.gpt.load import keras_model

    compiled = KerasEngine(keras_model(tiny))
    compiled.program = TensorFlowProgram(keras_model(tiny), xla=True)
    session = compiled.session(64)
    ids = reference["input_ids"][0]
    nodes, head = session.extend(ids[:22], chain(22), list(range(22)))
    _, tail = session.extend(ids[22:], [int(nodes[-1]), -2], [0, 1])
    assert np.abs(np.concatenate([head, tail]) - reference["logits"][0]).max() < 1e-4
    assert compiled.compilations.traces == len(compiled.compilations.seconds) == 4
