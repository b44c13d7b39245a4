"""Which language a person reads: that of `CPM_LANG`, else the locale's; a process may choose."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cpm_lm.errors import CheckpointError, CpmError
from cpm_lm.languages import language, tr, use_language

VARIABLES = ("CPM_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    use_language(None)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_TW.Big5"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "C"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_GB.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "de:zh:en"}, "zh"),
        ({"LANG": "C", "LANGUAGE": "zh"}, "en"),  # as gettext has it
        ({"LANG": "en_US.UTF-8", "CPM_LANG": "zh"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "CPM_LANG": "en"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "CPM_LANG": "zh-Hans"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "CPM_LANG": "klingon"}, "zh"),
    ],
)
def test_language(monkeypatch: pytest.MonkeyPatch, said: dict[str, str], wanted: str) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert language() == wanted


def test_a_process_may_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPM_LANG", "zh")
    use_language("en")
    assert language() == "en"
    use_language(None)
    assert language() == "zh"


def test_an_error_speaks_the_language() -> None:
    text = "{path} is {content}; expected a PyTorch file"
    hint = "a named pipe"
    use_language("zh")
    error = CheckpointError(text, path="a.pt", content=tr(hint))
    assert str(error) == "a.pt 是命名管道；应为 PyTorch 文件"
    use_language("en")
    assert (
        str(error) == "a.pt 是命名管道；应为 PyTorch 文件"
    )  # said once, in the language of that time
    assert str(CheckpointError(text, path="a.pt", content=tr(hint))) == f"a.pt is empty; {hint}"


@pytest.mark.parametrize("name", ["zh", "en"])
def test_text_without_fields_is_taken_as_it_is(name: str) -> None:
    use_language(name)
    assert str(CpmError("{no} field {0}")) == "{no} field {0}"
    assert tr("{") == "{"


def test_values_are_not_looked_up() -> None:
    """A file may be named like a message."""
    use_language("zh")
    assert str(CheckpointError("{path} is {known}", path="is missing", known="{x}")) == (
        "is missing 是{x}"
    )
