from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpm_lm.checkpoints.convert import convert
from cpm_lm.errors import CapacityError, CheckpointError, RequestError, TokenizerError
from cpm_lm.model import Model, Sample, load
from tests.support.fakes import FakeEngine, FakeTokenizer, hashed, log, random_engine

LETTERS = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM"


@pytest.fixture
def model() -> Model:
    return Model(random_engine(len(LETTERS)), FakeTokenizer(" " + LETTERS[1:]))


def same_distribution(*masses: float) -> Model:
    engine = FakeEngine(lambda _: log(*masses), len(masses))
    return Model(engine, FakeTokenizer(LETTERS[: len(masses)]))


def texts(samples: Iterable[Sample]) -> list[tuple[int, ...]]:
    return [s.token_ids for s in samples]


def test_samples_have_all_fields(model: Model) -> None:
    samples = model.sample("abc", n=20, max_tokens=6, seed=5)
    assert [s.index for s in samples] == list(range(20))
    for s in samples:
        assert s.text == model.tokenizer.decode(s.token_ids)
        assert s.finish_reason == ("length" if len(s.token_ids) == 6 else "stop")
        assert s.seed == 5
        assert s.logprob < 0
        assert 3 < s.rows < s.rows_unmerged <= 20 * 8
    assert texts(samples) == texts(model.sample("abc", n=20, max_tokens=6, seed=5))
    assert texts(samples[:3]) != texts(model.sample("abc", n=3, max_tokens=6, seed=6))


def test_a_random_seed_is_reported_and_repeats_the_texts(model: Model) -> None:
    first, second = (model.sample("abc", n=3, max_tokens=8) for _ in range(2))
    assert first[0].seed != second[0].seed
    again = model.sample("abc", n=3, max_tokens=8, seed=first[0].seed)
    assert texts(again) == texts(first)


@pytest.mark.parametrize("stop", [(), "a", ["ab", "cd", "e"], ["abcdefg"]])
@pytest.mark.parametrize("seed", range(8))
def test_a_stream_joined_is_the_sample(model: Model, stop: Any, seed: int) -> None:
    options: dict[str, Any] = {"max_tokens": 20, "stop": stop, "seed": seed, "temperature": 3}
    parts = list(model.stream("abc", **options))
    assert "".join(parts) == model.sample("abc", **options)[0].text
    assert all(parts)


def test_a_stop_string_is_removed_from_the_text_but_not_from_the_ids() -> None:
    # a b c a b c ...
    engine = FakeEngine(lambda path: log(0, *np.eye(3)[path[-1] % 3]), 4)
    model = Model(engine, FakeTokenizer(" abc"))
    [s] = model.sample("c", stop="ca", max_tokens=9)
    assert (s.text, s.token_ids, s.finish_reason) == ("ab", (1, 2, 3, 1), "stop")
    assert list(model.stream("c", stop="ca", max_tokens=9)) == ["a", "b"]
    # The last c may be the beginning of a stop string; at the limit it becomes text.
    [s] = model.sample("c", stop="ca", max_tokens=3)
    assert (s.text, s.finish_reason) == ("abc", "length")
    assert list(model.stream("c", stop="ca", max_tokens=3)) == ["a", "b", "c"]


def test_a_stream_is_lazy_and_can_be_closed() -> None:
    engine = FakeEngine(hashed(20), 20)
    model = Model(engine, FakeTokenizer(LETTERS[:20]))
    stream = model.stream("abc", max_tokens=50, seed=1)
    assert next(stream)
    [session] = engine.sessions
    assert session.rows == 3
    assert session.live == 3
    stream.close()  # type: ignore[attr-defined]
    assert session.live == 0
    model.sample("abc")
    assert engine.sessions == [session], "an empty session is used again"


def test_calls_may_overlap(model: Model) -> None:
    alone = model.sample("abc", n=2, seed=3, max_tokens=12)
    stream = model.stream("abc", seed=3, max_tokens=12)
    first = next(stream)
    assert texts(model.sample("abc", n=2, seed=3, max_tokens=12)) == texts(alone)
    assert first + "".join(stream) == alone[0].text
    results: list[Any] = [None] * 4

    def work(i: int) -> None:
        results[i] = model.sample("abc", n=2, seed=3, max_tokens=12)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts(result) for result in results] == [texts(alone)] * 4


def test_next_tokens_are_the_most_probable_with_exact_probabilities() -> None:
    model = same_distribution(0.1, 0.3, 0.1, 0.5)
    found = [(t.token_id, t.text) for t in model.next_tokens("a", 3)]
    assert found == [(3, "c"), (1, "a"), (0, " ")]
    np.testing.assert_allclose(
        [t.probability for t in model.next_tokens("a", 4)], [0.5, 0.3, 0.1, 0.1], rtol=1e-6
    )
    for k in (0, 5):
        with pytest.raises(RequestError, match=f"k is {k}; expected an integer from 1 to 4"):
            model.next_tokens("a", k)


def test_requested_pieces_are_listed_too() -> None:
    model = same_distribution(0.1, 0.3, 0.1, 0.5)
    found = model.next_tokens("a", 1, also=["b", "c"])
    assert [(t.token_id, t.text) for t in found] == [(3, "c"), (2, "b")]
    for bad in ("", "ab"):
        with pytest.raises(RequestError, match="is not a single token; next_characters"):
            model.next_tokens("a", 1, also=[bad])


@pytest.mark.parametrize("stop", [(), ["ab", "e"]])
def test_on_text_gets_the_parts_of_every_text(model: Model, stop: Any) -> None:
    reported: list[tuple[int, str, bool]] = []

    def on_text(i: int, part: str, last: bool) -> None:
        reported.append((i, part, last))

    samples = model.sample("abc", n=9, max_tokens=7, stop=stop, seed=1, on_text=on_text)
    for s in samples:
        parts = [(part, last) for i, part, last in reported if i == s.index]
        assert "".join(part for part, _ in parts) == s.text
        assert [last for _, last in parts] == [False] * (len(parts) - 1) + [True]
        assert all(part for part, last in parts if not last)
    assert len(reported) > 18  # in parts, not only at the end


def test_an_error_in_on_text_is_raised_and_all_nodes_are_released() -> None:
    engine = FakeEngine(hashed(20), 20)

    def on_text(i: int, part: str, last: bool) -> None:
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        Model(engine, FakeTokenizer(LETTERS[:20])).sample("abc", n=4, on_text=on_text)
    assert engine.sessions[0].live == 0


def test_a_prompt_may_be_token_ids_and_gets_the_prefix_otherwise(model: Model) -> None:
    by_text = model.sample("abc", seed=1)
    assert model.sample([1, 2, 3], seed=1)[0].text == by_text[0].text
    model.tokenizer.prefix_ids = (3, 3)
    assert model.prompt_ids("abc") == [3, 3, 1, 2, 3]
    assert model.prompt_ids([1, 2]) == [1, 2]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "the prompt is empty"),
        ("???", r"the prompt is empty: '\?\?\?' has no tokens"),
        ([], "the prompt is empty"),
        ([1, 40], "token id 40 in the prompt; expected 0 to 39"),
        ([-1], "token id -1"),
        ("a" * 32, "has 32 tokens; the model's context of 32 leaves room for at most 31"),
    ],
)
def test_bad_prompts_are_refused(model: Model, prompt: Any, message: str) -> None:
    for call in (model.sample, model.stream, model.next_tokens, model.next_characters):
        with pytest.raises(RequestError, match=message):
            call(prompt)


@pytest.mark.parametrize(
    "options",
    [
        {"n": 0},
        {"n": 10**9},
        {"max_tokens": 0},
        {"temperature": -1},
        {"top_p": 0},
        {"top_p": 2},
        {"top_k": -1},
        {"stop": ""},
        {"stop": ["a", ""]},
        {"stop": "?"},
        {"seed": -1},
        {"seed": 2**64},
        {"filter_order": "other"},
        {"overflow": "other"},
        {"memory": 0},
    ],
)
def test_bad_options_are_refused_before_anything_is_computed(options: dict[str, Any]) -> None:
    engine = FakeEngine(hashed(20), 20)
    model = Model(engine, FakeTokenizer(LETTERS[:20]))
    for call in (model.sample, model.stream):
        with pytest.raises(RequestError):
            call("abc", **options)
    assert not engine.sessions


def test_an_infinite_temperature_is_called_not_finite(model: Model) -> None:
    with pytest.raises(RequestError, match="temperature is inf; expected a finite number"):
        model.sample("abc", temperature=float("inf"))


def test_a_stream_is_one_continuation(model: Model) -> None:
    with pytest.raises(RequestError, match="n is 2; a stream has one"):
        model.stream("abc", n=2)


def test_the_longest_prompt_leaves_room_for_two_tokens(model: Model) -> None:
    # One after the prompt, and one in the last position.
    model.tokenizer.end_ids = frozenset()
    [s] = model.sample("a" * 31, seed=1)
    assert (len(s.token_ids), s.finish_reason) == (2, "length")
    [s] = model.sample("a" * 31, seed=1, overflow="slide")
    assert (len(s.token_ids), s.finish_reason) == (64, "length")


@pytest.mark.long
def test_a_memory_limit_changes_no_text(model: Model) -> None:
    node = model.engine.config.node_bytes
    options: dict[str, Any] = {"n": 30, "max_tokens": 8, "seed": 2}
    wide = model.sample("abc", **options)
    narrow = model.sample("abc", memory=10 * node, **options)
    assert [s.token_ids for s in narrow] == [s.token_ids for s in wide]
    assert narrow[0].rows == wide[0].rows
    with pytest.raises(CapacityError, match=f"needs {10 * node} bytes for 10"):
        model.sample("abc", memory=10 * node - 1, **options)


def test_a_vocabulary_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(TokenizerError, match="39 pieces and the model's embedding 40 rows"):
        Model(random_engine(40), FakeTokenizer(LETTERS[:39]))


def test_a_store_without_tokenizer_is_refused_with_advice(
    checkpoints: Path, tmp_path: Path
) -> None:
    convert(checkpoints / "tiny-mp1", tmp_path / "store", heads=4)
    with pytest.raises(TokenizerError, match=r"store holds a model without .*--tokenizer"):
        load(tmp_path / "store", engine="reference")


def test_a_package_without_model_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cpm_lm.model.DEMO", tmp_path / "demo")
    with pytest.raises(CheckpointError, match="carries no model of its own"):
        load()


def test_an_interrupt_releases_all_nodes() -> None:
    engine = FakeEngine(hashed(20), 20)
    model = Model(engine, FakeTokenizer(LETTERS[:20]))

    def interrupted(path: tuple[int, ...]) -> Any:
        if len(path) == 6:
            raise KeyboardInterrupt
        return hashed(20)(path)

    engine.next_logits = interrupted
    with pytest.raises(KeyboardInterrupt):
        model.sample("abc", n=4)
    assert engine.sessions[0].live == 0
