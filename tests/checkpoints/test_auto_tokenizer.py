"""transformers' AutoTokenizer on what we write: the right ids, or an error that says what to use.

It returned a tokenizer without a vocabulary, in silence: every text had no ids.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from transformers import AutoTokenizer, BertTokenizerFast

import cpm_lm
from cpm_lm.checkpoints.convert import convert
from cpm_lm.choices import FormName
from cpm_lm.verification.verify import verify
from tests.support.make_pretrained import random_model, write_config
from tests.support.tiny_bert import PIECES, write_pieces

FORMS: list[FormName] = ["store", "huggingface"]


def published(directory: Path) -> Path:
    """A model without a tokenizer, as transformers writes it."""
    model = random_model(vocab_size=len(PIECES), n_positions=64, seed=4)
    model.save_pretrained(directory)
    write_config(directory, model)
    return directory


@pytest.mark.parametrize("to", FORMS)
def test_with_cpms_vocabulary_the_error_names_our_tokenizer(tmp_path: Path, to: FormName) -> None:
    convert(cpm_lm.DEMO, tmp_path / "out", to=to)
    with pytest.raises(ValueError, match=r"use cpm_lm\.Tokenizer\.load\(directory\)"):
        AutoTokenizer.from_pretrained(tmp_path / "out")
    assert cpm_lm.Tokenizer.load(tmp_path / "out").encode("今天")
    assert not verify(tmp_path / "out", engine="reference").problems


def test_the_packaged_model_names_our_tokenizer() -> None:
    with pytest.raises(ValueError, match=r"use cpm_lm\.Tokenizer\.load\(directory\)"):
        AutoTokenizer.from_pretrained(cpm_lm.DEMO)


@pytest.mark.parametrize("to", FORMS)
def test_without_a_vocabulary_the_error_says_so(tmp_path: Path, to: FormName) -> None:
    convert(published(tmp_path / "in"), tmp_path / "out", to=to)
    with pytest.raises(ValueError, match="converted without a tokenizer"):
        AutoTokenizer.from_pretrained(tmp_path / "out")
    assert cpm_lm.Tokenizer.files(tmp_path / "out") == ()


@pytest.mark.parametrize("to", FORMS)
@pytest.mark.parametrize("settings", [{}, {"do_lower_case": False}, {"tokenizer_class": "x"}])
def test_with_berts_vocabulary_the_ids_are_ours(
    tmp_path: Path, to: FormName, settings: dict[str, Any]
) -> None:
    """A publisher's settings stay; only a missing class is added."""
    if "tokenizer_class" in settings:
        settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    source = write_pieces(published(tmp_path / "in"), **settings)
    convert(source, tmp_path / "out", to=to, text_style="uer")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    ours = cpm_lm.Tokenizer.load(tmp_path / "out")
    for text in ("今天天气不错", "hello WORLD, 12", "naïve  café"):
        assert theirs.encode(text, add_special_tokens=False) == ours.encode(text) != []
        assert theirs.encode(text)[:-1] == [*ours.prefix_ids, *ours.encode(text)]
    written = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text("utf-8"))
    assert written == {"tokenizer_class": "BertTokenizer"} | settings


def test_with_tokenizer_json_alone_the_ids_are_ours(tmp_path: Path) -> None:
    source = write_pieces(published(tmp_path / "in"))
    BertTokenizerFast.from_pretrained(source).save_pretrained(source)
    for name in ("vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (source / name).unlink(missing_ok=True)
    judge = tokenizers.Tokenizer.from_file(str(source / "tokenizer.json"))
    convert(source, tmp_path / "out", text_style="uer")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert theirs.encode("今天 hello") == judge.encode("今天 hello").ids
    ours = cpm_lm.Tokenizer.load(tmp_path / "out")
    assert theirs.encode("今天 hello", add_special_tokens=False) == ours.encode("今天 hello")
