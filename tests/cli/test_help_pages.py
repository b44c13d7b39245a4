"""Help pages fit the terminal, break no word, and put the options asked for most first."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator

import click
import hypothesis.strategies as st
import pytest
from click.testing import CliRunner
from hypothesis import given

from cpm_lm.cli import SECTIONS, VERBS, cpm
from cpm_lm.cli.bars import columns
from cpm_lm.cli.help_pages import ADVANCED, OUTPUT, Verb, VerbContext, VerbGroup
from cpm_lm.cli.options import FIRST, RARE
from cpm_lm.cli.wrapping import NOT_FIRST, NOT_LAST, wrapped

PAGES = [[], *([verb] for verb in VERBS)]
WORDS = st.text(st.sampled_from("ab-字词，。（“” x"), max_size=60)


def page(words: list[str], width: int) -> str:
    shown = CliRunner(env={"COLUMNS": str(width)}).invoke(cpm, [*words, "--help"])
    assert shown.exit_code == 0
    return shown.stdout


def commands() -> Iterator[click.Command]:
    for verb in VERBS:
        command = cpm.get_command(click.Context(cpm), verb)
        assert command is not None
        yield command


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("words", PAGES, ids=lambda words: " ".join(words) or "cpm")
def test_no_line_is_wider_than_the_terminal(words: list[str], width: int) -> None:
    # 30 of 159 lines were, because Chinese characters were counted as one column.
    lines = page(words, width).splitlines()
    # An example of a command line is not wrapped: it would not run.
    wide = [line for line in lines if columns(line) > min(width, 120)]
    assert [line for line in wide if width >= 80 or not re.match(r"\s+(HF_\S+ )?cpm ", line)] == []
    if width >= 100:  # the width is used
        assert any(columns(line) > 80 for line in lines)


@pytest.mark.parametrize("words", PAGES, ids=lambda words: " ".join(words) or "cpm")
def test_no_word_is_broken(words: list[str]) -> None:
    # With its line breaks taken out, a page is the same at every width.
    narrow, wide = (re.sub(r"\s+", "", page(words, width)) for width in (80, 120))
    assert narrow == wide
    known = set(re.findall(r"[A-Za-z]{2,}", page(words, 120)))
    assert set(re.findall(r"[A-Za-z]{2,}", page(words, 80))) <= known


def test_pages_follow_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((90, 24)))
    shown = cpm.get_help(VerbContext(cpm, info_name="cpm"))
    assert 80 < max(map(columns, shown.splitlines())) < 90


def test_every_verb_has_such_pages() -> None:
    # A verb that is declared without this class has click's pages, which are too wide.
    assert [command.name for command in commands() if not isinstance(command, Verb)] == []
    for command in commands():
        if isinstance(command, click.Group):
            assert isinstance(command, VerbGroup)
    assert {verb for verbs in SECTIONS.values() for verb in verbs} == set(VERBS)


def test_the_options_asked_for_most_come_first_and_rare_ones_last() -> None:
    text = page(["sample"], 80)
    named = re.findall(r"^  (?:-\w, )?(-{1,2}[\w-]+)", text, re.MULTILINE)
    assert named[:3] == ["-n", "--max-tokens", "--temperature"]
    assert text.index(ADVANCED) > text.index(OUTPUT)
    assert named[-4:] == ["--filter-order", "--special", "--overflow", "--memory"]
    assert named[-5] == "--help"
    assert page(["convert"], 80).index("--weights") < page(["convert"], 80).index("--overwrite")


def test_every_name_in_the_tables_of_order_is_an_option() -> None:
    # A table named options that no verb had; nobody noticed that it did nothing.
    names = {param.name for command in commands() for param in command.params}
    assert set(FIRST) - names == set()
    assert set(RARE) - names == set()
    assert set(FIRST) & set(RARE) == set()


@given(WORDS, st.integers(4, 40))
def test_wrapping_keeps_the_text_and_the_width(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)
    for line in lines:
        assert line == line.rstrip()
        unbreakable = not re.search(r"\S\s+\S|[字词][ab字词-]|[ab-][字词]", line)
        assert columns(line) <= width or unbreakable


@given(WORDS)
def test_no_line_begins_or_ends_with_the_wrong_mark(text: str) -> None:
    text = re.sub(r"\s+", "", text)  # beside a blank, a line may always break
    lines = wrapped(text, 10)
    assert [line for line in lines[1:] if line[0] in NOT_FIRST] == []
    assert [line for line in lines[:-1] if line[-1] in NOT_LAST] == []


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("中文English中文", 8, ["中文", "English", "中文"]),
        ("一二三四，五六", 8, ["一二三", "四，五六"]),
        ("多空  格 文", 4, ["多空", "格", "文"]),
        ("[alpha|beta|gamma]", 12, ["[alpha|beta|", "gamma]"]),
        ("", 10, [""]),
    ],
)
def test_lines_break_where_a_reader_expects(text: str, width: int, lines: list[str]) -> None:
    assert wrapped(text, width) == lines
