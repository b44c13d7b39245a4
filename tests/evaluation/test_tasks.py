"""Task files: the package's own are complete, and a wrong key of any file is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpm_lm.errors import ConfigError
from cpm_lm.evaluation.task_file import load_task, task_names

GOOD = """
name = "mine"
version = 1
title = "mine"
kind = "choice"

[data]
test = "a.jsonl"

[template]
continuation = "{label}"

[candidates]
field = "choices"
answer = "answer"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, "utf-8")
    return path


def test_the_package_has_these_tasks() -> None:
    assert (
        task_names()
        == (
            "arithmetic bustm c3 c3-dialogue chid cluewsc cmrc2018 csl eprstmt iflytek ocnli tnews "
            "zhoblimp"
        ).split()
    )
    for name in task_names():
        task = load_task(name)
        assert task.name == name
        assert len(task.digest) == 64


def test_tnews_and_iflytek_have_both_protocols() -> None:
    for name, labels in (("tnews", 15), ("iflytek", 119)):
        task = load_task(name)
        assert len(task.candidates.labels) == labels
        assert {key: value.sampled for key, value in task.protocols.items()} == {
            "all": 0,
            "4way": 4,
        }


def test_the_original_templates() -> None:
    tnews, iflytek, ocnli = map(load_task, ("tnews", "iflytek", "ocnli"))
    whole = [each.template.prompt + each.template.continuation for each in (tnews, iflytek, ocnli)]
    assert whole == [
        "这是关于{label}的文章：{sentence}",
        "这是关于{label}的应用程序：{sentence}",
        "{sentence1}？{label}，{sentence2}",
    ]
    assert list(ocnli.candidates.labels.values()) == ["对", "错", "也许"]


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, GOOD))
    assert (task.name, task.normalization, list(task.protocols)) == (
        "mine",
        "per_token",
        ["standard"],
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('kind = "choice"', 'kind = "chioce"', "kind is 'chioce'; expected choice, generate"),
        ("version = 1", 'version = "1"', "version is '1'; expected int"),
        ("version = 1\n", "", "lacks the key version"),
        ("version = 1", "version = 1\nshosts = 3", "unknown key 'shosts'; expected shots"),
        ('answer = "answer"', 'answr = "answer"', r"\[candidates\] has the unknown key 'answr'"),
        ('field = "choices"\n', "", "needs one of labels, field and fields"),
        ('test = "a.jsonl"', "test = [1]", r"\[data\]: test is \[1\]; expected str"),
        ("[template]", "[template]\nreplace = 3", "replace is 3"),
        ("[data]", "[protocols]\n[data]", "no protocol"),
        ("[data]", "[protocols.x]\nmethod='guess'\n[data]", "method is 'guess'"),
        ("[data]", "[candidates.labels]\na=''\n[data]", "needs one of|without text|cannot be read"),
        ('kind = "choice"', 'kind = "generate"', "metric is 'accuracy'"),
        ("[data]", "digest = 'x'\n[data]", "unknown key 'digest'"),
        ("[data]", "data = 3\n[dota]", "is 3; expected a table"),
        ("version = 1", "version = ", "cannot be read"),
        ("version = 1", "version = 0", "version is 0; expected at least 1"),
        ("version = 1", "version = 1\nshots = -1", "shots is -1"),
        ("version = 1", "version = 1\nmax_tokens = 0", "max_tokens is 0"),
        ("[data]", "[protocols.x]\nsampled = 1\n[data]", "sampled is 1; expected at least 2"),
        ("[data]", "[protocols.x]\nn = 0\n[data]", "n is 0"),
        ('"{label}"', '"{label"', r"'\{label' has a brace"),
        ('"{label}"', '"x"', "where the candidate stands"),
        ('"{label}"', '""\nprompt = "{label}"', "nothing would be scored"),
    ],
)
def test_wrong_keys_are_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=said):
        load_task(written(tmp_path, GOOD.replace(old, new, 1)))


@pytest.mark.parametrize("name", ["tnwes", "../tasks/tnews", "no.toml", ""])
def test_unknown_tasks(name: str) -> None:
    with pytest.raises(ConfigError):
        load_task(name)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no pipes with names here")
    os.mkfifo(tmp_path / "a.toml")
    with pytest.raises(ConfigError, match="is not a file"):
        load_task(tmp_path / "a.toml")


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(GOOD.replace("mine", "我的").encode("gb18030"))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_task(tmp_path / "a.toml")
