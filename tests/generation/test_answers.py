from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpm_lm.errors import RequestError
from cpm_lm.generation.answers import Answers, normalized, read_aliases
from cpm_lm.generation.tally import posterior_lead, tally, wilson


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
        ("5,", "5", "5"),
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


PATTERNS = (
    r"是(.+)的",
    r"^.",
    r"a.*b|a",
    r"(\d+)x|(\d)",
    r"[^,]*",
    r"5$",
    r"5(?!00)",
    r"(?<=a)\d",
    r"\d+\b",
    r"(红|蓝色|蓝)",
    r"(?i)A?b{2,3}",
    r"(a)|(?:5|50)0?",
    r"x*",
)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(
    text=st.text("ab50x,蓝色红是的 \n", max_size=8), more=st.text("ab50x,蓝色红是的 \n", max_size=5)
)
def test_an_early_answer_equals_that_of_the_whole_text(pattern: str, text: str, more: str) -> None:
    rule = Answers(pattern=pattern)
    early = rule.of(text, finished=False)
    assert early in (None, rule.of(text + more, finished=True))


@pytest.mark.parametrize(
    ("pattern", "text", "so_far"),
    [
        (r"是(.+)的", "是红的,是蓝的", None),  # the dot may match more text
        (r"是([^,]+),", "是红的,是", "红的"),
        (r"^.", "蓝", "蓝"),
        (r"红|蓝色|蓝", "蓝", None),
        (r"红|蓝色|蓝", "蓝天", "蓝"),
        (r"5$", "5\n", None),
    ],
)
def test_a_match_is_decided_when_no_more_text_can_change_it(
    pattern: str, text: str, so_far: str | None
) -> None:
    assert Answers(pattern=pattern).of(text, finished=False) == so_far


@pytest.mark.parametrize("pattern", ["(", "[", "*a", "(?P<x>a)(?P<x>b)"])
def test_a_pattern_that_does_not_compile_is_refused(pattern: str) -> None:
    with pytest.raises(RequestError, match="does not compile"):
        Answers(pattern=pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$",
        r"(a|a)*$",
        r"(a|aa)+$",
        r"(.*)*x",
        r"(?:a{1,50}){1,50}b",
        r"a*a*a*a*a*b",
        r"(a?){60}a{60}",
        r"(?=(a+)+b)c",
        r"(a{1,9}){1,9}b",
        "a?" * 60 + "a" * 60,
        "(ab|a)" * 60,
    ],
)
def test_a_pattern_with_catastrophic_backtracking_is_refused(pattern: str) -> None:
    with pytest.raises(RequestError, match="could take very long"):
        Answers(pattern=pattern)


@pytest.mark.parametrize(
    "pattern",
    [r"\d+", r"(\w+)\s*=\s*", r"答案是?(.{1,9})", r"a*a*a*x", "a|b", r"(ab)+", r"-?\d+(\.\d+)?"],
)
def test_simple_patterns_are_fast_on_long_texts(pattern: str) -> None:
    rule = Answers(pattern=pattern)
    start = time.process_time()
    rule.of("a" * 100_000, finished=True)
    assert time.process_time() - start < 5


def test_aliases_count_as_one(tmp_path: Path) -> None:
    path = tmp_path / "aliases.tsv"
    path.write_text("# 城市\n北京\t北平\t京城\n\n上海\t沪\n", encoding="utf-8")
    rule = Answers(aliases=read_aliases(path))
    assert [rule.of(t, finished=True) for t in ("北平。", "沪", "天津")] == ["北京", "上海", "天津"]
    path.write_text("北京\t京\n南京\t京\n", encoding="utf-8")
    with pytest.raises(RequestError, match=r"'京' in line 2 .* already counts as '北京'"):
        read_aliases(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="cannot be read"):
        read_aliases(path)


def test_a_tally_is_sorted_by_count_then_by_first_sample() -> None:
    found = tally(["b", "a", None, "a", "b", "c"], independent=False)
    assert [(t.answer, t.count, t.low) for t in found] == [
        ("b", 2, None),
        ("a", 2, None),
        ("c", 1, None),
    ]
    assert [t.share for t in found] == [2 / 6, 2 / 6, 1 / 6]
    assert tally([None, None], independent=True) == []
    [only] = tally(["x"] * 10, independent=True)
    assert (only.low, only.high) == wilson(10, 10)


@pytest.mark.parametrize(
    ("count", "n", "low", "high"),
    [(5, 10, 0.2366, 0.7634), (0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_equals_published_intervals(count: int, n: int, low: float, high: float) -> None:
    assert wilson(count, n) == pytest.approx((low, high), abs=5e-5)


def test_the_posterior_lead_equals_the_beta_tail() -> None:
    assert posterior_lead(0, 0) == 0.5
    assert posterior_lead(7, 7) == 0.5
    assert posterior_lead(1, 0) == 0.75  # the integral of 2x from 1/2 to 1
    assert posterior_lead(3, 0) == 1 - 1 / 16
    assert posterior_lead(2, 9) == pytest.approx(1 - posterior_lead(9, 2))
    steps = 20_000  # of the midpoint rule
    xs = [(i + 0.5) / steps for i in range(steps)]
    beta = [x**6 * (1 - x) ** 4 for x in xs]
    assert posterior_lead(6, 4) == pytest.approx(sum(beta[steps // 2 :]) / sum(beta), abs=1e-6)
