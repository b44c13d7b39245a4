"""The native engine's files, memory and threads, and their errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.engines.forest import chain
from cpm_lm.engines.native import engine as native
from cpm_lm.engines.native.engine import NativeEngine
from cpm_lm.engines.select import open_engine
from cpm_lm.errors import CapacityError, CheckpointError, CpmError
from tests.support.random_models import both, shape


@pytest.fixture(scope="module")
def original(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sessions") / "store"
    convert(checkpoints / "tiny-mp1", target, heads=4)
    return target


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    """A copy that the test may damage."""
    return shutil.copytree(original, tmp_path / "store")


def opened(store: Path, **options: object) -> NativeEngine:
    engine = open_engine(store, engine="native", **options)  # type: ignore[arg-type]
    assert isinstance(engine, NativeEngine)
    return engine


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, 100, 2000, 0.5, 0.99, -1, -4])
def test_a_truncated_store_is_refused_when_it_is_opened(store: Path, kept: float) -> None:
    path = store / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if 0 < kept < 1 else int(kept)])
    with pytest.raises(CheckpointError, match="safetensors"):
        opened(store)


def rewritten(path: Path, change: Callable[[dict[str, Any]], None], *, spaces: int = 0) -> None:
    """Change a file's header, or its length, and keep its numbers."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64 + spaces)
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[end:])


def larger(header: dict[str, Any]) -> None:
    header["wte.weight"]["shape"][0] *= 2


def beyond(header: dict[str, Any]) -> None:
    header["ln_f.bias"]["data_offsets"][1] += 4096


def overlapping(header: dict[str, Any]) -> None:
    header["h.0.attn.c_attn.weight"]["data_offsets"] = header["wte.weight"]["data_offsets"]


def narrower(header: dict[str, Any]) -> None:
    header["h.0.attn.c_attn.weight"]["dtype"] = "F16"


def negative(header: dict[str, Any]) -> None:
    header["wte.weight"]["data_offsets"][0] = -8


@pytest.mark.parametrize("change", [larger, beyond, overlapping, narrower, negative])
def test_an_inconsistent_header_is_refused(
    store: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    rewritten(store / "model.safetensors", change)
    with pytest.raises(CheckpointError):
        opened(store)


def test_an_inconsistent_configuration_is_refused(store: Path) -> None:
    values = json.loads((store / "config.json").read_text())
    for name in ("vocab_size", "n_positions", "n_embd", "n_layer"):
        (store / "config.json").write_text(json.dumps(values | {name: 2 * values[name]}))
        with pytest.raises(CpmError):
            opened(store)


def test_unaligned_tensors_are_refused(store: Path) -> None:
    for spaces in (1, 2, 3):
        rewritten(store / "model.safetensors", lambda header: None, spaces=spaces)
        with pytest.raises(CheckpointError, match="does not lie at a multiple of 4 bytes"):
            opened(store)
    rewritten(store / "model.safetensors", lambda header: None, spaces=4)
    opened(store)


def test_weights_are_memory_mapped(store: Path) -> None:
    engine = opened(store)
    before = engine.session().extend([1, 2], [-1, -2])[1]
    shutil.rmtree(store)  # the mapping stays valid
    assert np.array_equal(engine.session().extend([1, 2], [-1, -2])[1], before)


def test_a_capacity_of_one() -> None:
    session = both(shape())[0].session(1)
    nodes, logits = session.extend([1], [-1])
    assert logits.shape == (1, 61)
    with pytest.raises(CapacityError, match="1 new tokens do not fit"):
        session.extend([1], nodes)
    session.release(nodes)
    assert np.array_equal(session.extend([1], [-1])[1], logits)


def test_memory_is_allocated_when_needed() -> None:
    session = both(shape())[0].session(10**6)
    assert session.cache_bytes == 0
    nodes, _ = session.extend([1], [-1])
    first = session.cache_bytes
    assert 0 < first <= 1024 * session.config.node_bytes
    session.release(nodes)
    session.extend([1] * 64, [-1] * 64)
    assert session.cache_bytes == first


def test_a_16_bit_kv_cache_takes_half() -> None:
    sizes = []
    for dtype in ("f32", "f16"):
        session = both(shape(), cache_dtype=dtype)[0].session()
        session.extend([1], [-1])
        sizes.append(session.cache_bytes)
    assert sizes[0] == 2 * sizes[1]


def test_a_call_above_the_memory_limit_changes_nothing() -> None:
    limit = 400 * shape().node_bytes
    session = both(shape(), cache_bytes=limit)[0].session(10**6)
    nodes, _ = session.extend([1, 2], [-1, -2])
    _, before = session.extend([3], nodes[-1:])
    with pytest.raises(CapacityError, match=rf"there is room for {limit:,}; release nodes"):
        session.extend([1] * 5000, [-1] * 5000)
    assert session.live == 3
    assert session.cache_bytes <= limit
    assert np.array_equal(session.extend([3], nodes[-1:])[1], before)


def test_a_limit_below_one_chunk_is_refused() -> None:
    session = both(shape(), cache_bytes=1)[0].session(10**6)
    with pytest.raises(CapacityError, match=r"need .* bytes .* and there is room for 1;"):
        session.extend([1], [-1])
    assert session.live == 0


def test_available_memory_is_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "available_memory", lambda: 10)
    with pytest.raises(CapacityError, match="there is room for 10;"):
        both(shape())[0].session().extend([1], [-1])


def test_engines_share_a_pool() -> None:
    first, second, third = (both(shape(), threads=n)[0] for n in (2, 2, 3))
    assert first.pool is second.pool
    assert first.pool is not third.pool


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_computes_the_same() -> None:
    engine = both(shape(n_embd=96, n_head=4, vocab_size=1000), threads=2)[0]
    call = ([1, 2, 3] * 20, chain(60))
    expected = engine.session().extend(*call)[1]
    child = os.fork()
    if not child:
        same = np.array_equal(engine.session().extend(*call)[1], expected)
        os._exit(0 if same else 1)
    deadline = time.monotonic() + 30
    while not (ended := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(ended[1]) == 0


# One call that takes much longer than a second.
PREFILL = """if True:
    import sys
    from cpm_lm.engines.forest import chain
    from tests.support.random_models import both, shape
    engine = both(shape(n_embd=512, n_head=8, n_layer=8, n_positions=1024), threads=1)[0]
    session = engine.session(10**6)
    print("ready", flush=True)
    try:
        while True:
            session.extend([1] * 20480, chain(1024).tolist() * 20)
            sys.exit("too fast to be interrupted")
    except KeyboardInterrupt:
        print(session.live)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_a_long_prefill_can_be_interrupted() -> None:
    command, folder = [sys.executable, "-c", PREFILL], Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "0\n")
