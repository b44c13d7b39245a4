"""Results at Python's prompt and in a notebook: each fits a line, and all text is escaped."""

from __future__ import annotations

import dataclasses
import json
import pickle
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import cpm_lm
from cpm_lm.config import GPTConfig
from cpm_lm.display import (
    SHOWN,
    WIDTH,
    ResultList,
    columns,
    fields_on_a_line,
    html_table,
    on_a_line,
    quoted,
    shortened,
)
from cpm_lm.generation.completion import Sample
from cpm_lm.generation.tally import AnswerShare
from cpm_lm.generation.vote import Vote
from cpm_lm.model import Model, NextToken
from cpm_lm.verification.inspect import inspect
from cpm_lm.verification.verify import Verification, verify

ODD = "今天\n\t\x1b'\"<&>\u0301\u200b\ud800，"
TEXT = st.text(st.one_of(st.characters(), st.sampled_from(ODD)))
NUMBER = st.floats(0, 1) | st.sampled_from([1e-300, 1 / 3])


@pytest.fixture(scope="module")
def model() -> Model:
    return cpm_lm.load(engine="reference")


def is_a_line(text: str) -> bool:
    return columns(text) <= WIDTH and text.isprintable()


def sample(text: str, **fields: Any) -> Sample:
    made: dict[str, Any] = {"token_ids": (1, 2), "logprob": -1e9, "finish_reason": "stop"}
    return Sample(text=text, index=10**6, seed=2**64, rows=1, rows_unmerged=9, **made | fields)


def vote(tally: list[AnswerShare], **fields: Any) -> Vote:
    made: dict[str, Any] = {
        "winner": tally[0].answer if tally else None,
        "tally": tuple(tally),
        "certified": False,
        "cut_off": 0.25,
        "no_answer": 0.0,
        "unexplored": 0.0,
        "reason": "drawn",
        "intervals": "95%",
        "drawn": 300,
        "rows": 9,
        "rows_unmerged": 99,
        "seconds": 1.5,
        "seed": 1,
        "method": "sample",
        "note": "",
    }
    return Vote(**made | fields)


SHARES = st.builds(AnswerShare, answer=TEXT, share=NUMBER, low=st.none() | NUMBER, high=NUMBER)


@given(text=TEXT, shares=st.lists(SHARES, max_size=9), share=NUMBER, name=TEXT)
def test_every_result_fits_a_line(
    text: str, shares: list[AnswerShare], share: float, name: str
) -> None:
    """A vote of 300 answers, or a text with line ends, once filled a screen."""
    one = NextToken(token_id=29999, text=text, probability=share)
    wrong = Verification(path=name, problems=[text, name], layout="store")
    for result in (sample(text * 9), vote(shares), one, wrong, *shares):
        assert is_a_line(repr(result)), repr(result)
    items = ResultList([sample(text * 9), one] * 2)
    assert all(columns(line) <= WIDTH for line in repr(items).split("\n"))
    assert repr(items).count("\n") == 3


@given(text=TEXT, most=st.integers(3, 60))
def test_a_text_is_shortened_to_the_columns_there_are(text: str, most: int) -> None:
    short = shortened(text, most)
    assert columns(short) <= most
    assert (short == text) is (columns(text) <= most)
    assert short == text or (short[-1] == "…" and text.startswith(short[:-1]))
    assert columns(quoted(text, most)) <= most
    assert quoted(text, most).isprintable()


def test_objects_of_the_library_fit_a_line(model: Model, tmp_path: Path) -> None:
    manifest = cpm_lm.convert(cpm_lm.DEMO, tmp_path / "store", weights="q8")
    checked = verify(tmp_path / "store", engine="reference")
    small = GPTConfig(vocab_size=9, n_positions=8, n_embd=4, n_layer=2, n_head=2)
    library = (model, model.engine, model.tokenizer, model.engine.config, small)
    for result in (*library, manifest, checked, inspect(cpm_lm.DEMO)):
        assert is_a_line(repr(result)), repr(result)
    assert repr(model) == (
        "<Model 4.3 M parameters (6 layers of 192), 8,000 tokens, context 512, reference engine>"
    )
    assert repr(checked).startswith("<Verification sound, '")
    assert eval(repr(model.engine.config)) == model.engine.config


def test_a_result_says_what_it_is(model: Model) -> None:
    drawn = model.sample("床前明月光，", n=3, max_tokens=8, seed=2)
    assert repr(drawn[0]).startswith(
        f"<Sample 0 {quoted(drawn[0].text, 55)}, {len(drawn[0].token_ids)}"
    )
    first = model.next_tokens("今天的天空好", 2)[0]
    assert repr(first) == f"<NextToken '蓝', 43%, token_id {first.token_id}>"
    told = repr(vote([AnswerShare(answer="5", share=0.75, count=225, low=0.7, high=0.79)]))
    assert told == "<Vote '5' drawn, 300 texts, 1.5 s, '5' 75.0% (70.0% to 79.0%)>"
    assert repr(vote([])) == "<Vote None drawn, 300 texts, 1.5 s>"


def test_fields_that_do_not_fit_are_left_out() -> None:
    @dataclasses.dataclass
    class Many:
        one: str
        two: tuple[int, ...] = (1, 2)
        three: float = 0.5
        four: str = ""

    assert fields_on_a_line(Many("x")) == "<Many one 'x'>"
    assert fields_on_a_line(Many("x", (1, 2, 3), 1 / 3)) == "<Many one 'x', two (3), three 0.3333>"
    line = on_a_line("Name", ["字" * 30, "字" * 30])
    assert line == f"<Name {'字' * 30}, …>"
    assert columns(on_a_line("Name", ["字" * 300])) <= WIDTH


def test_a_list_of_results_is_a_list(model: Model) -> None:
    """Programs that index, compare, sort or store it must not notice."""
    for found in (model.sample("今天", n=2, seed=1, max_tokens=3), model.next_tokens("今天", 3)):
        plain = list(found)
        assert isinstance(found, list)
        assert found == plain
        assert found[:1] == plain[:1]
        assert json.dumps([vars(x) for x in found]) == json.dumps([vars(x) for x in plain])
        again = pickle.loads(pickle.dumps(found))
        assert again == plain
        assert repr(again) == repr(found)


class Page(HTMLParser):
    """The text and the tags of a page; raises if a tag is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@given(text=TEXT, share=NUMBER)
@example(text="\ud800\n", share=1.0)
def test_all_text_is_escaped_in_a_notebook(text: str, share: float) -> None:
    """The text of a model, or of a prompt, may hold a script."""
    hostile = f"<script>{text}</script>&lt;"
    one = NextToken(token_id=1, text=hostile, probability=share)
    found = vote([AnswerShare(answer=hostile, share=share)], intervals=hostile)
    for page in (
        ResultList([one, sample(hostile)])._repr_html_(),
        found._repr_html_(),
        ResultList([object(), hostile])._repr_html_(),
    ):
        read = Page(page)
        assert set(read.tags) <= {"table", "caption", "tr", "td", "div"}
        assert "<script>" in read.text
        page.encode()  # a lone surrogate has no UTF-8


def test_bars_are_as_long_as_the_shares(model: Model) -> None:
    page = html_table([("a", 0.4, "40%"), ("b", 0.1, "10%"), ("c", 0.0, "0%")])
    assert [part.split("%")[0] for part in page.split("width:")[2::2]] == ["100.0", "25.0", "0.0"]
    long = ResultList(range(SHOWN + 7))
    assert "… 7 more" in long._repr_html_()
    assert "… 7 more" in repr(long)
    assert "(cut off)" in vote([])._repr_html_()
    assert "(no answer)" not in vote([])._repr_html_()
    assert model.next_tokens("今天的天空好", 3)._repr_html_().count("<tr>") == 3  # type: ignore[attr-defined]
