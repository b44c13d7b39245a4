"""The options against repetition, choices and presets, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.running import Run, parsed

PROMPT = "今天的天空很"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CPM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sampled(run: Run, store: Path, *words: Any) -> Any:
    return parsed(run("sample", PROMPT, "-m", store, "--seed", 7, "--json", *words))["samples"]


def test_a_greedy_text_loops_and_ngrams_end_that(run: Run, store: Path) -> None:
    greedy = ["--temperature", 0, "--max-tokens", 40, "--ignore-eos"]
    (loop,), (free,) = (
        sampled(run, store, *greedy, *more) for more in ([], ["--no-repeat-ngram", 2])
    )
    pairs = [list(zip(s["token_ids"], s["token_ids"][1:], strict=False)) for s in (loop, free)]
    assert len(set(pairs[0])) < len(pairs[0]), "the loop is there without the option"
    assert len(set(pairs[1])) == len(pairs[1])
    assert free["finish_reason"] == "length"


def test_a_text_is_held_back_and_an_id_is_preferred(run: Run, store: Path) -> None:
    (plain,) = sampled(run, store, "--max-tokens", 12)
    letter = plain["text"].strip()[0]
    (without,) = sampled(run, store, "--max-tokens", 12, "--ban", letter)
    assert letter not in without["text"]
    (biased,) = sampled(run, store, "--max-tokens", 5, "--bias", "id:40=100")
    assert biased["token_ids"] == [40] * 5


def test_echo_and_alternatives(run: Run, store: Path) -> None:
    (plain,) = sampled(run, store, "--max-tokens", 6)
    (sample,) = sampled(run, store, "--max-tokens", 6, "--echo", "--top-logprobs", 2)
    assert sample["text"] == PROMPT + plain["text"]
    drawn = [token["token_id"] for token in sample["top_logprobs"]]
    assert drawn[: len(plain["token_ids"])] == plain["token_ids"]
    assert sum(token["logprob"] for token in sample["top_logprobs"]) == pytest.approx(
        sample["logprob"]
    )
    for token in sample["top_logprobs"]:
        first, second = token["top"]
        assert first["logprob"] >= second["logprob"]
        assert first["logprob"] >= token["logprob"]
    words = ["--seed", 7, "--max-tokens", 6, "--echo", "--top-logprobs", 2]
    lines = run("sample", PROMPT, "-m", store, *words).stdout.splitlines()
    assert lines[0].startswith(PROMPT)
    assert len(lines) == 1 + len(drawn)


def test_no_token_comes_twice(run: Run, store: Path) -> None:
    words = ["--no-repeat-ngram", 1, "--max-tokens", 40, "--ignore-eos", "--temperature", 1.5]
    for sample in sampled(run, store, "-n", 2, *words):
        assert len(set(sample["token_ids"])) == len(sample["token_ids"]) == 40


def test_a_vote_says_which_filters_are_on(run: Run, store: Path) -> None:
    words = ["vote", PROMPT, "-m", store, "-n", 5, "--max-tokens", 3, "--seed", 1]
    plain = run(*words)
    assert "penalty" not in plain.stderr
    assert parsed(run(*words, "--json"))["filters"] == []
    filtered = [*words, "--repetition-penalty", 1.2, "--ban", "天"]
    assert "# repetition_penalty 1.2; ban 天" in run(*filtered).stderr
    assert parsed(run(*filtered, "--json"))["filters"] == ["repetition_penalty 1.2", "ban 天"]


def test_a_vote_among_choices(run: Run, store: Path) -> None:
    words = ["vote", PROMPT, "-m", store, "--choices", "天,天空，不"]
    found = parsed(run(*words, "--json"))
    assert {row["answer"] for row in found["tally"]} == {"天", "天空", "不"}
    assert sum(row["among_choices"] for row in found["tally"]) == pytest.approx(1)
    lines = run(*words).stdout.splitlines()
    assert f"{found['tally'][0]['among_choices']:6.1%}".strip() in lines[1]


def test_a_preset_gives_defaults_and_what_is_typed_counts_more(run: Run, store: Path) -> None:
    run("preset", "save", "short", "--max-tokens", 3, "--ban", "天", "--ban", "空", "--ignore-eos")
    (short,) = sampled(run, store, "--preset", "short")
    (same,) = sampled(run, store, "--max-tokens", 3, "--ban", "天", "--ban", "空", "--ignore-eos")
    assert short == same
    assert len(short["token_ids"]) == 3
    (longer,) = sampled(run, store, "--max-tokens", 5, "--preset", "short")
    assert longer["token_ids"][:3] == short["token_ids"]
    assert len(longer["token_ids"]) == 5
    shown = run("preset", "show", "short").stdout
    assert shown == 'short: --max-tokens 3 --ban "天" --ban "空" --ignore-eos\n'
    assert parsed(run("preset", "show", "short", "--json"))["ban"] == ["天", "空"]
    listed = run("sample", "--preset", "list").stdout
    assert listed == run("preset", "list").stdout
    assert [line.split(":")[0] for line in listed.splitlines()] == ["poem", "qa", "story", "short"]
    run("preset", "remove", "short")
    assert "short" not in parsed(run("preset", "list", "--json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "--preset", "pome"], "nearest: poem"),
        (["sample", "--preset", "votes"], "sets method, which cpm sample does not have"),
        (["sample", "--bias", "id:99999=1"], "bias of token id 99999; expected 0 to"),
        (["sample", "--bias", "99999=1"], "'99999' is not a single token"),
        (["sample", "--bias", "天"], "expected a token's text, = and a number"),
        (["sample", "--ban", "\u9f98"], "is no sequence of tokens"),
        (["sample", "--ban", "天", "--stop", "天空"], "so it can never appear"),
        (["sample", "--min-tokens", 9, "--max-tokens", 8], "min_tokens is 9 and max_tokens 8"),
        (["sample", "--repetition-penalty", 0], "repetition_penalty is 0"),
        (["sample", "--top-logprobs", 1000000], "top_logprobs is 1000000; expected"),
        (["vote", "--choices", "天"], "expected at least two"),
        (["vote", "--choices", "天,空", "--answer", "number"], "leave answer out"),
    ],
)
def test_bad_requests_are_one_line_errors(
    run: Run, store: Path, words: list[Any], said: str
) -> None:
    if "votes" in words:
        run("preset", "save", "votes", "--method", "exact")
    verb, *options = words
    result = run(verb, PROMPT, "-m", store, *options, code=1)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
