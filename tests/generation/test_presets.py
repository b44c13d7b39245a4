"""Presets: named options, stored in the user's directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cpm_lm.errors import ConfigError, CpmError, RequestError
from cpm_lm.generation.options import SamplingOptions, VotingOptions
from cpm_lm.generation.presets import (
    BUILT_IN,
    preset,
    presets,
    remove_preset,
    save_preset,
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CPM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_presets_of_the_package_are_options_of_both_verbs(name: str) -> None:
    SamplingOptions(**preset(name))
    VotingOptions(**preset(name))


def test_a_preset_is_saved_read_listed_and_removed(home: Path) -> None:
    assert not home.exists()
    assert presets() == ("poem", "qa", "story")
    assert not home.exists(), "reading makes no directory"
    options = {"temperature": 0.5, "ban": ["坏"], "bias": ["的=-2"], "ignore_eos": True}
    path = save_preset("我的", options)
    assert path.read_text("utf-8").startswith("{\n")
    assert preset("我的") == options
    assert presets() == ("poem", "qa", "story", "我的")
    assert [each.name for each in path.parent.iterdir()] == ["我的.json"], "nothing is left beside"
    with pytest.raises(RequestError, match=r"exists .*--overwrite"):
        save_preset("我的", {"top_k": 1})
    save_preset("我的", {"top_k": 1}, overwrite=True)
    assert preset("我的") == {"top_k": 1}
    assert remove_preset("我的") == path
    assert presets() == ("poem", "qa", "story")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("poem", {"top_k": 1}, "'poem' is reserved"),
        ("list", {"top_k": 1}, "'list' is reserved"),
        ("a/b", {"top_k": 1}, "is not a name"),
        ("..", {"top_k": 1}, "is not a name"),
        ("x", {}, "no option to store"),
        ("x", {"top_p": 2.0}, "top_p is 2.0; expected"),
        ("x", {"min_tokens": 9, "max_tokens": 3}, "at most max_tokens"),
        ("x", {"colour": 1}, "unknown option 'colour'"),
        ("x", {"echo": True, "method": "exact"}, "sets echo, which is for samples, and method"),
        ("x", {"method": "exact", "confidence": 0.9}, "confidence needs method 'sample'"),
    ],
)
def test_what_cannot_be_used_is_not_saved(
    home: Path, name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(CpmError, match=said):
        save_preset(name, options)
    assert not home.exists()


def test_an_unknown_preset_names_the_nearest() -> None:
    save_preset("poetry", {"top_k": 1})
    with pytest.raises(RequestError, match="unknown preset 'poen'; nearest: poem"):
        preset("poen")
    with pytest.raises(RequestError, match="nearest: poem, qa, story"):
        remove_preset("zzzzzzzz")
    with pytest.raises(RequestError, match="part of the package"):
        remove_preset("qa")


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"top_p": 7}', '{"stop": 5}', '{"a b": 1}', "[" * 100_000, "\xff"]
)
def test_a_damaged_file_is_one_line(home: Path, text: str) -> None:
    path = save_preset("mine", {"top_k": 1})
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=r"mine\.json") as error:
        preset("mine")
    assert len(str(error.value).splitlines()) == 1
