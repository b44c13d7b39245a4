"""Which language a person reads: that of `CPM_LANG`, else the locale's; a process may choose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
    use_language("zh")
    error = CheckpointError(text, path="a.pt", content=tr("a named pipe"))
    assert str(error) == "a.pt 是命名管道；应为 PyTorch 文件"
    use_language("en")
    assert str(error) == "a.pt 是命名管道；应为 PyTorch 文件"  # said once, in the language then
    error = CheckpointError(text, path="a.pt", content=tr("a named pipe"))
    assert str(error) == "a.pt is a named pipe; expected a PyTorch file"


def test_so_does_the_operating_system(tmp_path: Path) -> None:
    use_language("zh")
    with pytest.raises(FileNotFoundError) as found:
        (tmp_path / "no").read_bytes()
    said = tr("{path} cannot be read: {error}", path="a", error=found.value)
    assert said == "无法读取 a：没有那个文件或目录"


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
