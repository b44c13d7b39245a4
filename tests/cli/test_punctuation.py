"""Punctuation between Chinese characters is shown wide to people, and exact to programs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.cli.punctuation import WidePunctuation, widened, writes_narrow
from cpm_lm.model import DEMO
from cpm_lm.tokenizer import Tokenizer
from tests.support.examples import examples
from tests.support.running import Run, parsed
from tests.support.tiny_bert import write_pieces

POEM: list[str | int] = ["sample", "床前明月光，", "-n", 3, "--max-tokens", 24, "--seed", 2]


@pytest.mark.parametrize(
    ("text", "before", "shown"),
    [
        ("台榭烟霞避暑,松边", "", "台榭烟霞避暑，松边"),
        ("好!?走吧;", "", "好！？走吧；"),
        (",晴", "今天", "，晴"),
        (",", "今天", "，"),
        (",", "1+1=2", ","),
        ("3,4", "1,2,", "3,4"),
        ("在2020年,3月", "", "在2020年,3月"),
        ("中国(北京)人", "", "中国（北京）人"),
        ("北京(Beijing)", "", "北京(Beijing)"),
        ("你好, 世界", "", "你好, 世界"),
        ("问:\n答:", "", "问：\n答："),
        ("他说:“好,走”", "", "他说：“好，走”"),
        ("3.14,圆", "", "3.14,圆"),
        ("好.走", "", "好.走"),
    ],
)
def test_marks_are_wide_between_chinese_characters(text: str, before: str, shown: str) -> None:
    assert widened(text, before) == shown


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.text("中国。，,;!?(a1 \n", max_size=5), max_size=6), st.text("中a,", max_size=2))
def test_a_text_in_parts_is_shown_as_the_whole(parts: list[str], before: str) -> None:
    stream = WidePunctuation(before)
    shown = "".join(map(stream.feed, parts)) + stream.flush()
    whole = "".join(parts)
    assert shown == widened(whole, before)
    assert len(shown) == len(whole)
    narrow = shown.translate(str.maketrans("，；！？（）：", ",;!?():"))
    assert narrow == whole.translate(str.maketrans("，", ","))


def test_a_poem_is_printed_wide_and_given_exactly(run: Run) -> None:
    exact = [s["text"] for s in parsed(run(*POEM, "--json"))["samples"]]
    assert exact[1].endswith("管弦唱,")
    shown = run(*POEM).stdout
    assert shown == "".join(f"[{i + 1}] {widened(t, '，')}\n" for i, t in enumerate(exact))
    assert "管弦唱，" in shown
    assert run(*POEM, "--raw").stdout == "".join(f"[{i + 1}] {t}\n" for i, t in enumerate(exact))


def test_next_and_vote_show_it_wide_as_well(run: Run) -> None:
    words: list[str | int] = ["next", "今天天气很好", "--also", "，我"]
    names, raw = (
        [line.split()[0] for line in run(*words, "-k", 5, *more).stdout.splitlines()]
        for more in ([], ["--raw"])
    )
    assert {"，", "，我"} <= {*names}
    assert {",", ",我"} <= {*raw}
    exact = parsed(run(*words, "-k", 5, "--json"))["next"]
    assert [item["text"] for item in exact] == raw
    words = ["vote", "床前明月光，", "-n", 4, "--seed", 2, "--max-tokens", 24, "--whole-line"]
    words += ["--answer", ".{5}[,，].{2}"]
    answers = [row["answer"] for row in parsed(run(*words, "--json"))["tally"]]
    assert any("," in answer for answer in answers)
    wide, narrow = run(*words).stdout, run(*words, "--raw").stdout
    for answer in answers:
        assert widened(answer) in wide
        assert answer in narrow


def test_a_prompt_with_narrow_marks_keeps_them() -> None:
    tokenizer = Tokenizer.load(DEMO)
    assert writes_narrow(tokenizer, "床前明月光，")
    assert not writes_narrow(tokenizer, "天对地,雨对风,")
    assert writes_narrow(tokenizer, "1+1=2,1+2=")  # none between Chinese characters


def test_a_vocabulary_with_both_is_shown_as_it_is(tmp_path: Path) -> None:
    assert not writes_narrow(Tokenizer.load(write_pieces(tmp_path), text_style="uer"), "今天，")
