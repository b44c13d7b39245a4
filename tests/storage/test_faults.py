"""Every system call of writing fails once and is killed once; nothing half-made is ever seen."""

from __future__ import annotations

import sys

import pytest

from tests.support.faults import run_all

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="preloads a library of Linux")

SCENARIOS = {
    "new_directory": 20,
    "replaced_directory": 30,
    "replaced_by_two_renames": 30,
    "new_file": 10,
    "replaced_file": 10,
    "cached_file": 5,
    "temporary": 12,
}
"""Each with the least number of system calls that it must have, so that the counting works."""


@pytest.mark.parametrize("name", SCENARIOS)
def test_after_any_fault_there_is_the_old_or_the_new_and_the_next_run_leaves_nothing(
    name: str,
) -> None:
    """Three errors of each call, and a kill before and after it, in a process of its own."""
    calls, wrong = run_all(f"tests.storage.scenarios:{name}")
    assert wrong == []
    assert calls >= SCENARIOS[name]
