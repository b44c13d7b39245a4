from __future__ import annotations

from pathlib import Path

from cpm_lm.model import DEMO
from tests.support.running import Run, parsed

ENGINE = ("--engine", "reference")


def test_a_good_model_passes(run: Run) -> None:
    printed = run("verify", DEMO, *ENGINE).stdout
    assert "4 / 4" in printed
    assert "ln V = 8.99" in printed
    assert printed.endswith("Sound.\n")
    found = parsed(run("verify", DEMO, *ENGINE, "--json"))
    assert found["sound"] is True
    assert found["sanity"]["loss"] < found["sanity"]["shuffled"] < found["sanity"]["uniform"]


def test_problems_are_lines_and_exit_with_1(run: Run, store: Path, shards: Path) -> None:
    printed = run("verify", store, *ENGINE, code=1).stdout  # random weights
    assert "looks untrained" in printed
    assert "Sound" not in printed
    assert parsed(run("verify", store, *ENGINE, "--json", code=1))["sound"] is False
    run("verify", store, *ENGINE, "--no-loss")


def test_two_models_are_compared(run: Run, store: Path, shards: Path) -> None:
    words = ["verify", store, *ENGINE, "--no-loss", "--no-digests", "--against"]
    assert "against: 0" in run(*words, shards).stdout
    result = run(*words, DEMO, code=1)
    assert "cannot be compared" in result.stderr
    assert result.stderr.count("\n") == 1
    run(*words, shards, "--tolerance", "much", code=2)
