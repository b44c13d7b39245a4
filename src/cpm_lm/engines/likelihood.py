"""The logits and the log-probabilities of a sequence of tokens, computed as one chain.

Knows one engine and token ids; does not know text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cpm_lm.engines.base import Engine
from cpm_lm.engines.forest import chain
from cpm_lm.engines.wants import LogProbs
from cpm_lm.errors import EngineError
from cpm_lm.shapes import Float32, Float64

__all__ = ["chain_logits", "chain_logprobs"]


def chain_logits(
    engine: Engine, ids: Sequence[int], *, rows: int | None = None
) -> Iterator[Float32[np.ndarray, "R V"]]:
    """Yield the logits after every token of a sequence, float32[R, V] per call.

    Args:
        engine: its context holds the sequence.
        ids: at least one.
        rows: the number of tokens R of each call, which bounds the logits in memory; by default
            all tokens are one call.

    Raises:
        EngineError: a logit is not finite.
    """
    session = engine.session(len(ids))
    step, last = rows or len(ids), -1
    for start in range(0, len(ids), step):
        tokens = list(ids[start : start + step])
        nodes, logits = session.extend(
            tokens, chain(len(tokens), below=last), logits_at=np.arange(len(tokens), dtype=np.int32)
        )
        if not np.isfinite(logits).all():
            raise EngineError(
                "the {engine_name} engine returned logits that are not finite numbers",
                engine_name=engine.name,
            )
        last = int(nodes[-1])
        yield logits


def chain_logprobs(engine: Engine, ids: Sequence[int]) -> Float64[np.ndarray, " predicted"]:
    """Return the log-probability of every token but the first, given the tokens before it.

    Natural logarithm, under the model itself: temperature 1, no filters. The logits of the whole
    sequence are never in memory at once: see `wants.answer_on_host`.

    Raises:
        EngineError: a logit is not finite.
    """
    session = engine.session(len(ids))
    at = np.arange(len(ids) - 1, dtype=np.int32)
    want = LogProbs.of_each(at, np.array(ids[1:], np.int32))
    _, (scored,) = session.extend(list(ids), chain(len(ids)), [want])
    return scored.logprobs
