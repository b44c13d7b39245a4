"""A sample is the same text on this engine, to the bit, whatever is drawn beside it."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.decoding.adaptive import sample_until
from cpm_lm.decoding.rng import Independent
from cpm_lm.decoding.sampling import Limits, Sampled, sample
from cpm_lm.decoding.scheduler import run
from cpm_lm.distributions.rules import Rules
from cpm_lm.engines.native.engine import NativeEngine
from tests.support.random_models import both, shape

CONFIG = shape(n_embd=48, n_head=4, n_positions=64, vocab_size=150)
RULES = Rules(temperature=1.1, top_p=0.97)
PROMPT = list(range(3, 14))
MOST = 100
TOKENS = 8
ELEMENTS = ["f32", "bf16", "q8", "q4"]


@cache
def engine(element: str, threads: int) -> NativeEngine:
    return both(CONFIG, element, threads=threads)[0]


def draw(
    engine: NativeEngine, n: int, capacity: int, step: int | None, rounds: bool = False
) -> Sampled:
    limits = Limits(max_tokens=TOKENS, n_positions=64, end_ids={0}, capacity=capacity, width=64)
    session = engine.session(capacity)
    if rounds:
        algorithm = sample_until(
            PROMPT,
            n,
            rules=RULES,
            seed=5,
            limits=limits,
            enough=lambda: False,
            on_token=lambda i, token: False,
            on_end=lambda i: None,
        )
    else:
        algorithm = sample(PROMPT, n, rules=RULES, source=Independent(5), limits=limits)
    return run(session, algorithm, max_tokens=step)


@cache
def whole(element: str) -> Sampled:
    return draw(engine(element, 1), MOST, 4096, None)


@settings(max_examples=25, deadline=None)
@given(
    element=st.sampled_from(ELEMENTS),
    threads=st.sampled_from([1, 2, 3]),
    n=st.integers(1, MOST),
    capacity=st.integers(len(PROMPT) + TOKENS, 4096),
    step=st.one_of(st.none(), st.integers(3, 300)),
    rounds=st.booleans(),
)
def test_sample_i_is_the_same_for_every_n_capacity_and_step(
    element: str, threads: int, n: int, capacity: int, step: int | None, rounds: bool
) -> None:
    # The log-probability tells a difference of one bit that the tokens may hide.
    found = draw(engine(element, threads), n, capacity, step, rounds)
    assert found.continuations == whole(element).continuations[:n]
