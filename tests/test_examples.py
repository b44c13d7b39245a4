"""The first port's two functions, on our model, with the model in the package."""

from __future__ import annotations

import os

import pytest
from examples.first_port import ask_gpt, sample

import cpm_lm
from cpm_lm.model import DEMO

pytestmark = [
    pytest.mark.keras,
    pytest.mark.skipif(
        os.environ.get("CPM_TEST_ENGINE") == "jax",
        reason="about TensorFlow; JAX would compile every length of the growing text",
    ),
]


def test_samples_are_drawn_as_the_library_draws_them() -> None:
    tokenizer, gpt = cpm_lm.Tokenizer.load(DEMO), cpm_lm.keras_model(DEMO)
    prompt = "床前明月光，"
    # A nucleus of one token leaves no choice, so both must take the likeliest.
    greedy = sample(tokenizer, gpt, prompt, 2, 12, top_p=1e-9, temperature=1.0)
    (expected,) = cpm_lm.load(engine="reference").sample(prompt, max_tokens=12, temperature=0)
    assert greedy == [expected.text] * 2
    drawn = sample(tokenizer, gpt, prompt, 3, 12, top_p=0.9, temperature=0.9, seed=1)
    assert len(set(drawn)) == 3
    assert drawn == sample(tokenizer, gpt, prompt, 3, 12, top_p=0.9, temperature=0.9, seed=1)


def test_answers_are_one_line() -> None:
    tokenizer, gpt = cpm_lm.Tokenizer.load(DEMO), cpm_lm.keras_model(DEMO)
    answers = ask_gpt(tokenizer, gpt, "中国的首都是哪里？", number=2)
    assert len(answers) == 2
    assert not any("\n" in answer for answer in answers)
