"""Includes in native/ go one way: bindings > kernels > runtime."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
FOLDERS = ("bindings", "kernels", "runtime")


@pytest.mark.parametrize("folder", FOLDERS)
def test_includes_go_downward(folder):
    below = FOLDERS[FOLDERS.index(folder) :]
    files = [*(NATIVE / folder).glob("*.?pp")]
    assert files
    for file in files:
        for included in re.findall(r'#include "(\w+)/', file.read_text(encoding="utf-8")):
            assert included in below, file
