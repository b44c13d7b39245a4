"""Prompts as people give them to the command line: encodings, dashes, refusals."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.running import Run

TEXT = "今天的天空很蓝，1+1="


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("gb18030", "it looks like GB18030: convert it, for example by iconv -f gb18030"),
        ("utf-16", "it looks like UTF-16"),
        ("big5", "is not UTF-8"),
    ],
)
def test_standard_input_that_is_not_utf8_is_refused(run: Run, encoding: str, said: str) -> None:
    text = TEXT if encoding != "big5" else "今天的天空"
    result = run("next", "-", stdin=text.encode(encoding), code=1)
    assert "standard input is not UTF-8" in result.output
    assert said in result.output


def test_standard_input_may_have_a_mark_and_windows_line_ends(run: Run) -> None:
    plain = run("next", "-", stdin=TEXT.encode()).stdout
    assert run("next", "-", stdin=(f"\ufeff{TEXT}\r\n").encode()).stdout == plain


@pytest.mark.skipif(os.name == "nt", reason="Windows hands over Unicode")
def test_an_argument_that_is_not_utf8_is_refused() -> None:
    command = [os.fsencode(sys.executable), b"-m", b"cpm_lm", b"next", TEXT.encode("gb18030")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 1
    assert "PROMPT is not UTF-8" in done.stderr.decode()
    assert done.stdout == b""


@pytest.mark.parametrize("text", ["-5+3=", "-1", "- 今天", "--", "-今天", "—今天", "--5"])
def test_a_prompt_may_begin_with_a_dash(run: Run, text: str) -> None:
    words: list[str | int] = ["sample", text]
    options: list[str | int] = ["--max-tokens", 2, "--seed", 1]
    if text == "--":
        words = ["sample", *options, "--", "--"]
        options = []
    first = run(*words, *options)
    explicit = run("sample", "--max-tokens", 2, "--seed", 1, "--", text)
    assert first.stdout == explicit.stdout


@pytest.mark.parametrize("word", ["--temprature", "--max_tokens", "-x", "--no-such=3"])
def test_a_mistyped_option_is_no_prompt(run: Run, word: str) -> None:
    result = run("sample", word, "3", "今天", code=2)
    assert "No such option" in result.output


def test_nothing_is_printed_before_a_refusal(run: Run) -> None:
    result = run("sample", "", "-n", 3, code=1)
    assert result.stdout == ""
    result = run("sample", "今天。", "-n", 3, "--stop", "<eod>", code=1)
    assert result.stdout == ""


def test_notes_come_with_the_next_tokens_too(run: Run) -> None:
    result = run("next", "今天<sep>。 ")
    assert "# the prompt has <sep>, read as text" in result.stderr
    assert "# the prompt ends with a space" in result.stderr
    assert "read as text" not in run("next", "今天<sep>。", "--special").stderr


def test_a_dumb_terminal_gets_no_cursor_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    from cpm_lm.cli.console import on_terminal

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert on_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not on_terminal()
