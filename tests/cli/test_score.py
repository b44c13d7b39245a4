"""`cpm score`: a table of continuations, or a text's perplexity; JSON has every number."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cpm_lm
from cpm_lm.cli import cpm
from cpm_lm.cli.bars import columns


def call(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(cpm, ["score", *arguments, "--engine", "native"], **options)


def test_the_likeliest_comes_first_and_every_token_is_shown() -> None:
    result = call("今天的天空好", "火箭", "晴朗", "蓝")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0].split() == ["logprob", "per_token", "per_character", "per_byte", "pmi"]
    assert [line.split()[0] for line in lines[1::2]] == ["蓝", "晴朗", "火箭"]
    assert lines[4].split()[::2] == ["晴", "朗"]


def test_json_is_what_the_model_says() -> None:
    result = call("今天的天空好", "蓝", "-5", "--json", "--boundary", "joint")
    told = json.loads(result.output)
    with cpm_lm.load(engine="native") as model:
        scores = model.score("今天的天空好", ["蓝", "-5"], boundary="joint")
    assert told["boundary"] == "joint"
    assert [row["text"] for row in told["scores"]] == ["蓝", "-5"]
    for row, score in zip(told["scores"], scores, strict=True):
        assert row["logprob"] == score.logprob
        assert row["token_logprobs"] == list(score.token_logprobs)
        assert row["pmi"] == score.pmi


def test_a_text_alone_has_a_perplexity() -> None:
    text = "白日依山尽，黄河入海流。"
    told = json.loads(call(text, "--json", "--stride", "7").output)
    with cpm_lm.load(engine="native") as model:
        found = model.perplexity(text, stride=7)
    assert (told["per_token"], told["stride"]) == (found.per_token, 7)
    printed = call("-", input=text.encode())
    assert f"{found.per_token:.2f}/token" in printed.output


@pytest.mark.parametrize(
    ("arguments", "code"), [(["a", ""], 1), ([""], 1), (["a", "b", "--boundary", "x"], 2), ([], 2)]
)
def test_bad_input_is_one_line(arguments: list[str], code: int) -> None:
    result = call(*arguments)
    assert result.exit_code == code
    assert "Traceback" not in result.output


def in_terminal(width: int, *words: str, **environment: str) -> str:
    """What `cpm score` writes to a terminal of so many columns."""
    pty = pytest.importorskip("pty")
    code = "from cpm_lm.cli import main; main()"
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code, "score", *words, "--engine", "native"],
        stdout=theirs,
        env={**os.environ, "COLUMNS": str(width), **environment},
    ) as process:
        os.close(theirs)
        output = b""
        try:
            while chunk := os.read(ours, 4096):
                output += chunk
        except OSError:  # how Linux says that the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0
    return output.decode()


def test_a_terminal_has_colors_and_whole_tokens_in_each_line() -> None:
    """A percentage was cut at the terminal's edge, and NO_COLOR was ignored."""
    text = "白日依山尽，黄河入海流。欲穷千里目，更上一层楼。"
    colored = in_terminal(50, text)
    assert "\x1b[38;5;231m" in colored
    plain = in_terminal(50, text, NO_COLOR="1")
    assert "\x1b" not in plain
    assert re.sub("\x1b\\[[0-9;]*m", "", colored) == plain
    lines = plain.splitlines()[:-1]
    assert len(lines) > 3
    assert all(columns(line) <= 50 and line.endswith("%") for line in lines)
    assert "\x1b" not in call(text).output


def test_a_long_continuation_leaves_the_table_narrow() -> None:
    lines = call("白日依山尽", "，黄河入海流。欲穷千里目，更上一层楼。", "。").output.splitlines()
    assert max(columns(line) for line in (lines[0], *lines[1::2])) < 80
    assert max(line.count("%") for line in lines[2::2]) > 10


@pytest.mark.keras
def test_every_engine_gives_the_same_scores() -> None:
    words = ["score", "今天的天空好", "蓝", "晴朗", "火箭", "--json"]
    engines = ("native", "reference", os.environ["KERAS_BACKEND"])
    told = [
        json.loads(CliRunner().invoke(cpm, [*words, "--engine", engine]).output)["scores"]
        for engine in engines
    ]
    for other in told[1:]:
        for one, two in zip(told[0], other, strict=True):
            assert one["token_logprobs"] == pytest.approx(two["token_logprobs"], abs=1e-4)
            assert one["pmi"] == pytest.approx(two["pmi"], abs=1e-4)
