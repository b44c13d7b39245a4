"""The commands and the code of the README and of the page on prompts run and print their output.

The Chinese page is run; `test_pages` proves that the English one has the same code.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpm_lm.cli import cpm
from tests.support.pages import blocks

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PROMPTS = (ROOT / "docs" / "prompts.md").read_text("utf-8")


def commands(page: str) -> list[tuple[str, str]]:
    """Each command after `$`, and its output."""
    found = []
    for block in blocks(page, "console"):
        for part in block.split("$ ")[1:]:
            command, _, output = part.partition("\n")
            found.append((command, output.rstrip("\n")))
    return found


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize(("command", "output"), [*commands(README), *commands(PROMPTS)])
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
    printed = run(blocks(README, "python")[0])
    assert len(printed.splitlines()) >= 6


@pytest.mark.keras
def test_keras_example_runs() -> None:
    assert "gpt" in run(blocks(README, "python")[1])
