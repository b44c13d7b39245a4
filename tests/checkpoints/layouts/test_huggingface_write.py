"""A store is a Hugging Face directory: transformers loads it and computes the same logits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel

import cpm_lm
from cpm_lm.checkpoints.convert import convert
from cpm_lm.checkpoints.known.config_quirks import quirks
from cpm_lm.choices import WeightFormat
from cpm_lm.config import GPTConfig
from cpm_lm.errors import CheckpointError, ConfigError, RequestError
from cpm_lm.verification.inspect import inspect
from tests.support.make_pretrained import logits_of, random_model, write_config
from tests.support.make_shards import write_shards
from tests.support.tiny_bert import PIECES, write_pieces
from tests.support.tiny_vocabulary import train
from tests.support.tolerances import LOGITS

END, PAD = 7, 5


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("vocabulary")
    return train(directory, vocab_size=190, hard_vocab_limit=True)


@pytest.mark.parametrize(("weights", "dtype"), [("f32", "float32"), ("f16", "float16")])
def test_transformers_loads_a_store_made_from_megatron(
    tmp_path: Path, checkpoints: Path, weights: WeightFormat, dtype: str
) -> None:
    source = checkpoints / "tiny-mp2"
    convert(source, tmp_path / "hf", to="huggingface", weights=weights, heads=4)
    theirs, loading = GPT2LMHeadModel.from_pretrained(
        tmp_path / "hf", dtype=torch.float32, output_loading_info=True
    )
    assert not any(loading.values())
    reference = np.load(source / "reference.npz")
    ids = reference["input_ids"][0].tolist()
    difference = np.abs(logits_of(theirs.eval(), ids) - reference["logits"][0]).max()
    assert difference < LOGITS[dtype]


def test_megatron_to_huggingface_and_back_is_bit_exact(tmp_path: Path, checkpoints: Path) -> None:
    convert(checkpoints / "tiny-mp2", tmp_path / "hf", to="huggingface", heads=4)
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "hf")
    theirs.save_pretrained(tmp_path / "saved", max_shard_size="100KB")
    convert(tmp_path / "saved", tmp_path / "again", to="huggingface")
    first, again = ((tmp_path / d / "model.safetensors").read_bytes() for d in ("hf", "again"))
    assert first == again
    assert json.loads((tmp_path / "again" / "config.json").read_text()) == json.loads(
        (tmp_path / "hf" / "config.json").read_text()
    )


def test_a_store_is_a_hugging_face_directory(tmp_path: Path, checkpoints: Path) -> None:
    for to in ("store", "huggingface"):
        convert(checkpoints / "tiny-mp1", tmp_path / to, to=to, heads=4)
    names = [{file.name for file in (tmp_path / to).iterdir()} for to in ("store", "huggingface")]
    assert names[0] == names[1]
    for name in names[0]:
        pair = [(tmp_path / to / name).read_bytes() for to in ("store", "huggingface")]
        assert pair[0] == pair[1], name


def test_an_unknown_target_layout_is_refused(tmp_path: Path, checkpoints: Path) -> None:
    with pytest.raises(ConfigError, match="expected one of store, huggingface"):
        convert(checkpoints / "tiny-mp1", tmp_path / "x", to="gguf", heads=4)  # type: ignore[arg-type]


def written(directory: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((directory / "config.json").read_text())
    return {name: values[f"{name}_token_id"] for name in ("bos", "eos", "pad")}


def test_the_special_ids_are_those_of_the_tokenizer(tmp_path: Path, vocabulary: Path) -> None:
    shards = write_shards(tmp_path / "in", vocab=190, width=16)
    convert(shards, tmp_path / "hf", heads=4, tokenizer=vocabulary)
    assert written(tmp_path / "hf") == {"bos": END, "eos": END, "pad": PAD}
    theirs = GPT2LMHeadModel.from_pretrained(tmp_path / "hf").generation_config
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (END, END, PAD)


def test_without_a_tokenizer_there_are_no_special_ids(tmp_path: Path) -> None:
    convert(write_shards(tmp_path / "in"), tmp_path / "hf", heads=4)
    assert written(tmp_path / "hf") == {"bos": None, "eos": None, "pad": None}
    assert GPT2LMHeadModel.from_pretrained(tmp_path / "hf").generation_config.eos_token_id is None


def test_wrong_published_ids_are_replaced_and_reported(tmp_path: Path, vocabulary: Path) -> None:
    model = random_model(vocab_size=190)
    model.save_pretrained(tmp_path / "in")
    write_config(tmp_path / "in", model)
    (expected,) = inspect(tmp_path / "in").warnings
    assert "bos_token_id 50256, eos_token_id 50256; there is no tokenizer" in expected
    for name in ("chinese_vocab.model", "spiece.model"):  # the name of CPM, and that of its copies
        (tmp_path / "in" / name).write_bytes((vocabulary / "chinese_vocab.model").read_bytes())
        (reported,) = inspect(tmp_path / "in").warnings
        for part in (
            "bos_token_id 50256 (the tokenizer's: 7)",
            "pad_token_id 0 (the tokenizer's: 5)",
        ):
            assert part in reported
        manifest = convert(tmp_path / "in", tmp_path / name)
        assert manifest.notes == (reported,)
        assert written(tmp_path / name) == {"bos": END, "eos": END, "pad": PAD}
        assert not inspect(tmp_path / name).warnings
        assert cpm_lm.load(tmp_path / name, engine="reference").sample("今天", max_tokens=3)
        (tmp_path / "in" / name).unlink()


@pytest.mark.parametrize("width", [2560, 1024, 768, 512])
@pytest.mark.parametrize("named", ["gelu", "gelu_new"])
def test_a_model_of_cpms_shape_with_erf_gelu_is_reported(named: str, width: int) -> None:
    config = GPTConfig(
        vocab_size=30_000, n_positions=8, n_embd=width, n_layer=1, n_head=8,
        activation_function=named,
    )  # fmt: skip
    reported = list(quirks(config, {}, None))
    assert len(reported) == (named == "gelu" and width != 512)
    assert all("erf form of GELU" in line for line in reported)


def test_a_published_directory_is_not_a_store(tmp_path: Path) -> None:
    random_model().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="convert it with cpm convert"):
        cpm_lm.load(tmp_path)


# Models with a BERT vocabulary.


@pytest.fixture(scope="module")
def chinese_gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as models of the GPT2-Chinese family are published, with their wrong ids."""
    directory = tmp_path_factory.mktemp("gpt2-chinese")
    model = random_model(vocab_size=len(PIECES), n_positions=64, seed=4)
    model.save_pretrained(directory)
    write_config(directory, model)
    return write_pieces(directory, tokenizer_class="BertTokenizer", do_lower_case=True)


@pytest.fixture(scope="module")
def converted(chinese_gpt2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("stores") / "bert"
    convert(chinese_gpt2, target, to="huggingface")
    return target


PROMPTS = ["今天天气", "我们 hello", "Hello worlds ", "北京，", "1 2", ""]


def test_ids_and_greedy_text_equal_those_of_transformers(
    chinese_gpt2: Path, converted: Path
) -> None:
    """The reference is transformers on the published directory."""
    model = cpm_lm.load(converted, engine="reference")
    theirs = GPT2LMHeadModel.from_pretrained(chinese_gpt2).eval()
    tokenizer = AutoTokenizer.from_pretrained(chinese_gpt2)
    end = tokenizer.sep_token_id
    texts = set()
    for prompt in PROMPTS:
        ids = tokenizer.encode(prompt)[:-1]  # without [SEP]
        assert model.prompt_ids(prompt) == ids
        found = theirs.generate(
            torch.tensor([ids]), do_sample=False, max_new_tokens=20, eos_token_id=end,
            pad_token_id=0,
        )[0, len(ids):].tolist()  # fmt: skip
        sample = model.sample(prompt, temperature=0, max_tokens=20)[0]
        assert list(sample.token_ids) == [i for i in found if i != end]
        assert (sample.finish_reason == "stop") == (end in found)
        # Theirs separates all pieces by spaces, and keeps the ## of a first piece.
        spaced = tokenizer.decode(sample.token_ids, skip_special_tokens=True)
        assert sample.text.replace(" ", "").replace("⁇", "") == spaced.replace(" ", "").replace(
            "##", ""
        )
        assert "".join(model.stream(prompt, temperature=0, max_tokens=20)) == sample.text
        texts.add(sample.text)
    assert len(texts) > 3  # with fewer the test compares too little


def test_transformers_loads_the_converted_directory(converted: Path) -> None:
    names = {file.name for file in converted.iterdir()}
    assert names >= {"vocab.txt", "tokenizer_config.json", "config.json", "model.safetensors"}
    ids = {name: PIECES.index(f"[{piece}]") for name, piece in
           (("bos", "CLS"), ("eos", "SEP"), ("pad", "PAD"))}  # fmt: skip
    assert written(converted) == ids
    tokenizer = AutoTokenizer.from_pretrained(converted)
    ours = cpm_lm.Tokenizer.load(converted)
    text = "今天 Hello，中国"
    assert tokenizer.encode(text, add_special_tokens=False) == ours.encode(text)


def test_samples_end_at_sep_and_votes_compare_text(converted: Path) -> None:
    """[SEP] ends a text and is not part of it."""
    model = cpm_lm.load(converted, engine="reference")
    vote = model.vote("今天天气", n=60, max_tokens=30, seed=1)
    samples = model.sample("今天天气", n=60, max_tokens=30, seed=1, temperature=1, top_p=1)
    end = PIECES.index("[SEP]")
    ended = [sample for sample in samples if sample.finish_reason == "stop"]
    assert ended
    assert all(end not in sample.token_ids and "[SEP]" not in sample.text for sample in samples)
    counted = sum(answer.count or 0 for answer in vote.tally)
    assert counted + round(vote.no_answer * 60) == len(ended)


def test_stop_strings_are_normalized(converted: Path) -> None:
    model = cpm_lm.load(converted, engine="reference")
    whole = model.sample("今天", temperature=0, max_tokens=20)[0].text
    letter = next(sign for sign in whole if sign.isascii() and sign.isalpha())
    cut = model.sample("今天", temperature=0, max_tokens=20, stop=letter.upper())[0]
    assert cut.text == whole[: whole.index(letter)]
    with pytest.raises(RequestError, match="can never appear"):
        model.sample("今天", stop="\n")  # no piece has a line end


@pytest.mark.parametrize("ranks", [1, 2])
def test_through_megatron_shards_is_bit_exact(
    tmp_path: Path, chinese_gpt2: Path, converted: Path, ranks: int
) -> None:
    convert(chinese_gpt2, tmp_path / "shards", to="megatron", ranks=ranks)
    manifest = convert(tmp_path / "shards", tmp_path / "again", heads=4)
    assert manifest.ranks == ranks
    for name in ("model.safetensors", "config.json", "vocab.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (converted / name).read_bytes()
