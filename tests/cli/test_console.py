from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cpm_lm.cli import VERBS
from cpm_lm.cli.console import print_json, reporting_errors
from tests.support.running import Run

CPM = [sys.executable, "-m", "cpm_lm"]


def test_help_is_fast_and_imports_no_framework() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from cpm_lm.cli import cpm; "
        "print(CliRunner().invoke(cpm, ['--help']).output); "
        "heavy = {'tensorflow', 'jax', 'keras', 'torch', 'jieba'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for verb in VERBS:
        assert verb in shown.stdout


@pytest.mark.parametrize("encoding", ["latin-1", "gbk", "ascii"])
def test_output_is_utf8_on_any_console(store: Path, encoding: str) -> None:
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    words = ["next", "今天的天空很", "-m", str(store), "-k", "190"]
    printed = subprocess.run([*CPM, *words], capture_output=True, env=env, check=True)
    assert "云" in printed.stdout.decode("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="Windows hands over Unicode")
def test_prompts_are_utf8_in_any_locale(store: Path) -> None:
    env = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    words = ["sample", "今天", "-m", str(store), "--max-tokens", "2", "--json"]
    printed = subprocess.run([*CPM, *words], capture_output=True, env=env, check=True)
    assert '"prompt": "今天"' in printed.stdout.decode("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_a_closed_pipe_gives_no_traceback(store: Path) -> None:
    words = ["next", "今天", "-m", str(store), "-k", "190"]
    with subprocess.Popen(
        [*CPM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_gives_no_traceback(store: Path) -> None:
    import fcntl
    import signal
    import termios

    words = ["sample", "-", "-m", str(store)]
    with subprocess.Popen(
        [*CPM, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        process.stdin.write("今天".encode())
        process.stdin.flush()
        for _ in range(1200):  # until it has read the input and waits for more
            if fcntl.ioctl(process.stdin, termios.FIONREAD, bytes(4)) == bytes(4):
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.stderr
        errors = process.stderr.read()
    assert process.returncode == 130
    assert errors == b""


@pytest.mark.skipif(os.name == "nt", reason="Windows hands over Unicode")
def test_names_of_files_are_utf8_in_any_locale(tmp_path: Path) -> None:
    # In the C locale Python keeps such bytes undecoded; once they were printed as `?????`.
    env = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    for name, shown in (("目录".encode(), "目录"), (b"\xff", "\ufffd")):
        path = os.fsencode(tmp_path) + b"/" + name
        printed = subprocess.run([*CPM, b"inspect", path], capture_output=True, env=env)
        assert f"{shown} does not exist" in printed.stderr.decode("utf-8")


def test_control_characters_in_a_name_are_escaped(run: Run) -> None:
    result = run("inspect", "\x1b[2J\x9b2J目录", code=1)
    assert result.stderr.startswith(r"cpm: \x1b[2J\x9b2J目录 does not exist")


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
def test_a_closed_stdin_gives_no_traceback(store: Path) -> None:
    words = ["sh", "-c", 'exec "$@" <&-', "sh", *CPM, "sample", "-", "-m", str(store)]
    ended = subprocess.run(words, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "standard input is closed" in ended.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full disk")
@pytest.mark.parametrize("words", [["--help"], ["--version"], ["next", "--help"]])
def test_help_to_a_full_disk_gives_no_traceback(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run([*CPM, *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "No space left" in ended.stderr


@pytest.mark.skipif(os.name == "nt", reason="a shell of POSIX")
@pytest.mark.parametrize("verb", ["convert", "verify", "vote"])
def test_a_closed_stderr_is_no_error(store: Path, tmp_path: Path, verb: str) -> None:
    # Once the progress bar called isatty on a stderr that was None.
    words = {
        "convert": ["convert", store, tmp_path / "new"],
        "verify": ["verify", store, "--no-loss"],
        "vote": ["vote", "今天", "-m", store, "-n", 2, "--max-tokens", 2],
    }[verb]
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *CPM, *map(str, words)]
    ended = subprocess.run(command, stdout=subprocess.PIPE)
    assert ended.returncode == 0
    assert ended.stdout


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_hold_is_one_line_and_not_printed(
    number: float, capsys: pytest.CaptureFixture[str]
) -> None:
    # Python prints NaN and Infinity, which no other reader of JSON accepts.
    with pytest.raises(SystemExit), reporting_errors():
        print_json({"shares": [0.5, {"share": number}]})
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "not finite" in shown.err
    assert shown.err.count("\n") == 1
