from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.engines.base import Engine
from cpm_lm.engines.likelihood import chain_logits
from cpm_lm.engines.reference import ReferenceEngine
from cpm_lm.model import DEMO
from cpm_lm.tokenizer import Tokenizer
from cpm_lm.verification.sanity import PROSE, Sanity, sanity
from tests.support.fakes import FakeEngine, FakeTokenizer, hashed, log

LETTERS = "".join(sorted(set(PROSE)))


def tokenizer(prefix: tuple[int, ...] = ()) -> FakeTokenizer:
    fake = FakeTokenizer("\0" + LETTERS)
    fake.prefix_ids = prefix
    return fake


def measured(engine: Engine, prefix: tuple[int, ...] = ()) -> Sanity:
    found = sanity(engine, tokenizer(prefix))
    assert found is not None
    return found


def test_uniform_logits_cost_ln_v_and_are_called_untrained() -> None:
    V = len(LETTERS) + 1
    found = measured(FakeEngine(lambda path: [0.0] * V, V, n_positions=400))
    assert found.loss == pytest.approx(math.log(V))
    assert found.shuffled == pytest.approx(math.log(V))
    assert found.uniform == math.log(V)
    assert found.tokens == len(PROSE) - 1
    assert "looks untrained" in str(found.problem)


def test_random_logits_are_called_untrained() -> None:
    V = len(LETTERS) + 1
    found = measured(FakeEngine(hashed(V), V, n_positions=400))
    assert found.loss > math.log(V)
    assert "looks untrained" in str(found.problem)


def test_character_frequencies_alone_do_not_depend_on_the_order() -> None:
    """A model with the frequencies of characters, without context."""
    ids = tokenizer().encode(PROSE)
    V = len(LETTERS) + 1
    counts = [1 + 5 * ids.count(i) for i in range(V)]
    frequencies = log(*(count / sum(counts) for count in counts))
    found = measured(FakeEngine(lambda path: frequencies, V, n_positions=400), prefix=(0,))
    assert found.loss == pytest.approx(found.shuffled)
    assert found.problem is not None


def test_a_model_that_predicts_the_text_passes_and_the_prefix_predicts_its_first_token() -> None:
    ids = tokenizer().encode(PROSE)
    V = len(LETTERS) + 1

    def next_logits(path: tuple[int, ...]) -> list[float]:
        expected = ids[len(path) - 1] if len(path) <= len(ids) else 0
        return log(*(0.5 if i == expected else 0.5 / (V - 1) for i in range(V)))

    found = measured(FakeEngine(next_logits, V, n_positions=400), prefix=(0,))
    assert found.tokens == len(PROSE)
    assert found.loss == pytest.approx(math.log(2))
    assert found.problem is None


def test_a_short_context_uses_a_part_of_the_text() -> None:
    V = len(LETTERS) + 1
    assert measured(FakeEngine(hashed(V), V, n_positions=5)).tokens == 4
    assert measured(FakeEngine(hashed(V), V, n_positions=5), prefix=(0,)).tokens == 4
    assert sanity(FakeEngine(hashed(V), V, n_positions=1), tokenizer()) is None


def test_a_vocabulary_of_another_language_is_reported() -> None:
    found = Sanity(tokens=224, loss=1.0, shuffled=2.0, uniform=5.0, unknown=112)
    assert "does not have 112 of 224 pieces" in str(found.problem)
    assert dataclasses.replace(found, unknown=44).problem is None


def test_the_packaged_model_passes() -> None:
    store = Store.open(DEMO)
    engine = ReferenceEngine(store.config, {name: store.float32(name) for name in store.names})
    found = sanity(engine, Tokenizer.load(Path(DEMO)))
    assert found is not None
    assert found.problem is None
    assert found.loss < 5 < 7 < found.shuffled
    assert found.unknown < 5
    (logits,) = chain_logits(engine, [5, 6, 7])
    assert logits.shape == (3, store.config.vocab_size)
