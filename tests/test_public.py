"""The public names, and that importing the package loads no framework."""

from __future__ import annotations

import subprocess
import sys

import cpm_lm

NAMES = """
CapacityError CheckpointError ConfigError CpmError DEMO Draws Engine EngineError GPTConfig LogProbs
Logits Manifest Model NextToken Perplexity RequestError Result Sample Score Session Tokenizer
TokenizerError Verification Vote chain convert evaluate export keras_model load open_engine preset
pull verify
""".split()


def test_the_public_names_are_these() -> None:
    assert sorted(cpm_lm.__all__) == NAMES
    assert all(hasattr(cpm_lm, name) for name in NAMES)
    assert sorted(NAMES) == NAMES


def test_every_error_is_a_cpm_error() -> None:
    from cpm_lm import errors

    for name in errors.__all__:
        assert issubclass(getattr(errors, name), cpm_lm.CpmError)
        assert name in str(errors.__doc__)


def test_importing_loads_no_framework() -> None:
    code = (
        "import sys, cpm_lm; "
        "heavy = {'tensorflow', 'jax', 'keras', 'torch', 'jieba', 'click'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
