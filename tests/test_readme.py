"""The README's commands and code run and print its output, and are the same in both languages."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpm_lm.cli import cpm

ROOT = Path(__file__).parent.parent
CHINESE, ENGLISH = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.en.md"))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[tuple[str, str]]:
    """Each command after `$`, and its output."""
    found = []
    for block in blocks(page, "console"):
        for part in block.split("$ ")[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output.rstrip("\n")))
    return found


def test_both_languages_show_the_same() -> None:
    for language in ("python", "console"):
        assert blocks(CHINESE, language) == blocks(ENGLISH, language)
        assert blocks(CHINESE, language)
    words = [
        [line.split("#")[0] for line in "".join(blocks(page, "sh")).splitlines()]
        for page in (CHINESE, ENGLISH)
    ]
    assert words[0] == words[1]
    assert CHINESE.count("\n## ") == ENGLISH.count("\n## ")
    assert re.findall(r"\]\(((?:src|docs|examples)[^)]*)\)", CHINESE) == re.findall(
        r"\]\(((?:src|docs|examples)[^)]*)\)", ENGLISH
    )


def test_links_have_targets() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", CHINESE + ENGLISH):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize(("command", "output"), commands(CHINESE))
def test_commands_print_the_shown_output(command: str, output: str, engine: str) -> None:
    program, *words = shlex.split(command)
    assert program == "cpm"
    result = CliRunner().invoke(cpm, [*words, "--engine", engine])
    assert result.exit_code == 0, result.output
    # Durations differ between runs.
    assert result.stdout.rstrip("\n") == output


def run(code: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), {})
    return out.getvalue()


def test_python_example_runs() -> None:
    printed = run(blocks(CHINESE, "python")[0])
    assert len(printed.splitlines()) >= 6


@pytest.mark.keras
def test_keras_example_runs() -> None:
    assert "gpt" in run(blocks(CHINESE, "python")[1])
