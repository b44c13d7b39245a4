"""`cpm score`: a table of continuations, or a text's perplexity; JSON has every number."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

import cpm_lm
from cpm_lm.cli import cpm


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
