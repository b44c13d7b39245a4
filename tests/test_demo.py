"""The model in the package: complete, small, and able to do what the README shows."""

import hashlib
import json
import re
from pathlib import Path

import pytest

import cpm_lm
from benchmarks.pages import block, translated, twin
from cpm_lm.model import DEMO
from recipes.demo.card import MARK, PHRASES, table
from recipes.demo.settings import Settings
from recipes.demo.sums import held_out_pairs

RESULTS = Path(__file__).parent.parent / "recipes" / "demo" / "results"
LIMIT = 15_000_000


@pytest.fixture(scope="module", params=["native", "reference"])
def model(request):
    return cpm_lm.load(engine=request.param)


def test_the_model_is_smaller_than_its_limit():
    assert sum(file.stat().st_size for file in DEMO.rglob("*")) < LIMIT


def test_the_files_are_those_of_the_manifest():
    manifest = json.loads((DEMO / "manifest.json").read_text("utf-8"))
    for record in manifest["files"]:
        data = (DEMO / record["name"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == record["sha256"]


def test_its_shape_is_large_enough_to_test_an_engine(model):
    config = model.engine.config
    assert config.vocab_size == 8_000
    assert config.n_layer >= 4
    assert config.head_size in (32, 64)


def test_its_special_pieces_have_cpms_ids(model):
    pieces = [model.tokenizer.piece(i) for i in range(8)]
    assert pieces == ["<unk>", "<s>", "</s>", "\n", "<sep>", "<pad>", "<mask>", "<eod>"]
    assert model.tokenizer.end_ids == {7}


def test_numbers_are_encoded_digit_by_digit(model):
    pieces = [model.tokenizer.piece(i) for i in range(8, model.tokenizer.vocab_size)]
    assert not [piece for piece in pieces if re.search(r"\d.|.\d", piece)]
    ids = model.tokenizer.encode("12+137=149")
    assert [model.tokenizer.piece(i) for i in ids] == list("12+137=149")


def test_a_line_of_a_poem_has_three_continuations(model):
    samples = model.sample("床前明月光，", n=3, max_tokens=24, seed=2)
    texts = {sample.text for sample in samples}
    assert len(texts) == 3
    for text in texts:
        assert len(re.findall(r"[\u4e00-\u9fff]", text)) >= 4
        assert "⁇" not in text


def test_a_sum_after_examples(model):
    (sample,) = model.sample("1+1=2,1+2=3,1+3=4,1+4=", max_tokens=1, temperature=0)
    assert sample.text == "5"


def test_held_out_sums(model):
    hidden = held_out_pairs(Settings().held_out_sums, Settings().seed)
    assert (27, 46) in hidden
    vote = model.vote("12+5=17,30+41=71,25+16=41,18+33=51,46+27=", answer="number", seed=1)
    assert vote.winner == "73"


def test_the_sky_is_blue(model):
    likely = [token.text for token in model.next_tokens("今天的天空好", 5)]
    assert "蓝" in likely


def test_the_card_shows_the_figures_of_the_run_in_both_languages():
    shown = table(json.loads((RESULTS / "evaluate.json").read_text("utf-8")))
    card = DEMO / "README.md"
    assert block(twin(card), MARK) == shown
    assert block(card, MARK) == translated(shown, PHRASES)
