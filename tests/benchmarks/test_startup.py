"""The benchmark of the start: what it measures, on processes that do something else."""

import sys

import pytest

from benchmarks.startup import COMMAND, ROOT, Run, checkout, summary, timed


def test_the_first_character_is_before_the_end():
    code = "import time; print('x', flush=True); time.sleep(0.3); print('y' * 100_000)"
    run = timed("slow", [sys.executable, "-c", code], {})
    assert 0 < run.first < run.total - 0.25
    assert 0 < run.cpu < run.total


def test_without_output_the_end_counts_and_a_failure_is_told():
    run = timed("silent", [sys.executable, "-c", "pass"], {})
    assert run.first == run.total
    with pytest.raises(SystemExit, match="failing: exit status 3"):
        timed("failing", [sys.executable, "-c", "raise SystemExit(3)"], {})


def test_the_code_of_a_revision_is_what_runs():
    with checkout("HEAD") as tree:
        command = [sys.executable, "-c", COMMAND, str(tree / "src"), "--help"]
        assert timed("help", command, {}).first > 0
        assert not list((tree / "src").glob("../tests"))
    assert not tree.exists()
    assert tree != ROOT


def test_medians_and_quartiles_are_shown_for_each():
    runs = [Run(name="a", first=first, total=first + 1, cpu=first / 2) for first in (1, 2, 9)]
    _, line, alone = summary([*runs, Run(name="b", first=4, total=5, cpu=3)])
    assert line.split() == ["a", "2.000", "1.500", "5.500", "3.000", "1.000"]
    assert alone.split() == ["b", "4.000", "4.000", "4.000", "5.000", "3.000"]
