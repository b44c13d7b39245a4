"""Every handmade pickle gives the verdict of its row, at little cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.harness import Case, Server, check
from tests.hostile.pickles import CASES


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_verdict_is_that_of_the_table(server: Server, tmp_path: Path, case: Case) -> None:
    check(server, case, tmp_path)
