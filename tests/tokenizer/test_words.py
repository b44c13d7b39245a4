"""The words are those of jieba itself, on texts of every kind."""

from __future__ import annotations

import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpm_lm.tokenizer.words import words
from cpm_lm.tokenizer.words_cache import word_table
from cpm_lm.tokenizer.words_hmm import split_run
from cpm_lm.tokenizer.words_source import WordSource
from cpm_lm.tokenizer.words_table import BEGINNING
from tests.support.examples import examples
from tests.support.jieba_itself import jieba_itself


@cache
def dictionary() -> list[str]:
    return sorted(jieba_itself().FREQ)


# Words and beginnings of words side by side compete for characters; a Han character out of the
# whole block is mostly unknown to the dictionary and to the hidden Markov model; the rest is what
# the regular expressions treat apart.
HAN = st.characters(min_codepoint=0x4E00, max_codepoint=0x9FD8)
ENTRIES = st.deferred(lambda: st.sampled_from(dictionary()))
SEEN = st.sampled_from("的一是了我不人在他有这上们来到时大地为子中你说生国年着就那和要她出也得里")
EDGES = st.sampled_from(["\r\n", *"\n\r\x1c\x85\u2028 \u3000，éＡ😀鿖", "\ud800"])
LATIN = st.text("aZ09.%+#&_-٣", max_size=6)
TEXTS = st.lists(st.one_of(ENTRIES, SEEN, SEEN, HAN, LATIN, EDGES), max_size=24).map("".join)


@settings(max_examples=examples(400))
@given(text=TEXTS)
def test_words_are_those_of_jieba(text: str) -> None:
    assert list(words(text)) == list(jieba_itself().cut(text, HMM=True))


@settings(max_examples=examples(200))
@given(run=st.text(st.one_of(SEEN, HAN, st.sampled_from("aB0.5%-+")), min_size=1, max_size=20))
def test_words_outside_the_dictionary_are_those_of_finalseg(run: str) -> None:
    finalseg = sys.modules[type(jieba_itself()).__module__].finalseg
    assert list(split_run(word_table(), run)) == list(finalseg.cut(run))


@pytest.mark.parametrize(
    "text",
    [
        "".join(chr(code) for code in range(0x4E00, 0x9FD6)),  # one block: every state is unlikely
        "鿕鿔" * 300,  # the model knows none: every sum is equal
        "".join(chr(code) for code in range(0x3000)),
        "他来到了网易杭研大厦。AT&T的B超和T恤，卡拉OK，C++、.NET与3.14%",
        "1.2.3%a.b%c_d-e",
        "",
    ],
)
def test_words_of_extreme_texts_are_those_of_jieba(text: str) -> None:
    assert list(words(text)) == list(jieba_itself().cut(text, HMM=True))


def test_the_dictionary_is_that_of_jieba() -> None:
    """Also of what begins words only, which decides where a search ends."""
    ours = WordSource().read().log_probabilities
    theirs = jieba_itself().FREQ
    assert ours.keys() == theirs.keys()
    beginnings = {word for word, value in ours.items() if value == BEGINNING}
    assert beginnings == {word for word, frequency in theirs.items() if not frequency}


@pytest.mark.data
def test_words_of_the_corpora_are_those_of_jieba(shared_data: Path) -> None:
    """Some lines of each kind of text; all files were compared once (docs/log.md)."""
    draw = random.Random(2)
    kinds = sorted(path for path in (shared_data / "corpus").iterdir() if path.is_dir())
    assert len(kinds) > 10
    for kind in kinds:
        files = [path for path in sorted(kind.rglob("*.*")) if path.is_file()]
        for path in draw.sample(files, min(2, len(files))):
            text = path.read_text(encoding="utf-8")
            start = draw.randrange(max(1, len(text) - 6000))
            part = text[start : start + 6000]
            assert list(words(part)) == list(jieba_itself().cut(part, HMM=True)), path


@pytest.mark.slow
@pytest.mark.data
def test_words_of_all_corpora_are_those_of_jieba(shared_data: Path) -> None:
    for path in sorted((shared_data / "corpus").rglob("*.*")):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert list(words(text)) == list(jieba_itself().cut(text, HMM=True)), path


def test_prepared_words_need_no_jieba() -> None:
    """jieba was imported, and its dictionary read, in every run: 0.6 s of a run of one second."""
    list(words("今天"))  # prepares them
    code = (
        "import sys; import cpm_lm.tokenizer.words_cache as c; c._open().log_probabilities('今天');"
        "sys.exit('jieba' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
