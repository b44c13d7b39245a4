"""Reports in the pages: written between marks, the same ones in Chinese and in English."""

from functools import partial

import pytest

from benchmarks import decode, pages, quality, scoring, whole

DECODE = "python -m benchmarks.decode --layers {}"
REPORTS = [
    (decode.PAGE, DECODE.format(decode.arguments([]).layers), decode.PHRASES),
    (decode.PAGE, DECODE.format(32), decode.PHRASES),
    (quality.PAGE, quality.MARK, quality.PHRASES),
    (whole.PAGE, whole.MARK, whole.PHRASES),
    (scoring.PAGE, scoring.MARK, scoring.PHRASES),
]


@pytest.fixture
def page(tmp_path):
    text = "a\n<!-- begin: written by `x` -->\nold\n<!-- end: written by `x` -->\nz\n"
    for path in (tmp_path / "page.md", tmp_path / "page.en.md"):
        path.write_text(text, "utf-8")
    return tmp_path / "page.md"


def test_writing_replaces_only_what_stands_between_the_marks(page):
    pages.write_between(page, "x", "new")
    assert pages.block(page, "x") == "new"
    assert page.read_text("utf-8").startswith("a\n")
    assert page.read_text("utf-8").endswith("-->\nz\n")


@pytest.mark.parametrize("act", [pages.block, partial(pages.write_between, text="new")])
def test_a_page_without_the_marks_is_refused(page, act):
    with pytest.raises(ValueError, match="no lines"):
        act(page, mark="y")


def test_each_page_gets_the_report_in_its_language(page):
    pages.write_pages(page, "x", chinese="| 32 行 | 7 |", english="| rows 32 | 7 |")
    assert pages.block(pages.twin(page), "x") == "| rows 32 | 7 |"
    assert pages.block(page, "x") == "| 32 行 | 7 |"


@pytest.mark.parametrize(("page", "mark", "phrases"), REPORTS, ids=[mark for _, mark, _ in REPORTS])
def test_both_pages_hold_the_same_report(page, mark, phrases):
    english = pages.block(pages.twin(page), mark)
    assert pages.block(page, mark) == pages.translated(english, phrases)
