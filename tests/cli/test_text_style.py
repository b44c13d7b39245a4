"""The convention of a model's texts at the command line: asked, recorded, shown, noted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cpm_lm.checkpoints.layouts.store import MODEL
from cpm_lm.tokenizer import Tokenizer
from tests.support.fake_hub import FakeHub, serving
from tests.support.make_pretrained import random_model, write_config
from tests.support.running import Run, parsed
from tests.support.tiny_bert import PIECES, write_pieces

ENGINE = ("--engine", "reference")


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a bare vocab.txt."""
    directory = tmp_path_factory.mktemp("silent")
    model = random_model(vocab_size=len(PIECES), n_positions=64)
    model.save_pretrained(directory)
    write_config(directory, model)
    return write_pieces(directory)


def test_it_is_asked_for_and_shown(run: Run, silent: Path, tmp_path: Path) -> None:
    asked = run("convert", silent, tmp_path / "no", code=1).stderr
    assert "--text-style uer or gpt2-chinese" in asked
    assert asked.count("\n") == 1
    run("convert", silent, tmp_path / "no", "--text-style", "x", code=2)
    run("convert", silent, tmp_path / "new", "--text-style", "gpt2-chinese")
    shown = run("inspect", tmp_path / "new").stdout
    assert "text style: gpt2-chinese (recorded in text_style.json)" in shown
    found = parsed(run("inspect", tmp_path / "new", "--json"))
    assert found["text_style"] == "gpt2-chinese"
    assert "text_style.json" in found["text_style_evidence"]


@pytest.mark.parametrize("owner", ["uer", "someone"])
def test_pull_knows_some_publishers_and_asks_for_others(
    run: Run, silent: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: str
) -> None:
    from huggingface_hub import constants

    files = {name: (silent / name).read_bytes() for name in ("config.json", "vocab.txt", MODEL)}
    name = f"{owner}/gpt2-chinese"
    with serving(FakeHub(name=name, files=files)) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        # Exit code 1 of a result: random weights are not sound, which does not matter here.
        words = ["pull", name, *ENGINE]
        first = run(*words, "-o", tmp_path / "first", code=1)
        assert ("--text-style uer or" in first.stderr) == (owner != "uer")
        run(*words, "-o", tmp_path / "new", "--text-style", "gpt2-chinese", code=1)
    found = {place: Tokenizer.load(tmp_path / place) for place in ("first", "new")
             if (tmp_path / place).exists()}  # fmt: skip
    styles = {place: tokenizer.text_style for place, tokenizer in found.items()}
    assert styles == {"new": "gpt2-chinese"} | ({"first": "uer"} if owner == "uer" else {})
    assert not any(tokenizer.note for tokenizer in found.values())


def test_what_is_not_known_is_told(run: Run, silent: Path) -> None:
    found = parsed(run("inspect", silent, "--json"))
    assert (found["text_style"], found["text_style_evidence"]) == ("uer", "assumed")
    assert any("--text-style" in warning for warning in found["warnings"])
    assert "text style: uer (assumed)" in run("inspect", silent).stdout


def test_families_with_one_convention_show_none(run: Run, store: Path) -> None:
    assert "text style" not in run("inspect", store).stdout
    assert parsed(run("inspect", store, "--json"))["text_style"] is None


def test_a_store_of_before_has_one_note_and_its_command_records(
    run: Run, silent: Path, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    run("convert", silent, old, "--text-style", "uer")
    known = run("sample", "今天", "-m", old, *ENGINE, "--seed", 1, "--max-tokens", 5)
    (old / "text_style.json").unlink()  # as it was written until then
    again = run("sample", "今天", "-m", old, *ENGINE, "--seed", 1, "--max-tokens", 5)
    assert again.stdout == known.stdout
    (note,) = (line for line in again.stderr.splitlines() if "--text-style" in line)
    assert "--text-style" in run("next", "今天", "-m", old, *ENGINE).stderr
    words = note.partition("Record it: cpm ")[2].partition(", or")[0].split()
    run(*(str(new) if word == "NEW" else word for word in words))
    assert json.loads((new / "text_style.json").read_text())["text_style"] == "uer"
    quiet = run("sample", "今天", "-m", new, *ENGINE, "--seed", 1, "--max-tokens", 5)
    assert "--text-style" not in quiet.stderr
