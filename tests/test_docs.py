"""The code in the documentation runs and prints the output that the page shows.

The Chinese pages are run; `test_pages` proves that the English ones have the same code.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from tests.support.pages import FENCED

ROOT = Path(__file__).parent.parent
PAGES = [
    page
    for page in sorted(ROOT.glob("docs/*.md"))
    if not page.name.endswith(".en.md") and "```python" in page.read_text("utf-8")
]


@pytest.mark.keras
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    printed = ""
    for language, text in FENCED.findall(page.read_text("utf-8")):
        if language == "text":
            assert printed == text
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(text, str(page), "exec"), names)
            printed = out.getvalue()


def test_there_are_pages() -> None:
    assert "conversion.md" in [page.name for page in PAGES]
