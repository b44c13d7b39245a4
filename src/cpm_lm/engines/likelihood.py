"""What an engine makes of a text's ids: the logits, or the log-probabilities, along a chain.

Knows one engine and ids; does not know text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Float64

from cpm_lm.engines.base import Engine
from cpm_lm.engines.forest import chain
from cpm_lm.engines.wants import LogProbs
from cpm_lm.errors import EngineError

__all__ = ["chain_logits", "chain_logprobs"]


def chain_logits(
    engine: Engine, ids: Sequence[int], *, rows: int | None = None
) -> Iterator[Float32[np.ndarray, "R V"]]:
    """Yield the logits after every token of a text.

    Args:
        engine: with as long a context as the text.
        ids: at least one.
        rows: the tokens of each call, hence the logits held at a time; by default all at once.

    Raises:
        EngineError: they are not all finite.
    """
    session = engine.session(len(ids))
    step, last = rows or len(ids), -1
    for start in range(0, len(ids), step):
        some = list(ids[start : start + step])
        nodes, logits = session.extend(
            some, chain(len(some), below=last), logits_at=np.arange(len(some), dtype=np.int32)
        )
        if not np.isfinite(logits).all():
            raise EngineError(
                f"the {engine.name} engine returned logits that are not finite numbers"
            )
        last = int(nodes[-1])
        yield logits


def chain_logprobs(engine: Engine, ids: Sequence[int]) -> Float64[np.ndarray, " predicted"]:
    """Return the log-probability of every token of a text but the first, given those before it.

    Natural logarithm, under the model itself. Memory does not grow with the vocabulary times the
    text: see `wants.answer_on_host`.

    Raises:
        EngineError: the engine returned numbers that are not finite.
    """
    session = engine.session(len(ids))
    at = np.arange(len(ids) - 1, dtype=np.int32)
    want = LogProbs.of_each(at, np.array(ids[1:], np.int32))
    _, (scored,) = session.extend(list(ids), chain(len(ids)), [want])
    return scored.logprobs
