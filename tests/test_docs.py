"""The code in the documentation runs and prints the output that the page shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [page for page in sorted(ROOT.glob("docs/*.md")) if "```python" in page.read_text("utf-8")]
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.keras
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    printed = ""
    for language, text in BLOCK.findall(page.read_text("utf-8")):
        if language == "text":
            assert printed == text
            continue
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(compile(text, str(page), "exec"), names)
        printed = out.getvalue()


def test_there_are_pages() -> None:
    assert [page.name for page in PAGES] == ["conversion.md"]
