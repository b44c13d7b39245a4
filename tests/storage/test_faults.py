"""Every system call of writing fails once and is killed once; nothing half-made is ever seen."""

from __future__ import annotations

import sys

import pytest

from tests.support.faults import run_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="preloads a library of Linux")

MODULE = "tests.storage.scenarios"
SCENARIOS = {
    "new_directory": 20,
    "replaced_directory": 30,
    "replaced_by_two_renames": 30,
    "new_file": 10,
    "replaced_file": 10,
    "cached_file": 5,
    "temporary": 12,
    "fetched_files": 20,
}
"""Each with the least number of system calls that it must have, so that the counting works."""


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[int, list[str]]]:
    return run_all(MODULE, *SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_any_fault_there_is_the_old_or_the_new_and_the_next_run_leaves_nothing(
    found: dict[str, tuple[int, list[str]]], name: str
) -> None:
    """Three errors of each call, and a kill before and after it, in a process of its own."""
    calls, wrong = found[name]
    assert wrong == []
    assert calls >= SCENARIOS[name]


@pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_a_conversion_survives_every_fault(step: int) -> None:
    """The same with a model: what is under the name opens, and its digests are right."""
    calls, wrong = run_all("tests.storage.conversions", "converted_store", step=step)[
        "converted_store"
    ]
    assert wrong == []
    assert calls > 40
