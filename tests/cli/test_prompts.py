"""Prompts as people give them to the command line: encodings, dashes, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running import Run, parsed

TEXT = "今天的天空很蓝，1+1="


@pytest.mark.parametrize(
    ("encoding", "likely"), [("gb18030", "gb18030"), ("utf-16-le", "utf-16-le"), ("big5", "big5")]
)
def test_what_is_not_utf8_is_refused_with_the_option_that_reads_it(
    run: Run, tmp_path: Path, encoding: str, likely: str
) -> None:
    text = "今天的天空\n" if encoding == "big5" else TEXT
    file = tmp_path / "prompt.txt"
    file.write_bytes(text.encode(encoding))
    for words, name in ((["-"], "standard input"), (["--file", file], str(file))):
        result = run("next", *words, stdin=file.read_bytes(), code=1)
        assert f"{name} is not UTF-8" in result.stderr
        assert f"it looks like {likely.upper()}: add --encoding {likely}" in result.stderr
        read = parsed(run("next", *words, "--encoding", likely, "--json", stdin=file.read_bytes()))
        assert read["prompt"] == text.rstrip("\n")


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
    assert "the prompt ends with a space" in result.stderr
    assert "read as text" not in run("next", "今天<sep>。", "--special").stderr


def test_a_dumb_terminal_gets_no_cursor_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    from cpm_lm.cli.console import on_terminal

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert on_terminal()
    monkeypatch.setenv("TERM", "dumb")
    assert not on_terminal()


def prompt_of(run: Run, *words: object, stdin: bytes | None = None) -> str:
    return str(parsed(run("next", *words, "-k", 1, "--json", stdin=stdin))["prompt"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_of_the_byte_order_says_what_a_file_is_written_in(
    run: Run, tmp_path: Path, encoding: str
) -> None:
    file = tmp_path / "提示.txt"
    file.write_bytes("第一行\r\n1+1=\r\n".encode(encoding))
    assert prompt_of(run, "--file", file) == "第一行\n1+1="
    assert prompt_of(run, "--file", "-", stdin=file.read_bytes()) == "第一行\n1+1="


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--file", "{file}", "--encoding", "utf-16"], "is not utf-16"),
        (["--file", "{file}", "--encoding", "no-such"], "encoding 'no-such' is unknown"),
        (["--file", "{file}", "--encoding", "hex"], "encoding 'hex' is unknown"),
        (["--file", "{file}", "--encoding", "ascii"], "it looks like UTF-8"),
        (["--file", "{file}x"], "No such file"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    run: Run, tmp_path: Path, words: list[str], said: str
) -> None:
    file = tmp_path / "prompt"
    file.write_bytes("今天x".encode())
    result = run("next", *[word.format(file=file) for word in words], code=1)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no prompt"),
        (["x", "--file", "-"], "both give the prompt"),
        (["x", "--encoding", "gb18030"], "--encoding is for"),
        (["x", "--template", "{q}{a}"], "there is no --shot"),
        (["x", "--shot", "猫"], "has no = between"),
        (["x", "--shot", r"1+1\=2"], "has no = between"),
        (["x", "--shot", "a=b", "--template", "{a}{q}"], "has no {q} before an {a}"),
        (["x", "--shot", "a=b", "--template", "{q}"], "has no {q} before an {a}"),
    ],
)
@pytest.mark.parametrize("verb", ["next", "sample", "vote"])
def test_options_that_do_not_go_together_are_wrong_usage(
    run: Run, verb: str, words: list[str], said: str
) -> None:
    result = run(verb, *words, code=2)
    assert said in result.stderr
    assert result.stdout == ""


def test_examples_are_written_by_a_template(run: Run) -> None:
    shots = ["--shot", "猫=cat", "--shot", "狗=dog"]
    assert prompt_of(run, "鸟", *shots) == "问：猫\n答：cat\n问：狗\n答：dog\n问：鸟\n答："
    # The blank before an answer belongs to the answer, and braces in a text stay braces.
    found = prompt_of(run, "{a}", *shots, "--shot", "{q}={a}", "--template", r"{q}: {a}\n")
    assert found == "猫: cat\n狗: dog\n{q}: {a}\n{a}:"
    sums = prompt_of(run, "1+3", "--shot", r"1+1\=2=对", "--template", "{q},{a};")
    assert sums == "1+1=2,对;1+3,"
    # As a file's or standard input's question, too.
    assert prompt_of(run, "-", *shots[:2], stdin="鸟\n".encode()).endswith("问：鸟\n答：")


def test_escapes_are_read_on_request_only(run: Run, tmp_path: Path) -> None:
    typed = r"1+1=2\n\t\\n\d"
    assert prompt_of(run, typed) == typed
    assert prompt_of(run, "-e", typed) == "1+1=2\n\t\\n\\d"
    assert prompt_of(run, "-e", "x", "--shot", r"a\nb=c\=\\").startswith("问：a\nb\n答：c\\=\\\n")
    file = tmp_path / "prompt"
    file.write_text(typed, "utf-8")
    assert prompt_of(run, "-e", "--file", file) == typed  # what is in a file is not typed
    words = ["sample", "1+1=2,", "--max-tokens", 8, "--seed", 1, "--stop", r"\n"]
    assert "add -e" in run(*words, code=1).stderr
    assert "\n" not in run(*words, "-e").stdout.rstrip("\n")
    # A pattern's backslashes are its own: \\d stays a digit, not a backslash and a d.
    found = parsed(run("vote", "-e", r"1+1=2\n1+2=", "-n", 5, "--answer", r"\d", "--json"))
    assert found["winner"] == "3"


def test_notes_that_seldom_matter_come_on_request(run: Run) -> None:
    plain, more = run("next", "今天的天空好"), run("next", "今天的天空好", "-v")
    assert plain.stdout == more.stdout
    assert plain.stderr == ""
    assert "the last word of the prompt, 好, is read as complete" in more.stderr
    for verb in ("sample", "vote"):
        words = [verb, "今天的天空好", "-n", 2, "--seed", 1, "--max-tokens", 3]
        assert "is read as complete" in run(*words, "-v").stderr
        assert "is read as complete" not in run(*words).stderr


def test_a_word_that_would_go_on_is_said_once(run: Run) -> None:
    few = ["-n", 2, "--max-tokens", 2, "--seed", 1]
    for verb, options in (("next", []), ("sample", few), ("vote", few)):
        shown = run(verb, "他们在学", "-v", *options).stderr
        assert shown.count("the model expects 学校 rather than 学") == 1
        assert "is read as complete" not in shown
