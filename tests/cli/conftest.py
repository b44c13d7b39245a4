from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cpm_lm.cli import cpm
from cpm_lm.tokenizer import Tokenizer
from tests.support.make_shards import write_shards
from tests.support.running import Run
from tests.support.tiny_vocabulary import train


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of two ranks with a tiny vocabulary beside it in `vocabulary`."""
    folder = tmp_path_factory.mktemp("shards")
    # The vocabulary size must be divisible by two ranks.
    vocabulary = train(folder / "vocabulary", vocab_size=190, hard_vocab_limit=True)
    size = Tokenizer.load(vocabulary).vocab_size
    return write_shards(folder / "checkpoint", vocab=size, positions=64, width=16)


@pytest.fixture(scope="session")
def store(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint as a store."""
    target = tmp_path_factory.mktemp("stores") / "tiny"
    vocabulary = shards.parent / "vocabulary"
    words = ["convert", str(shards), str(target), "--heads", "4", "--tokenizer", str(vocabulary)]
    result = CliRunner().invoke(cpm, words)
    assert result.exit_code == 0, result.output
    return target


@pytest.fixture
def run() -> Run:
    """Run the command in this process and check its exit code, 0 by default."""

    def run(*words: Any, code: int = 0, stdin: str | bytes | None = None) -> Result:
        result = CliRunner().invoke(cpm, [str(word) for word in words], input=stdin)
        assert result.exit_code == code, result.output
        return result

    return run
