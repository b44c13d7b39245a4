"""The commands and the code of the README and of the page on prompts run and print their output.

The commands of each page are run in its language; `test_pages` proves that both have the same.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpm_lm.cli import cpm
from tests.support.pages import blocks, commands, english_page

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
SHOWN = [
    (language, command, output)
    for page in (ROOT / "README.md", ROOT / "docs" / "prompts.md")
    for language, path in (("zh", page), ("en", english_page(page)))
    for command, output in commands(path.read_text("utf-8"))
]


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize(("language", "command", "output"), SHOWN)
def test_commands_print_the_shown_output(
    language: str, command: str, output: str, engine: str
) -> None:
    program, *words = shlex.split(command)
    assert program == "cpm"
    result = CliRunner(env={"CPM_LANG": language}).invoke(cpm, [*words, "--engine", engine])
    assert result.exit_code == 0, result.output
    # Durations differ between runs.
    assert result.stdout.rstrip("\n") == output


def run(code: str) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), {})
    return out.getvalue()


def test_python_example_runs() -> None:
    printed = run(blocks(README, "python")[0])
    assert len(printed.splitlines()) >= 6


@pytest.mark.keras
def test_keras_example_runs() -> None:
    assert "gpt" in run(blocks(README, "python")[1])
