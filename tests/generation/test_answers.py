from __future__ import annotations

from decimal import Context, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.errors import RequestError
from cpm_lm.generation.answers import Answers, normalized, read_aliases


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (" 5 ", "5"),
        ("５。", "5"),
        ("北京！\n", "北京"),
        ("3.5", "3.5"),
        ("好吗？？", "好吗"),
        ("。", ""),
    ],
)
def test_answers_are_normalized(text: str, plain: str) -> None:
    assert normalized(text) == plain


@pytest.mark.parametrize(
    ("text", "so_far", "at_the_end"),
    [
        ("", None, None),
        ("no", None, None),
        ("5", None, "5"),
        ("5,", None, "5"),
        ("5,1", None, "5"),
        ("5,12", None, "5"),
        ("5,123", None, "5123"),
        ("5,123 ", "5123", "5123"),
        ("5,1234", None, "5"),
        ("5,1 ", "5", "5"),
        ("5.", None, "5"),
        ("5.3", None, "5.3"),
        ("5. ", "5", "5"),
        ("-7 or 8", "-7", "-7"),
        ("约１２个", "12", "12"),
    ],
)
def test_a_number_is_decided_when_no_more_text_can_change_it(
    text: str, so_far: str | None, at_the_end: str | None
) -> None:
    number = Answers(pattern="number")
    assert number.of(text, finished=False) == so_far
    assert number.of(text, finished=True) == at_the_end


@pytest.mark.parametrize("whole", ["12.5,3", "a1b2", "-3.", "+4.4.4", "1 2", "..7..", "9.x"])
def test_an_early_number_equals_that_of_the_whole_text(whole: str) -> None:
    number = Answers(pattern="number")
    for end in range(len(whole) + 1):
        early = number.of(whole[:end], finished=False)
        assert early in (None, number.of(whole, finished=True))


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("1,234", "1234", "1234"),
        ("共1,234,567.80元", "1234567.8", "1234567.8"),
        ("1,2345", "1", "2345"),  # no group of three: a list
        ("1234,567", "1234", "567"),
        ("0,123", "0", "123"),
        ("1,2,3", "1", "3"),
        ("1，234", "1", "234"),  # a list in Chinese has wide commas
        ("１，２３４", "1234", "1234"),
        ("\u22125", "-5", "-5"),
        ("－5", "-5", "-5"),
        ("-1,234", "-1234", "-1234"),
        ("12-5", "12", "5"),
        ("12\u22125=7", "12", "7"),
        (".5", "0.5", "0.5"),
        ("-.5", "-0.5", "-0.5"),
        ("…5", "5", "5"),
        ("No.5", "5", "5"),
        ("3.", "3", "3"),
        ("五", None, None),
    ],
)
def test_numbers_are_read_as_people_write_them(
    text: str, first: str | None, last: str | None
) -> None:
    assert Answers(pattern="number").of(text, finished=True) == first
    assert Answers(pattern="number", match="last").of(text, finished=True) == last


@pytest.mark.parametrize("five", ["5", "+5", "5.0", "05", "5.", "５", "0005.000", "＋5"])
def test_equal_numbers_are_one_answer(five: str) -> None:
    assert Answers(pattern="number").of(five, finished=True) == "5"
    assert Answers(pattern="number", aliases={"5.0": "五"}).of(five, finished=True) == "五"


@given(st.integers(-(10**30), 10**30), st.integers(0, 6), st.booleans())
def test_a_number_is_compared_by_its_value(number: int, places: int, grouped: bool) -> None:
    value = Decimal(number).scaleb(-places, Context(prec=60))
    text = f"{value:,f}" if grouped else f"{value:f}"
    found = Answers(pattern="number").of(text, finished=True)
    assert found is not None
    assert Decimal(found) == value
    assert Answers(pattern="number").of(found, finished=True) == found


@given(st.text("0123456789,，.-−+ a五１２．", max_size=14), st.integers(0, 14), st.booleans())
def test_a_number_decided_early_is_the_one_at_the_end(text: str, cut: int, separate: bool) -> None:
    rule = Answers(pattern="number", commas_separate=separate)
    decided, early = rule.decide(text[:cut], finished=False)
    if decided:
        assert early == rule.of(text, finished=True)


def test_of_several_groups_the_first_that_took_part_is_the_answer() -> None:
    rule = Answers(pattern=r"(\d+)元|(\d+)块|没有(?:(钱)|(人))?|免费")
    found = {
        text: rule.of(text, finished=True)
        for text in ("3元", "4块", "没有钱", "没有人", "没有", "免费")
    }
    assert list(found.values()) == ["3", "4", "钱", "人", None, None]
    assert rule.decide("免费", finished=False) == (True, None)


def test_an_empty_answer_is_none_unless_an_alias_names_it() -> None:
    for pattern, text in ((None, " 。"), ("a*", "b"), ("是(.*)", "是"), (".", "。")):
        assert Answers(pattern=pattern).of(text, finished=True) is None
        assert Answers(pattern=pattern, aliases={"": "none"}).of(text, finished=True) == "none"


def test_numbers_in_words_are_found_by_a_pattern_and_named_by_aliases() -> None:
    rule = Answers(pattern="[0-9]+|[一二三四五]", aliases={"五": "5"})
    assert [rule.of(text, finished=True) for text in ("是五", "５个")] == ["5", "5"]


def test_aliases_count_as_one(tmp_path: Path) -> None:
    path = tmp_path / "aliases.tsv"
    path.write_text("# 城市\n北京\t北平\t京城\n\n上海\t沪\n", encoding="utf-8")
    rule = Answers(aliases=read_aliases(path))
    assert [rule.of(t, finished=True) for t in ("北平。", "沪", "天津")] == ["北京", "上海", "天津"]
    path.write_text("北京\t京\n南京\t京\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"'京' in line 2 .* already counts as '北京'"):
        read_aliases(path)
    path.write_bytes(b"\xff")
    with pytest.raises(RequestError, match="is not UTF-8"):
        read_aliases(path)
