"""Every handmade directory of shards gives the verdict of its row, at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.harness import Case, Server, check, run_verb
from tests.hostile.megatron_directories import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_verdict_is_that_of_the_table(server: Server, tmp_path: Path, case: Case) -> None:
    check(server, case, tmp_path)


def test_the_command_line_says_it_in_one_line(tmp_path: Path) -> None:
    by_name = {case.name: case for case in CASES}
    code, stderr, _, _ = run_verb("inspect", by_name["a pipe"].make(tmp_path))
    assert code == 1
    assert stderr.startswith("cpm: ")
    assert stderr.count("\n") == 1
