"""Shells complete verbs, options, their values and names of models."""

from __future__ import annotations

import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class

from cpm_lm.cli import VERBS, cpm
from cpm_lm.engines.options import ENGINES
from tests.support.running import Run


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with two models."""
    monkeypatch.setenv("CPM_HOME", str(tmp_path / "home"))
    for name in ("cpm-large", "cpm-small", "with blank"):
        (tmp_path / "home" / "models" / name).mkdir(parents=True)
    return tmp_path / "home" / "models"


def completed(line: str, shell: str = "bash") -> list[str]:
    """What a shell would be told for a line whose last word is incomplete."""
    kind = get_completion_class(shell)
    assert kind is not None
    args = line.split(" ")[1:]
    found = kind(cpm, {}, "cpm", "_CPM_COMPLETE").get_completions(args[:-1], args[-1])
    return [item.value for item in found if item.type == "plain"]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("cpm ", sorted(VERBS)),
        ("cpm sa", ["sample"]),
        ("cpm sample 今天 --max", ["--max-tokens"]),
        ("cpm 今天 --max", ["--max-tokens"]),
        ("cpm sample 今天 --engine ", ["auto", *ENGINES]),
        ("cpm vote 今天 --method s", ["sample", "stratified"]),
        ("cpm sample 今天 -m ", ["demo", "cpm-large", "cpm-small"]),
        ("cpm sample 今天 --model cpm-", ["cpm-large", "cpm-small"]),
        ("cpm next 今天 --model=cpm-l", ["cpm-large"]),
        ("cpm bench -m d", ["demo"]),
        ("cpm show cpm-s", ["cpm-small"]),
        ("cpm remove cpm-large c", ["cpm-large", "cpm-small"]),
        ("cpm verify cpm", ["cpm-large", "cpm-small"]),
        ("cpm compare demo cpm-l", ["cpm-large"]),
        ("cpm pull gpt2", ["gpt2-chinese-cluecorpussmall"]),
        ("cpm pull cpm-generate-", ["CPM-Generate-distill"]),
        ("cpm convert x y --weights q", ["q8", "q4"]),
        ("cpm completion ", ["bash", "zsh", "fish"]),
        ("cpm help sam", ["sample"]),
    ],
)
def test_a_word_is_completed(line: str, values: list[str]) -> None:
    assert completed(line) == values


def test_a_home_that_is_a_file_completes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CPM_HOME", str(tmp_path / "file"))
    assert completed("cpm sample 今天 -m ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_asks_by_the_variable_that_the_command_answers(run: Run, shell: str) -> None:
    script = run("completion", shell).stdout
    assert f"_CPM_COMPLETE={shell}_complete" in script
    words = {"COMP_WORDS": "cpm sho", "COMP_CWORD": "sho" if shell == "fish" else "1"}
    env = {**os.environ, **words, "_CPM_COMPLETE": f"{shell}_complete"}
    command = [sys.executable, "-m", "cpm_lm"]
    asked = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert "show" in asked.stdout
    assert asked.stderr == ""


@pytest.mark.skipif(os.name == "nt" or not shutil.which("bash"), reason="needs bash")
def test_bash_completes_on_tab(tmp_path: Path, models: Path) -> None:
    import pty

    script = tmp_path / "bin" / "cpm"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cpm_lm "$@"\n')
    script.chmod(0o755)
    env = {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}", "PS1": "", "TERM": "dumb"}
    ours, theirs = pty.openpty()
    shell = ["bash", "--norc", "--noprofile", "-i"]
    with subprocess.Popen(shell, stdin=theirs, stdout=theirs, stderr=theirs, env=env) as process:
        os.close(theirs)
        try:
            os.write(ours, b'eval "$(cpm completion bash)"; echo rea""dy\n')
            read_until(ours, "ready")
            os.write(ours, b"cpm sample x -m cpm-l\t")
            read_until(ours, "cpm-large")
        finally:
            process.kill()
            os.close(ours)


def read_until(terminal: int, wanted: str) -> None:
    """Read what a terminal shows until a text is there."""
    seen, end = b"", time.monotonic() + 60
    while wanted not in seen.decode("utf-8", "replace"):
        assert time.monotonic() < end, seen
        if select.select([terminal], [], [], 1)[0]:
            seen += os.read(terminal, 4096)
