"""The convention of a model's texts: asked for where files do not say it, and kept in the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

import cpm_lm
from cpm_lm.checkpoints.convert import convert
from cpm_lm.choices import FormName
from cpm_lm.errors import ConfigError, TokenizerError
from cpm_lm.evaluation.divergence import compare
from cpm_lm.verification.inspect import inspect
from cpm_lm.verification.verify import verify
from tests.support.make_pretrained import random_model, write_config
from tests.support.tiny_bert import PIECES, write_pieces

CLS, SEP = PIECES.index("[CLS]"), PIECES.index("[SEP]")
EOT = "<|endoftext|>"


def published(directory: Path, more: int = 0, **settings: Any) -> Path:
    """Write a model of random numbers with a vocabulary, and rows for `more` added tokens."""
    model = random_model(vocab_size=len(PIECES) + more, n_positions=64, seed=4)
    model.save_pretrained(directory)
    write_config(directory, model)
    return write_pieces(directory, **settings)


@pytest.fixture(scope="module")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose files do not say how its texts begin: a bare vocab.txt."""
    return published(tmp_path_factory.mktemp("silent"))


@pytest.fixture(scope="module")
def chinese(silent: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("stores") / "chinese"
    convert(silent, target, text_style="gpt2-chinese")
    return target


def test_it_is_asked_for_where_no_file_says_it(silent: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="--text-style uer or gpt2-chinese or"):
        convert(silent, tmp_path / "store")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("settings", "style"), [({"tokenizer_class": "BertTokenizer"}, "uer"), ({}, "eos")], ids=str
)
def test_what_was_inferred_is_said_and_recorded(
    tmp_path: Path, settings: dict[str, Any], style: str
) -> None:
    source = published(tmp_path / "in", 1, **settings)
    eos = {} if settings else {"special_tokens_map.json": {"eos_token": EOT}}
    for name, values in {"added_tokens.json": {EOT: len(PIECES)}, **eos}.items():
        (source / name).write_text(json.dumps(values))
    manifest = convert(source, tmp_path / "store")
    assert any(f"text style {style}, because" in note for note in manifest.notes)
    assert "text_style.json" in {file.name for file in manifest.files}
    assert cpm_lm.Tokenizer.load(tmp_path / "store").text_style == style
    assert not cpm_lm.Tokenizer.load(tmp_path / "store").note
    again = convert(tmp_path / "store", tmp_path / "again", weights="f16")
    assert not any("because" in note for note in again.notes)  # it is known by now
    assert cpm_lm.Tokenizer.load(tmp_path / "again").text_style == style


def test_a_prompt_and_its_end_as_gpt2_chinese(chinese: Path, silent: Path) -> None:
    """The greedy text of transformers from the ids that generate.py gives, up to [CLS]."""
    model = cpm_lm.load(chinese, engine="reference")
    theirs = GPT2LMHeadModel.from_pretrained(silent).eval()
    for prompt in ("今天天气", "公园\n", "19"):
        ids = model.prompt_ids(prompt)
        assert CLS not in ids
        found = theirs.generate(
            torch.tensor([ids]), do_sample=False, max_new_tokens=20, eos_token_id=CLS,
            pad_token_id=0,
        )[0, len(ids):].tolist()  # fmt: skip
        sample = model.sample(prompt, temperature=0, max_tokens=20)[0]
        assert list(sample.token_ids) == [i for i in found if i != CLS]
        assert sample.text.count("\n") == found.count(SEP)
        assert not sample.note or "word" in sample.note
    samples = model.sample("今", n=50, max_tokens=30, temperature=2, top_p=1, seed=1)
    assert any(sample.finish_reason == "stop" for sample in samples)
    assert any("\n" in sample.text for sample in samples)
    assert all("[" not in sample.text for sample in samples)
    assert all(CLS not in sample.token_ids for sample in samples)
    stopped = model.sample("今", n=20, max_tokens=20, temperature=2, top_p=1, seed=1, stop="\n")
    assert all("\n" not in sample.text for sample in stopped)


def test_other_tools_load_such_a_store(chinese: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(chinese, tokenizer_type="bert", use_fast=True)
    text = "今天 Hello，中国"
    ours = cpm_lm.Tokenizer.load(chinese)
    assert theirs.encode(text, add_special_tokens=False) == ours.encode(text)
    config = GPT2LMHeadModel.from_pretrained(chinese).generation_config
    assert config.eos_token_id == CLS


@pytest.mark.parametrize("to", ["megatron", "huggingface"])
def test_it_goes_along_through_every_form(tmp_path: Path, chinese: Path, to: FormName) -> None:
    convert(chinese, tmp_path / "there", to=to)
    heads = 4 if to == "megatron" else None
    convert(tmp_path / "there", tmp_path / "again", heads=heads)
    ours = cpm_lm.Tokenizer.load(tmp_path / "again")
    assert (ours.text_style, ours.note) == ("gpt2-chinese", "")
    convert(tmp_path / "there", tmp_path / "other", text_style="uer", heads=heads)
    assert cpm_lm.Tokenizer.load(tmp_path / "other").text_style == "uer"


def test_an_end_of_its_own_behind_the_lines(tmp_path: Path) -> None:
    """As Wenzhong2.0-110M-BertTokenizer: once refused, 86 pieces for 90 rows."""
    source = published(tmp_path / "in", 4, bos_token=EOT, eos_token=EOT)
    n = len(PIECES)
    added = {"公园散步": n, EOT: n + 1, "Covid": n + 2, "<extra>": n + 3}
    (source / "added_tokens.json").write_text(json.dumps(added))
    (source / "special_tokens_map.json").write_text(
        json.dumps({"additional_special_tokens": ["<extra>"]})
    )
    convert(source, tmp_path / "store")
    model = cpm_lm.load(tmp_path / "store", engine="reference")
    assert model.prompt_ids("公园散步") == [n + 1, n]
    assert model.tokenizer.vocab_size == n + 4
    samples = model.sample("今", n=50, max_tokens=30, temperature=2, top_p=1, seed=1)
    assert any(sample.finish_reason == "stop" for sample in samples)
    assert any("公园散步" in sample.text for sample in samples)
    assert not any("<" in sample.text or n + 1 in sample.token_ids for sample in samples)


def test_a_dialogue_model_is_refused_by_name(tmp_path: Path) -> None:
    source = published(tmp_path / "in", 1)
    (source / "added_tokens.json").write_text(json.dumps({"[speaker1]": len(PIECES)}))
    with pytest.raises(TokenizerError, match=r"\[speaker1\].*token_type_ids"):
        convert(source, tmp_path / "store", text_style="uer")
    found = inspect(source)
    assert found.text_style is None
    assert any("token_type_ids" in warning for warning in found.warnings)


def test_options_that_do_not_go_together(silent: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="text_style is 'bert'; expected one of uer"):
        convert(silent, tmp_path / "store", text_style="bert")  # type: ignore[arg-type]
    random_model().save_pretrained(tmp_path / "bare")
    write_config(tmp_path / "bare", random_model())
    with pytest.raises(ConfigError, match="there is no vocabulary"):
        convert(tmp_path / "bare", tmp_path / "store", text_style="uer")


def test_models_of_two_styles_are_not_compared(silent: Path, chinese: Path, tmp_path: Path) -> None:
    convert(silent, tmp_path / "uer", text_style="uer")
    text = "今天天气不错，我们去公园散步。"
    with pytest.raises(ConfigError, match="cannot be compared"):
        compare(tmp_path / "uer", chinese, text, engine="reference")
    found = compare(silent, chinese, text, engine="reference")  # the one assumed gives way
    assert found.predicted


def test_a_model_that_does_not_say_it_can_be_verified(silent: Path) -> None:
    """Its convention is noted, and the weights do not depend on it."""
    found = verify(silent, engine="reference")
    assert any("--text-style" in note for note in found.notes)
    assert found.sanity is not None
