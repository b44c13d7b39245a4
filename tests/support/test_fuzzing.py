"""Damaged files of every kind give a model or one of our errors: a moment of it; `make fuzz` more.

In a process of its own, because a library that crashes would take the tests with it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_moment_of_fuzzing(tmp_path: Path) -> None:
    words = ["-m", "tests.support.fuzzing", "--seconds", "4", "--keep", str(tmp_path)]
    found = subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr[-2000:]
    counts = [int(n) for n in re.findall(r"(\d+) files", found.stdout)]
    assert len(counts) == 17
    assert min(counts) > 3
