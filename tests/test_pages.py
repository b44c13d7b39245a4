"""Every page is in one language, and says in both languages the same.

`X.md` is in Chinese, `X.en.md` in English. Whoever changes one and forgets the other is told here:
pages that interleaved both languages had drifted apart (2,460 rows in one, 2,465 in the other).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.pages import (
    code,
    english_page,
    headings,
    images,
    links,
    prose,
    sections,
    table_rows,
    uncommented,
)

ROOT = Path(__file__).parent.parent
FOLDERS = (".", "docs", "recipes", "recipes/*", "src/cpm_lm/demo")
ENGLISH = sorted(page for folder in FOLDERS for page in ROOT.glob(f"{folder}/*.en.md"))
CHINESE = [page.with_name(page.name.replace(".en.md", ".md")) for page in ENGLISH]

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
FIGURE = re.compile(
    r"(?<![\d.,])(?:\d+(?:,\d{3})+|\d+\.\d+|\d{3,})(?!\d|\.\d|[ -]?(?:亿|万|M\b|B\b|[mb]illion))"
)
"""A number that neither language writes as a word, nor in other units, as millions are."""
MAX_HAN = 0.02
"""Of the letters of an English page: quoted examples."""
HAN_PER_WORD = 2
"""Chinese characters for each English word of a Chinese page. Pages in Chinese have 5 or more,
pages that said everything twice had 1.4 or less."""
MAX_RUN = 10
"""English words in a row on a Chinese page; names and versions have 5, a sentence more."""
RUN = re.compile(r"(?:[A-Za-z][\w.'/-]*[,;:]?[ \n]+)+")

pairs = pytest.mark.parametrize("page", CHINESE, ids=lambda page: str(page.relative_to(ROOT)))


def both(page: Path) -> tuple[str, str]:
    return page.read_text("utf-8"), english_page(page).read_text("utf-8")


def neutral(link: str) -> str:
    """Return a link without its language: our pages' ending, other sites' folder."""
    return re.sub(r"/(?:en|zh-CN)/", "/", link.replace(".en.md", ".md"))


def test_every_page_has_a_twin() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    wanted = {english_page(page) for page in pages if not page.name.endswith(".en.md")}
    assert wanted - set(ENGLISH) == set()
    assert [page for page in CHINESE if not page.is_file()] == []


@pairs
def test_both_have_the_same_code(page: Path) -> None:
    chinese, english = map(code, both(page))
    assert chinese == english


@pairs
def test_both_have_the_same_headings_and_pictures(page: Path) -> None:
    chinese, english = both(page)
    assert headings(chinese) == headings(english)
    assert images(chinese) == images(english)


@pairs
def test_both_link_to_the_same_pages_each_in_its_language(page: Path) -> None:
    chinese, english = (sorted(links(text)) for text in both(page))
    assert chinese.pop(chinese.index(english_page(page).name))
    assert english.pop(english.index(page.name))
    assert [link for link in chinese if ".en.md" in link] == []
    assert sorted(map(neutral, english)) == sorted(map(neutral, chinese))
    for link in english:
        target = page.parent / link.partition("#")[0]
        assert not (link.endswith(".md") and english_page(target).is_file()), link


@pairs
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for text in both(page):
        for link in (*links(text), *images(text)):
            if ":" not in link:
                assert (page.parent / link.partition("#")[0]).exists(), link


@pairs
def test_both_have_the_same_figures(page: Path) -> None:
    chinese, english = both(page)
    rows = [[sorted(NUMBER.findall(row)) for row in table_rows(text)] for text in both(page)]
    assert rows[0] == rows[1]
    for one, other in zip(sections(chinese), sections(english), strict=True):
        assert set(FIGURE.findall(prose(one))) == set(FIGURE.findall(prose(other)))


@pairs
def test_each_is_in_one_language(page: Path) -> None:
    chinese, english = map(prose, both(page))
    letters = re.findall(r"[^\W\d_]", english)
    assert len(HAN.findall(english)) <= MAX_HAN * len(letters)
    assert len(HAN.findall(chinese)) >= HAN_PER_WORD * len(re.findall(r"[A-Za-z]{2,}", chinese))
    long = [run for run in RUN.findall(chinese) if len(run.split()) > MAX_RUN]
    assert long == []


def test_only_comments_of_commands_may_differ() -> None:
    assert uncommented("cpm -h  # help\n# all\ncpm 'a#b'\n") == "cpm -h\n\ncpm 'a#b'"
