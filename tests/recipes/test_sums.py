import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipes.demo import sums
from recipes.demo.settings import Settings

SETTINGS = Settings()
HIDDEN = sums.held_out_pairs(SETTINGS.held_out_sums, SETTINGS.seed)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "零"),
        (7, "七"),
        (10, "十"),
        (11, "十一"),
        (20, "二十"),
        (99, "九十九"),
        (100, "一百"),
        (105, "一百零五"),
        (110, "一百一十"),
        (117, "一百一十七"),
        (198, "一百九十八"),
    ],
)
def test_numbers_in_words(number, text):
    assert sums.words(number) == text


def test_words_are_distinct():
    assert len({sums.words(n) for n in range(200)}) == 200


def test_at_least_a_thousand_pairs_are_held_out_and_none_of_single_digits():
    assert len(HIDDEN) >= 1_000
    assert all(a <= b and b >= 10 for a, b in HIDDEN)


@pytest.mark.parametrize(
    "text",
    [
        "27+36=63",
        "36+27=63",
        "63-27=36",
        "63-36=27",
        "答案是27 + 36。",
        "27加36等于63",
        "二十七加三十六等于六十三",
        "六十三减去二十七",
        "三十六＋二十七",
        "27+36=99",
    ],
)
def test_a_pair_is_found_in_every_form(text):
    assert (27, 36) in sums.mentioned_pairs(text)


def test_every_pair_in_a_chain_of_terms_is_found():
    assert {(1, 2), (2, 3)} <= sums.mentioned_pairs("1+2+3=6")


@pytest.mark.parametrize("text", ["他加入了三十六人", "127+36", "2020-11-14", "一+=+2"])
def test_other_sums_are_not_found(text):
    assert (27, 36) not in sums.mentioned_pairs(text)


@pytest.mark.parametrize("generate", [sums.documents, sums.small_documents])
def test_no_generated_text_holds_a_held_out_pair_in_any_form(generate):
    texts = list(islice(generate(HIDDEN, random.Random(1)), 5_000))
    assert sum(len(sums.mentioned_pairs(text)) for text in texts) > 20_000
    assert not any(sums.mentioned_pairs(text) & HIDDEN for text in texts)


def test_the_check_finds_generated_held_out_pairs():
    texts = islice(sums.documents(frozenset(), random.Random(1)), 500)
    assert any(sums.mentioned_pairs(text) & HIDDEN for text in texts)


@pytest.mark.parametrize("generate", [sums.documents, sums.small_documents])
def test_every_generated_equation_is_true(generate):
    for text in islice(generate(HIDDEN, random.Random(2)), 2_000):
        for equation in text.replace("\n", ",").split(","):
            if "=" in equation:
                left, _, result = equation.partition("=")
                sign = "+" if "+" in left else "-"
                a, b = map(int, left.split(sign))
                assert (a + b if sign == "+" else a - b) == int(result), equation


@given(st.sampled_from(sorted(HIDDEN)), st.sampled_from(",\n"), st.integers(0, 99))
def test_a_question_shows_its_pair_only_in_the_question(pair, between, seed):
    prompt, answer = sums.prompt(pair, "+", between, HIDDEN, random.Random(seed))
    *shots, question = prompt.split(between)
    assert sums.mentioned_pairs(question) == {pair}
    assert len(shots) >= 4
    assert not sums.mentioned_pairs(between.join(shots)) & HIDDEN
    assert answer == str(sum(pair))
