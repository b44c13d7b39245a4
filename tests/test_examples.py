"""The first port's two functions, on the model in the package."""

from __future__ import annotations

import ast
import inspect
import os

import numpy as np
import pytest

import cpm_lm
from cpm_lm.model import DEMO
from examples.first_port import ask_gpt, opened, sample

pytestmark = [
    pytest.mark.keras,
    pytest.mark.skipif(
        os.environ.get("CPM_TEST_ENGINE") == "jax",
        reason="about TensorFlow; JAX would compile every length of the growing text",
    ),
]


def test_samples_equal_those_of_the_library() -> None:
    tokenizer, gpt = opened()
    prompt = "床前明月光，"
    # With a nucleus of one token both must take the most probable token.
    greedy = sample(tokenizer, gpt, prompt, 2, 12, top_p=1e-9, temperature=1.0)
    (expected,) = cpm_lm.load(engine="reference").sample(prompt, max_tokens=12, temperature=0)
    assert greedy == [expected.text] * 2
    drawn = sample(tokenizer, gpt, prompt, 3, 12, top_p=0.9, temperature=0.9, seed=1)
    assert len(set(drawn)) == 3
    assert drawn == sample(tokenizer, gpt, prompt, 3, 12, top_p=0.9, temperature=0.9, seed=1)


def test_with_top_p_1_every_token_may_be_drawn() -> None:
    # Float64 sums are often below 1: no token crosses top_p = 1. Once that was an index error.
    tokenizer = cpm_lm.Tokenizer.load(DEMO)
    for seed in range(10):
        logits = np.random.default_rng(seed).normal(size=tokenizer.vocab_size)
        gpt = lambda ids, logits=logits: np.tile(logits, (len(ids), 1, 1))  # noqa: E731
        assert len(sample(tokenizer, gpt, "月", 2, 2, top_p=1.0, seed=seed)) == 2


def test_answers_are_one_line() -> None:
    answers = ask_gpt("中国的首都是哪里？", number=2)
    assert len(answers) == 2
    assert not any("\n" in answer for answer in answers)


def test_each_function_has_at_most_ten_lines() -> None:
    for function in (sample, ask_gpt):
        tree = ast.parse(inspect.getsource(function))
        first, last = tree.body[0].body[1], tree.body[0].body[-1]  # type: ignore[attr-defined]
        assert last.end_lineno - first.lineno < 10
