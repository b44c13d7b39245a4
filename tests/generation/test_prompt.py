"""What a person typed is never read as something else in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cpm_lm.config import GPTConfig
from cpm_lm.errors import RequestError
from cpm_lm.generation.prompt import Prompt, read_prompt
from cpm_lm.model import DEMO, Model
from cpm_lm.tokenizer import Tokenizer
from tests.support.fakes import FakeEngine, FakeTokenizer, hashed

CONFIG = GPTConfig(vocab_size=8000, n_positions=32, n_embd=2, n_layer=1, n_head=1)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load(DEMO)


def read(tokenizer: Tokenizer, text: Any, **options: Any) -> Prompt:
    return read_prompt(tokenizer, CONFIG, text, **options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("今天天气很好。", None),
        ("1+1=2,1+2=", None),
        ("今天\n", None),
        ("今天。 ", "ends with a space"),
        ("今天。\t", "ends with a tab, which is left out"),
        ("今天。\u3000", "ends with an ideographic space, which is left out"),
        ("姓名\t年龄\t。", "has a tab (2 in all), which is left out"),
        ("　床前明月光，", "has an ideographic space, which is left out"),
        ("今天\xa0。", "has a no-break space, which is left out"),
        (r"1+1=2\n1+2=", "add -e"),
        ("题目<sep>。", "<sep>, read as text"),
        ("<eod>。", "<eod>, read as text"),
        ("笑㊀龘。", "does not have"),
        ("今天", None),
    ],
)
def test_what_may_not_have_been_meant_is_noted(
    tokenizer: Tokenizer, text: str, said: str | None
) -> None:
    notes = read(tokenizer, text).notes
    if said is None:
        assert notes == ()
    else:
        assert any(said in note for note in notes), notes


def test_special_tokens_are_meant_only_if_one_says_so(tokenizer: Tokenizer) -> None:
    ids = tokenizer.special_ids
    text = "月亮<sep>床前<sep><eod>。"
    plain, special = read(tokenizer, text), read(tokenizer, text, special=True)
    assert not set(plain.ids) & set(ids.values())
    parts = [tokenizer.encode(part) for part in ("月亮", "床前", "。")]
    sep, end = ids["<sep>"], ids["<eod>"]
    assert special.ids == [*parts[0], sep, *parts[1], sep, end, *parts[2]]
    assert special.notes == ()


def test_a_prompt_over_the_context_keeps_its_newest_part_where_it_slides(
    tokenizer: Tokenizer,
) -> None:
    text = "1+2=3," * 20
    whole = tokenizer.encode(text)
    with pytest.raises(RequestError, match="overflow 'slide'"):
        read(tokenizer, text)
    kept = read(tokenizer, text, slide=True)
    assert kept.ids == whole[-31:]
    assert "only its last 31 are read" in kept.notes[0]
    exact = whole[:31]
    assert read(tokenizer, exact, slide=True) == Prompt(ids=exact)


def test_sliding_keeps_what_goes_before_every_prompt() -> None:
    letters = " abc"
    fake = FakeTokenizer(letters)
    fake.prefix_ids = (3, 3)
    model = Model(FakeEngine(hashed(4), 4, n_positions=8), fake)
    [sample] = model.sample("ab" * 30, overflow="slide", seed=1, max_tokens=20)
    assert len(sample.note) > 0
    found = read_prompt(fake, model.engine.config, "ab" * 30, slide=True)
    assert found.ids == [3, 3, 2, 1, 2, 1, 2]


@pytest.mark.parametrize("prompt", [b"abc", bytearray(b"abc"), memoryview(b"abc")])
def test_bytes_are_no_ids(tokenizer: Tokenizer, prompt: Any) -> None:
    with pytest.raises(RequestError, match="expected text, or a sequence of token ids"):
        read(tokenizer, prompt)


def test_a_stop_string_that_is_a_special_token_is_refused(tokenizer: Tokenizer) -> None:
    model = Model(FakeEngine(hashed(8000), 8000), tokenizer)
    with pytest.raises(RequestError, match="'<eod>' is the name of a special token"):
        model.sample("今天。", stop=["。", "<eod>"])
    with pytest.raises(RequestError, match="a backslash and an n are no line end"):
        model.sample("今天。", stop=r"\n")


def test_a_stop_string_with_a_backslash_is_noted_where_it_can_appear() -> None:
    model = Model(FakeEngine(hashed(5), 5), FakeTokenizer(" ab\\n"))
    [sample] = model.sample("ab", stop=r"a\n", max_tokens=1, seed=1)
    assert r"a stop string has \n as two characters" in sample.note
    assert "add -e" in sample.note


# The shape checker of the tests would refuse these before the package sees them.
NUMPY = """
import numpy as np
from cpm_lm.model import load
model = load(engine="reference")
plain = model.sample("1+1=", n=2, max_tokens=3, seed=7, temperature=0.5, top_k=5)
numpys = model.sample(
    np.array(model.prompt_ids("1+1=")), n=np.int64(2), max_tokens=np.int32(3), seed=np.uint64(7),
    temperature=np.float64(0.5), top_k=np.int8(5), stop=None, memory=np.int64(1 << 30))
assert [s.token_ids for s in plain] == [s.token_ids for s in numpys]
vote = model.vote("1+1=", n=np.int64(20), seed=np.int64(1), stop=None, confidence=np.float32(0.9))
exact = model.vote("1+1=", method="exact", budget=np.int64(200))
assert [t.token_id for t in model.next_tokens("1+1=", np.int64(2), also="2")]
import dataclasses, json
json.dumps([dataclasses.asdict(x) for x in (*numpys, vote, exact)])
"""


@pytest.mark.long
def test_numbers_of_numpy_are_numbers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NUMPY], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_mark_of_the_byte_order_is_no_text(tmp_path: Path) -> None:
    from cpm_lm.generation.answers import read_aliases

    path = tmp_path / "aliases.txt"
    path.write_bytes("\ufeff5\t五\n6\t六\n".encode())
    assert read_aliases(path) == {"5": "5", "五": "5", "6": "6", "六": "6"}
