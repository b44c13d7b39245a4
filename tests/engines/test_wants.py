"""Wants on engines that return logits to the host, and on one that answers them on its device."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cpm_lm.engines.base import Engine, HostSession, Session
from cpm_lm.engines.forest import chain
from cpm_lm.engines.native.engine import NativeEngine
from cpm_lm.engines.reference import ReferenceEngine
from cpm_lm.engines.wants import Draws, Logits, LogProbs, Want
from cpm_lm.errors import EngineError
from tests.support.engine_contract import PLAIN, EngineContract, chosen, ints, log_softmax
from tests.support.fakes import FakeEngine, FakeSession, hashed, random_engine
from tests.support.random_models import both, shape


class DeviceEngine(FakeEngine):
    """Answers wants itself, row by row, and returns logits only if they are wanted."""

    def session(self, capacity: int = 1024) -> DeviceSession:
        return DeviceSession(self, capacity)


class DeviceSession(FakeSession):
    def _answers(self, tokens: Any, nodes: Any, wants: Sequence[Want]) -> list[Any]:
        hidden = self._forward(tokens, nodes)
        return [self.answer(want, hidden) for want in wants]

    def answer(self, want: Want, hidden: Any) -> Any:
        from cpm_lm.distributions.draw import Drawn, Scored

        logits = self._logits(hidden, want.at)
        if isinstance(want, Logits):
            return logits
        exact = log_softmax(logits)
        if isinstance(want, Draws):
            rows = [i for i, numbers in enumerate(want.u) for _ in numbers]
            numbers = [number for numbers in want.u for number in numbers]
            edited = logits.astype(np.float64)
            for edits in want.edits:
                edits.apply(edited)
            found = [
                chosen(edited[i], want.rules[i], u) for i, u in zip(rows, numbers, strict=True)
            ]
            tokens = [token for token, _, _ in found]
            low, high = (np.array([f[k] for f in found], np.float64) for k in (1, 2))
            logprobs = np.array([exact[i, t] for i, t in zip(rows, tokens, strict=True)])
            return Drawn(np.array(tokens, np.int32), low, high, logprobs.astype(np.float64))
        assert isinstance(want, LogProbs)
        pairs = [(i, token) for i, ids in enumerate(want.ids) for token in ids]
        ids = np.argsort(-exact, axis=1, kind="stable")[:, : want.top].astype(np.int32)
        tops = np.take_along_axis(exact, ids, axis=1)
        return Scored(np.array([exact[pair] for pair in pairs], np.float64), ids, tops)


class TestReference(EngineContract):
    @pytest.fixture
    def engine(self) -> ReferenceEngine:
        return random_engine()


class TestNative(EngineContract):
    @pytest.fixture
    def engine(self) -> NativeEngine:
        return both(shape())[0]


class TestFakeHost(EngineContract):
    @pytest.fixture
    def engine(self) -> FakeEngine:
        return FakeEngine(hashed(30), 30)


class TestFakeDevice(EngineContract):
    @pytest.fixture
    def engine(self) -> DeviceEngine:
        return DeviceEngine(hashed(30), 30)


def test_samples_are_the_same_on_host_and_device() -> None:
    from cpm_lm.model import Model
    from tests.support.fakes import FakeTokenizer

    letters = " abcdefghijklmnopqrst"
    texts = []
    for kind in (FakeEngine, DeviceEngine):
        model = Model(kind(hashed(21), 21), FakeTokenizer(letters))
        samples = model.sample("abc", n=40, seed=3, max_tokens=8, top_p=0.9)
        vote = model.vote("abc", n=60, seed=3, max_tokens=4, method="stratified")
        texts.append(([s.token_ids for s in samples], vote.tally))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("want", ["draws", "scores"])
def test_nonfinite_logits_are_refused_and_change_nothing(want: str) -> None:
    engine = FakeEngine(lambda path: [np.nan if len(path) == 3 else 0.0] * 20, 20)
    session = engine.session(64)
    at = ints(2)
    request = Draws(at, [PLAIN], [np.array([0.5])]) if want == "draws" else LogProbs(at, [ints(1)])
    with pytest.raises(EngineError, match="not finite"):
        session.extend([1, 2, 3], chain(3), [Logits(ints(0)), request])
    assert session.live == 0
    session.extend([1, 2], chain(2), [Draws(ints(1), [PLAIN], [np.array([0.5])])])
    assert session.live == 2


class CountingSession(HostSession):
    """Records how many rows of logits are computed at a time."""

    def __init__(self, engine: Engine, capacity: int) -> None:
        super().__init__(engine.config, capacity)
        self.blocks: list[int] = []

    def _forward(self, tokens: Any, nodes: Any) -> Any:
        return nodes

    def _logits(self, hidden: Any, rows: Any) -> Any:
        self.blocks.append(len(rows))
        return np.zeros((len(rows), self.config.vocab_size), np.float32)


def test_logits_are_computed_in_blocks_and_once_for_each_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = FakeEngine(hashed(30), 30)
    monkeypatch.setattr("cpm_lm.engines.wants.BLOCK_BYTES", 4 * 30 * 8)
    session: Session = CountingSession(engine, 64)
    at = np.arange(20, dtype=np.int32)
    wants: list[Want] = [LogProbs.of_each(at, at), Draws(at, [PLAIN] * 20, [np.array([0.5])] * 20)]
    session.extend([1] * 20, chain(20), wants)
    assert session.blocks == [8, 8, 4]  # type: ignore[attr-defined]


# With CPM's vocabulary, a thousand rows of logits take 120 MB.
MEMORY = """
import resource, sys
import numpy as np
from cpm_lm.engines.likelihood import chain_logprobs
from cpm_lm.engines.native.engine import NativeEngine
from cpm_lm.engines.reference import ReferenceEngine
from tests.support.random_models import random_tensors, shape
config = shape(vocab_size=30000, n_positions=1024, n_embd=16, n_layer=1, n_head=2)
tensors = random_tensors(config)
engine = ReferenceEngine(config, tensors) if sys.argv[1] == "reference" else NativeEngine(
    config, tensors, "f32", threads=2)
ids = [7 * i % 30000 for i in range(1001)]
chain_logprobs(engine, ids[:3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(chain_logprobs(engine, ids)) == 1000
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the greatest memory")
@pytest.mark.parametrize("engine", ["native", "reference"])
def test_a_thousand_log_probabilities_take_little_memory(engine: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, engine], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 40e6
