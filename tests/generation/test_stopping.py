from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.errors import RequestError
from cpm_lm.generation.stopping import StopMatcher, normalized_stops
from tests.support.examples import examples


def run(stops: list[str], pieces: list[str]) -> tuple[list[str], bool]:
    matcher = StopMatcher(stops)
    passed = [matcher.feed(piece) for piece in pieces]
    return [*passed, matcher.flush()], matcher.stopped


@pytest.mark.parametrize(
    ("stops", "pieces", "passed", "stopped"),
    [
        ([], ["a", "b"], ["a", "b", ""], False),
        (["b"], ["a", "b", "c"], ["a", "", "", ""], True),
        (["bc"], ["ab", "c"], ["a", "", ""], True),
        (["bc"], ["ab", "d"], ["a", "bd", ""], False),
        (["bc"], ["ab"], ["a", "b"], False),
        (["aab"], ["a", "a", "a", "b"], ["", "", "a", "", ""], True),
        (["bcd", "c"], ["abc", "d"], ["ab", "", ""], True),  # "c" ends first
        (
            ["c", "abc"],
            ["xabc"],
            ["x", ""],
            True,
        ),  # both end at the same place: the longer one is cut off
        (["。", "\n"], ["你好", "。\n"], ["你好", "", ""], True),
    ],
)
def test_stop_strings_worked_out_by_hand(
    stops: list[str], pieces: list[str], passed: list[str], stopped: bool
) -> None:
    assert run(stops, pieces) == (passed, stopped)


words = st.text("ab", min_size=1, max_size=4)


@pytest.mark.long
@given(st.lists(words, max_size=3), st.text("ab", max_size=14), st.data())
@settings(max_examples=examples(400), deadline=None)
def test_the_cut_does_not_depend_on_the_tokens(
    stops: list[str], text: str, data: st.DataObject
) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    parts, stopped = run(stops, pieces)
    # The definition, character by character.
    expected = text
    for end in range(1, len(text) + 1):
        if done := [s for s in stops if text[:end].endswith(s)]:
            expected = text[: end - max(map(len, done))]
            break
    assert "".join(parts) == expected
    assert stopped == (expected != text)


def test_stop_strings_are_normalized_and_unique() -> None:
    normalize = {"，": ",", ",": ",", "b": "b"}.__getitem__
    assert normalized_stops(["，", ",", "b"], normalize) == (",", "b")
    assert normalized_stops("，", normalize) == (",",)


@pytest.mark.parametrize("stop", ["", ["a", ""]])
def test_an_empty_stop_string_is_refused(stop: object) -> None:
    with pytest.raises(RequestError, match="stop string ''"):
        normalized_stops(stop, str)  # type: ignore[arg-type]


def test_a_stop_string_that_cannot_appear_is_refused() -> None:
    with pytest.raises(RequestError, match="can never appear"):
        normalized_stops("\t", str.strip)
