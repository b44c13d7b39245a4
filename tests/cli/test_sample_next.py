from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.running import Run, parsed

PROMPT = "今天的天空很"


def test_sample_json_has_all_fields(run: Run, store: Path) -> None:
    words = ["sample", PROMPT, "-m", store, "-n", 3, "--max-tokens", 5, "--json"]
    found = parsed(run(*words, "--seed", 7))
    assert found["seed"] == 7
    assert found["engine"] == "native"  # there is no GPU
    assert [sample["index"] for sample in found["samples"]] == [0, 1, 2]
    assert 0 < found["rows"] <= found["rows_unmerged"]
    assert parsed(run(*words, "--seed", 7))["samples"] == found["samples"]
    assert parsed(run(*words))["seed"] != 7


def test_sample_prints_every_text_once_in_order(run: Run, store: Path) -> None:
    words = ["sample", PROMPT, "-m", store, "-n", 4, "--max-tokens", 8, "--seed", 3]
    samples = parsed(run(*words, "--json"))["samples"]
    assert len({sample["text"] for sample in samples}) > 1
    printed = run(*words)
    assert printed.stdout == "".join(f"[{s['index'] + 1}] {s['text']}\n" for s in samples)
    assert "seed 3" in printed.stderr


def test_one_sample_is_printed_without_number(run: Run, store: Path) -> None:
    words = ["sample", PROMPT, "-m", store, "--max-tokens", 8, "--seed", 3]
    assert run(*words).stdout == parsed(run(*words, "--json"))["samples"][0]["text"] + "\n"


def test_the_prompt_may_come_from_stdin(run: Run, store: Path) -> None:
    words = ["-m", store, "--max-tokens", 4, "--temperature", 0, "--json"]
    text = f"{PROMPT}\n第二行"
    read = parsed(run("sample", "-", *words, stdin=f"{text}\n".encode()))
    assert read["prompt"] == text
    assert read["samples"] == parsed(run("sample", text, *words))["samples"]


def test_stop_strings_may_be_given_several_times(run: Run, store: Path) -> None:
    words = ["sample", PROMPT, "-m", store, "--max-tokens", 30, "--seed", 1]
    whole = run(*words).stdout[:-1]
    cut = run(*words, "--stop", whole[4:6], "--stop", whole[8:10]).stdout[:-1]
    assert cut == whole[: whole.index(whole[4:6])]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", ""], "prompt"),
        (["sample", "x", "-n", "0"], "n is 0"),
        (["sample", "x", "--top-p", "2"], "top_p"),
        (["sample", "x", "--stop", ""], "stop string"),
        (["sample", "x", "--stop", "云😀"], "can never appear"),
        (["sample", "好" * 200], "context"),
        (["next", "x", "-k", "9999"], "k is 9999"),
        (["next", "x", "--also", "云😀"], "can never follow"),
        (["next", "x", "--tokens", "--also", "不是一个词吧"], "not a single token"),
        (["sample", "x", "--model", "nowhere"], "nowhere"),
    ],
)
def test_bad_requests_are_one_line_errors(
    run: Run, store: Path, words: list[str], said: str
) -> None:
    model = [] if "--model" in words else ["--model", store]
    result = run(*words, *model, code=1)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_next_lists_the_most_probable_first(run: Run, store: Path) -> None:
    found = parsed(run("next", PROMPT, "-m", store, "-k", 5, "--json"))["next"]
    masses = [token["probability"] for token in found]
    assert len(found) == 5
    assert masses == sorted(masses, reverse=True)
    lines = run("next", PROMPT, "-m", store, "-k", 5).stdout.splitlines()
    assert len(lines) == 5
    assert f" {100 * masses[0]:.3g}%" in lines[0]


def test_next_lists_other_pieces_on_request(run: Run, store: Path) -> None:
    found = parsed(run("next", PROMPT, "-m", store, "-k", 1, "--also", "云", "--json"))["next"]
    assert "云" in [token["text"] for token in found]


def test_next_escapes_invisible_characters(run: Run, store: Path) -> None:
    text = run("next", PROMPT, "-m", store, "-k", 190, "--tokens").stdout
    assert "\\n" in text
    assert "<eod>" in text
    assert len(text.splitlines()) == 190
    found = parsed(run("next", PROMPT, "-m", store, "-k", 190, "--json"))["next"]
    assert sum(item["probability"] for item in found) == pytest.approx(1, abs=1e-6)
    lines = run("next", PROMPT, "-m", store, "-k", 190).stdout.splitlines()
    assert len(lines) == len(found) < 190


@pytest.mark.parametrize("prompt", ["今天的天空好", "猫的英文是", "今天天气很好"])
def test_next_lists_no_mark_and_nothing_twice(run: Run, prompt: str) -> None:
    # `▁` came first in four of six prompts, and one character stood in two lines.
    lines = run("next", prompt, "-k", 50).stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert "▁" not in names
    assert len(set(names)) == 50


def test_next_says_what_the_article_says(run: Run) -> None:
    # The article's own example ended in an error, because 晴朗 is not a single token.
    found = run("next", "今天的天空好", "-k", 2, "--also", "晴朗", "--also", "火箭").stdout
    shown = [line.split()[:2] for line in found.splitlines()]
    assert [name for name, _ in shown] == ["蓝", "晴", "晴朗", "火箭"]
    assert [share for _, share in shown[:2]] == ["43.7%", "17.8%"]
    assert shown[3][1].startswith("0.0000000")
