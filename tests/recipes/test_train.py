"""The whole recipe on a corpus of a few lines."""

import dataclasses
import json

import pytest

import cpm_lm
from cpm_lm.tokenizer import Tokenizer
from recipes.demo import build, pieces, prepare
from recipes.demo.settings import Mix, Settings
from recipes.demo.sources import Document

pytestmark = pytest.mark.keras

SETTINGS = dataclasses.replace(
    Settings(),
    pieces=53,
    shape={"n_positions": 256, "n_embd": 8, "n_layer": 1, "n_head": 2},
    compute_dtype="float32",
    log_tokens=320,
    mix=Mix(sum_characters=700, small_sum_characters=300),
    stages=((8, 0.5), (16, 0.5)),
    batch_tokens=64,
    warmup_steps=2,
    logged_windows=8,
)


@pytest.fixture
def work(tmp_path, monkeypatch):
    held_out = [Document(kind, "1+1=2," * 1_000) for kind in ("poem", "novel")]
    monkeypatch.setattr(prepare, "sort_out", lambda *_: ([], held_out))
    figures = prepare.prepare(tmp_path, tmp_path, SETTINGS)
    assert figures["unknown_tokens"] == 0
    return tmp_path


def test_training_lowers_the_loss_logs_and_writes_a_store(work, monkeypatch):
    from recipes.demo.train import train

    figures = train(work, SETTINGS)
    lines = [json.loads(line) for line in (work / "log.jsonl").read_text("utf-8").splitlines()]
    assert lines[-1]["step"] == figures["steps"]
    assert lines[-1]["tokens"] == figures["tokens"] > 500
    assert lines[-1]["loss_poem"] < lines[0]["loss_poem"]

    monkeypatch.setattr(build, "PACKAGED", work / "packaged")
    build.build(work, SETTINGS)
    model = cpm_lm.load(work / "packaged", engine="reference")
    assert model.sample("1+1=", max_tokens=2, seed=0)[0].text


def test_pieces_have_one_digit_and_every_document_ends_with_eod(tmp_path):
    documents = [Document("sum", "12+34=46"), Document("sum", "床前明月光")] * 20
    settings = dataclasses.replace(SETTINGS, pieces=55)
    pieces.train_tokenizer(documents, tmp_path, settings)
    tokenizer = Tokenizer.load(tmp_path)
    ids = pieces.encode(documents[:2], tmp_path)
    assert ids.tolist() == [*tokenizer.encode("12+34=46"), 7, *tokenizer.encode("床前明月光"), 7]
    assert [tokenizer.piece(i) for i in tokenizer.encode("12+34=46")] == list("12+34=46")
