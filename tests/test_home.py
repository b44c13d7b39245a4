"""The directory of a user's models, and the names that they may have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cpm_lm.errors import ConfigError
from cpm_lm.home import check_name, home_directory, is_name, models_directory


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home directory, without settings."""
    for name in ("CPM_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "below"),
    [
        ("linux", ".local/share/cpm-lm"),
        ("darwin", "Library/Application Support/cpm-lm"),
        ("win32", "AppData/Local/cpm-lm"),
    ],
)
def test_each_system_has_its_own_data_directory(
    user: Path, monkeypatch: pytest.MonkeyPatch, platform: str, below: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    assert home_directory() == user / below
    assert models_directory() == user / below / "models"
    assert not (user / below).exists(), "a look creates nothing"


def test_variables_choose_the_directory(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(user / "data"))
    assert home_directory() == user / "data" / "cpm-lm"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")  # the specification ignores it
    assert home_directory() == user / ".local/share/cpm-lm"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(user / "local"))
    assert home_directory() == user / "local" / "cpm-lm"
    monkeypatch.setenv("CPM_HOME", str(user / "own"))
    assert home_directory() == user / "own"
    monkeypatch.setenv("CPM_HOME", "~/mine")
    assert home_directory() == user / "mine"
    monkeypatch.setenv("CPM_HOME", "")
    assert home_directory() == user / "local" / "cpm-lm"


def test_a_relative_home_counts_from_the_current_directory(
    user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(user)
    monkeypatch.setenv("CPM_HOME", "here")
    assert home_directory() == Path.cwd() / "here"
    assert home_directory().is_absolute()


@pytest.mark.parametrize("below", ["", "deeper/still"])
def test_a_file_in_the_place_of_the_home_is_an_error(
    user: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    (user / "file").touch()
    monkeypatch.setenv("CPM_HOME", str(user / "file" / below))
    with pytest.raises(ConfigError, match=r"file is a file.*set CPM_HOME"):
        home_directory()


@pytest.mark.parametrize("name", ["CPM-Generate", "a.b_c", "小模型", "my model", "x" * 200, "com"])
def test_a_file_name_is_a_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../x", "a/b", "a\\b", "/etc", "C:", ".hidden", "-m", "~", " x", "x "),
        *("x.", "a\nb", "a\0b", "nul", "CON", "com1.txt", "a?b", "\udcff", "字" * 67, "x" * 201),
    ],
)
def test_what_is_no_file_name_somewhere_is_refused(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(ConfigError, match="is not a name"):
        check_name(name)
