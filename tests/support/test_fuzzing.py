"""Damaged files of every format give a model or one of our errors; `make fuzz` runs longer.

It runs in its own process, because a crash of a library would end the tests.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_fuzzing_finds_no_error_in_a_short_time(tmp_path: Path) -> None:
    words = ["-m", "tests.support.fuzzing", "--seconds", "5", "--keep", str(tmp_path)]
    found = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]
    counts = [int(n) for n in re.findall(r"(\d+) files", found.stdout)]
    assert len(counts) == 25
    assert min(counts) > 0  # a busy machine reads few
