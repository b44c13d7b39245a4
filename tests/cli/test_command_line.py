"""The shape of the command line: a text alone, help, slips of the pen, sizes."""

from __future__ import annotations

import shlex
from importlib.metadata import version
from pathlib import Path

import hypothesis.strategies as st
import pytest
from click.testing import CliRunner
from hypothesis import given

from cpm_lm.cli import VERBS, cpm
from cpm_lm.cli.types import ByteSize, size_text
from tests.support.pages import blocks, commands, english_page
from tests.support.running import Run

PAGE = Path(__file__).parent.parent.parent / "docs" / "models.md"
FAST = ("--max-tokens", "2", "--engine", "reference", "--seed", "1")


@pytest.mark.parametrize(
    "text", ["你好", "hello world", "1+1=", "今天 hello", "-5+3=", "a,b", "Ünder", "\n", "x.y"]
)
def test_a_text_alone_is_sampled(run: Run, text: str) -> None:
    alone, sampled = (run(*words, text, *FAST).stdout for words in ([], ["sample"]))
    assert alone == sampled


def test_a_dash_alone_reads_the_text(run: Run) -> None:
    assert run("-", *FAST, stdin="今天").stdout == run("sample", "今天", *FAST).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sampel", "x"], "Did you mean 'sample'?"),
        (["Vote"], "Did you mean 'vote'?"),
        (["zzzz"], "To continue a text: cpm sample zzzz"),
        (["lst"], "Did you mean 'list'? To continue a text: cpm sample lst"),
        (["123"], "cpm sample 123"),
        (["help", "sampel"], "Did you mean 'sample'?"),
        (["sample", "x", "--temprature", "1"], "'--temperature'"),
        (["sample", "x", "-temperature", "1"], "'--temperature'"),
        (["vote", "x", "-seed=3"], "Did you mean '--seed'?"),
        (["list", "-jsn"], "Did you mean '--json'?"),
        (["sample", "x", "-q"], "No such option '-q'"),
        (["completion", "tcsh"], "'bash'"),
        ([""], "the prompt is empty"),
    ],
)
def test_a_slip_is_answered_with_the_nearest(run: Run, words: list[str], said: str) -> None:
    result = CliRunner().invoke(cpm, words)
    assert result.exit_code == (1 if words == [""] else 2)
    assert said in result.stderr
    assert result.stdout == ""


def test_help_and_version_have_several_names(run: Run) -> None:
    assert run("-V").stdout == run("--version").stdout == f"cpm-lm {version('cpm-lm')}\n"
    assert run().stdout == run("help").stdout == run("--help").stdout == run("-h").stdout
    assert "cpm next" in run().stdout
    for verb in VERBS:
        assert run("help", verb).stdout == run(verb, "--help").stdout == run(verb, "-h").stdout


def test_what_help_says_to_try_first_runs(run: Run) -> None:
    page = run().stdout
    tried = [line.split()[1:] for line in page.splitlines() if line.startswith("  cpm ")]
    assert len(tried) == 3
    for words in tried:
        run(*words)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *(("4000000000", 4_000_000_000), ("4GB", 4_000_000_000), ("4 gb", 4_000_000_000)),
        *(("4G", 4_000_000_000), ("4GiB", 4 << 30), ("4gib", 4 << 30), ("1.5KiB", 1536)),
        *(("512MB", 512_000_000), ("0.1GB", 100_000_000), ("7B", 7), ("1TB", 10**12)),
    ],
)
def test_a_size_has_a_unit_or_none(text: str, size: int) -> None:
    assert ByteSize()(text) == size


@pytest.mark.parametrize(
    "text", ["", "4X", "GB", "-1GB", "1e9", "4GBB", "4,000", "１GB", "4iB", ".5G"]
)
def test_other_words_are_no_size(run: Run, text: str) -> None:
    result = run("sample", "x", f"--memory={text}", code=2)
    assert "4GB" in result.stderr


@given(st.integers(0, 1 << 50))
def test_a_size_is_read_as_it_is_shown(size: int) -> None:
    assert ByteSize()(size_text(size)) == size


def test_memory_takes_a_size(run: Run) -> None:
    plain = run("sample", "今天", *FAST, "--memory", "1000000000").stdout
    assert run("sample", "今天", *FAST, "--memory", "1GB").stdout == plain
    assert "4GiB" in run("sample", "--help").stdout
    assert "memory" in run("sample", "今天", "--memory", "1KB", code=1).stderr


@pytest.mark.parametrize(("language", "page"), [("zh", PAGE), ("en", english_page(PAGE))])
def test_the_page_about_models_shows_what_is_printed(language: str, page: Path) -> None:
    ((command, output),) = commands(page.read_text("utf-8"))
    shown = CliRunner(env={"CPM_LANG": language}).invoke(cpm, shlex.split(command)[1:])
    assert shown.stdout == output + "\n"


def test_the_page_about_models_tells_texts_from_verbs() -> None:
    examples = blocks(PAGE.read_text("utf-8"), "sh")[1]
    ends = [
        CliRunner().invoke(cpm, [*shlex.split(line, comments=True)[1:], *FAST]).exit_code
        for line in examples.splitlines()
    ]
    assert ends == [0, 0, 0, 2, 0]
