"""The divergence of two models' predictions: the sums equal the formulas; bad input is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.engines.base import Engine
from cpm_lm.engines.likelihood import chain_logits
from cpm_lm.engines.reference import ReferenceEngine
from cpm_lm.errors import ConfigError, EngineError, RequestError
from cpm_lm.evaluation.divergence import compare, divergence
from cpm_lm.tokenizer import Tokenizer
from tests.support.make_shards import write_shards
from tests.support.random_models import random_tensors, shape
from tests.support.tiny_vocabulary import train

TEXT = "今天天气很好,我们去看电影吧。" * 8


def engine(seed: int = 0, noise: float = 0.0) -> ReferenceEngine:
    config, rng = shape(n_positions=150), np.random.default_rng(7)
    tensors = random_tensors(config, seed)
    for array in tensors.values():
        array += (noise * rng.standard_normal(array.shape)).astype(np.float32)
    return ReferenceEngine(config, tensors)


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))


def test_the_formulas_on_two_windows() -> None:
    rng, first, second = np.random.default_rng(0), engine(), engine(noise=0.02)
    windows = [rng.integers(0, 61, n).tolist() for n in (150, 3)]  # longer and shorter than a slice
    reported: list[tuple[int, int]] = []
    found = divergence(first, second, windows, progress=lambda *at: reported.append(at))
    p, q = (
        np.concatenate([softmax(next(chain_logits(e, ids))) for ids in windows])
        for e in (first, second)
    )
    kl = (p * np.log(p / q)).sum(axis=1)
    assert found.tokens == 153
    assert found.mean_kl == pytest.approx(kl.mean(), rel=1e-4)
    assert found.worst_kl == pytest.approx(kl.max(), rel=1e-4)
    assert found.worst_token == kl.argmax()
    same = p.argmax(axis=1) == q.argmax(axis=1)
    ranked = np.sort(p, axis=1)
    sure = ranked[:, -1] - ranked[:, -2] > 0.1
    assert 0 < sure.sum() < 153
    assert (found.same_top, found.sure) == (same.mean(), sure.sum())
    assert found.same_top_sure == same[sure].mean()
    assert 0 < found.same_top < 1
    rows = [*range(149), 150, 151]
    targets = windows[0][1:] + windows[1][1:]
    losses = [-np.log(x[rows, targets]).mean() for x in (p, q)]
    assert found.predicted == 151
    assert found.perplexity == pytest.approx(np.exp(losses[0]), rel=1e-5)
    assert found.perplexity_ratio == pytest.approx(np.exp(losses[1] - losses[0]), rel=1e-5)
    assert reported == [(64, 153), (128, 153), (150, 153), (153, 153)]


def test_a_model_does_not_diverge_from_itself() -> None:
    found = divergence(engine(), engine(), [[5]])
    assert (found.mean_kl, found.worst_kl, found.same_top) == (0, 0, 1)
    assert found.perplexity is None  # a single token has no context


def test_nan_weights_are_refused() -> None:
    broken: Engine = engine()
    broken.weights["ln_f.bias"][0] = np.nan  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match="not finite"):
        divergence(engine(), broken, [[1, 2]])


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    return Path(train(folder, vocab_size=190, hard_vocab_limit=True))


def shards(folder: Path, vocabulary: Path, **sizes: Any) -> Path:
    size = Tokenizer.load(vocabulary).vocab_size
    return write_shards(folder, **{"vocab": size, "positions": 16, "width": 80, **sizes})


def test_fewer_bits_diverge_more(vocabulary: Path, tmp_path: Path) -> None:
    source, found = shards(tmp_path / "in", vocabulary), {}
    for weights in ("f32", "f16", "q8", "q4"):
        store = tmp_path / weights
        convert(source, store, weights=weights, heads=4, tokenizer=vocabulary)
        found[weights] = compare(tmp_path / "f32", store, TEXT, engine="reference")
        assert (found[weights].first_weights, found[weights].second_weights) == ("f32", weights)
        assert found[weights].window == 16
    kl = [found[weights].mean_kl for weights in ("f32", "f16", "q8", "q4")]
    assert kl[0] == 0
    assert kl == sorted(kl)
    # Shards are converted to a temporary store; they have no vocabulary and no number of heads.
    again = compare(source, tmp_path / "q8", TEXT, heads=4, engine="reference")
    assert again.mean_kl == pytest.approx(found["q8"].mean_kl)


def test_models_that_cannot_be_compared_are_refused(vocabulary: Path, tmp_path: Path) -> None:
    source, target = shards(tmp_path / "in", vocabulary), tmp_path / "store"
    convert(source, target, heads=4, tokenizer=vocabulary)
    with pytest.raises(RequestError, match="0 tokens"):
        compare(target, target, "", engine="reference")
    other = write_shards(tmp_path / "other", vocab=64)
    with pytest.raises(ConfigError, match=r"one has .* pieces, the other 64"):
        compare(target, other, TEXT, heads=4)
    with pytest.raises(ConfigError, match="neither model has a vocabulary"):
        compare(source, source, TEXT, heads=4)
