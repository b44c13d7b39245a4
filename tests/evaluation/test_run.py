"""Tasks run on a fake model whose answers are known, and what is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cpm_lm.errors import ConfigError, RequestError
from cpm_lm.evaluation.result import Result, compared
from cpm_lm.evaluation.run import BATCH, evaluate
from cpm_lm.model import Model
from tests.support.fakes import FakeEngine, FakeTokenizer

LETTERS = "\0问答天地人好坏一二三，\n0123456789+="
TASK = """
name = "mine"
version = 3
title = "mine"
kind = "choice"
normalization = "sum"
cut = "text"
group = "kind"

[data]
test = "test.jsonl"
train = "train.jsonl"

[template]
prompt = "问{text}答"
continuation = "{label}"

[candidates]
field = "choices"
answer = "answer"

[protocols.all]

[protocols.two]
sampled = 2
"""


def likes(favorite: str, n_positions: int = 40) -> Model:
    """A model that gives one character half of the mass, whatever stands before it."""
    size = len(LETTERS)
    masses = [0.5 if c == favorite else 0.5 / (size - 1) for c in LETTERS]
    logits = [math.log(mass) for mass in masses]
    return Model(FakeEngine(lambda path: logits, size, n_positions), FakeTokenizer(LETTERS))


def items(count: int = 20, **more: Any) -> list[dict[str, Any]]:
    """Items whose right answer is 好 for every even number."""
    return [
        {"text": "天地人"[i % 3], "choices": ["好", "坏"], "answer": i % 2, "kind": "ab"[i % 2]}
        | more
        for i in range(count)
    ]


def written(folder: Path, test: Sequence[Any], task: str = TASK) -> Path:
    (folder / "mine.toml").write_text(task, "utf-8")
    for name in ("test.jsonl", "train.jsonl"):
        lines = [x if isinstance(x, str) else json.dumps(x) for x in test]
        (folder / name).write_text("\n".join(lines), "utf-8")
    return folder / "mine.toml"


def run(folder: Path, model: Model, **options: Any) -> Result:
    return evaluate(model, folder / "mine.toml", folder, **options)


def test_the_result_says_everything_that_was_measured(tmp_path: Path) -> None:
    written(tmp_path, items(21))
    found = run(tmp_path, likes("好"), seed=4)
    assert (found.items, found.value, found.chance) == (21, 11 / 21, 0.5)
    p = 11 / 21
    assert found.standard_error == pytest.approx(math.sqrt(p * (1 - p) / 20))
    assert found.groups == {"a": 1.0, "b": 0.0}
    assert found.macro == 0.5
    assert set(found.values) == {"sum", "per_token", "per_character", "per_byte", "pmi"}
    assert (found.task, found.version, found.protocol, found.seed) == ("mine", 3, "all", 4)
    assert [outcome.answer for outcome in found.outcomes] == ["好"] * 21
    assert found.cut == 0


def test_equal_seeds_give_equal_results(tmp_path: Path) -> None:
    more = {"choices": ["一", "二", "三", "好"], "answer": 0}
    written(tmp_path, items(30, **more))
    first = run(tmp_path, likes("好"), protocol="two", seed=1)
    assert first == run(tmp_path, likes("好"), protocol="two", seed=1)
    other = run(tmp_path, likes("好"), protocol="two", seed=2)
    assert [o.answer for o in first.outcomes] != [o.answer for o in other.outcomes]
    # 好 is the other candidate in about a third of the items, and then it is taken.
    assert 0 < first.value < 1
    assert first.chance == 0.5


def test_shots_stand_before_every_item(tmp_path: Path) -> None:
    seen: list[str] = []

    class Listening(FakeTokenizer):
        def encode(self, text: str) -> list[int]:
            seen.append(text)
            return super().encode(text)

    written(tmp_path, items(6))
    model = likes("好")
    model.tokenizer = Listening(LETTERS)
    run(tmp_path, model, shots=2, seed=0)
    headers = {text[: text.rindex("问")] for text in seen if text.count("问") == 3}
    assert len(headers) == 1
    header = headers.pop()
    assert header.count("问") == header.count("答") == 2
    assert header.count("好") + header.count("坏") == 2


def test_long_texts_are_shortened_and_counted(tmp_path: Path) -> None:
    written(tmp_path, [*items(3), *items(2, text="天" * 60)])
    found = run(tmp_path, likes("好"))
    assert found.cut == 2
    task = TASK.replace('cut = "text"\n', "")
    written(tmp_path, items(2, text="天" * 60), task)
    with pytest.raises(ConfigError, match=r"test.jsonl:1 does not fit .* names no field to cut"):
        run(tmp_path, likes("好"))


def test_an_interrupted_run_is_continued(tmp_path: Path) -> None:
    written(tmp_path, items(3 * BATCH))
    whole, state = run(tmp_path, likes("好")), tmp_path / "state"
    calls: list[int] = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if done == 2 * BATCH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, likes("好"), state=state, progress=stop)
    with state.open("a") as file:
        file.write('{"outcomes": [{"val')  # as a kill leaves it
    calls.clear()
    found = run(tmp_path, likes("好"), state=state, progress=lambda done, _: calls.append(done))
    assert calls == [3 * BATCH]
    assert found == whole
    assert run(tmp_path, likes("好"), state=state, progress=_interrupt) == whole


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    written(tmp_path, items(BATCH))
    state = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, likes("好"), state=state, progress=_interrupt)
    before = state.read_bytes()
    with pytest.raises(ConfigError, match="another run \\(seed differs\\)"):
        run(tmp_path, likes("好"), state=state, seed=1)
    assert state.read_bytes() == before
    state.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        run(tmp_path, likes("好"), state=state)


def _interrupt(done: int, total: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "has no items"),
        (["", "\n"], "has no items"),
        ([{"text": "天"}], r"test.jsonl:1 has no field 'choices'"),
        ([*items(1), {"choices": ["好", "坏"], "answer": 0, "kind": ""}], ":2 has no field 'text'"),
        ([*items(1), "{"], ":2 is not JSON"),
        ([*items(1), "[1]"], ":2 is list; expected a JSON object"),
        (items(1, answer=2), "answer is 2, which is none of the labels 好, 坏"),
        (items(1, answer="中"), "none of the labels"),
        (items(1, choices=["好", ""]), "empty candidate"),
        (items(1, choices=[]), "none of the labels"),
        (items(1, choices=["好"]), "at least two that differ"),
        (items(1, choices=["好", "好"]), "at least two that differ"),
        (items(1, choices=["好", None]), "choices holds None"),
        (items(1, text=None), "text holds None"),
        (items(1, text={"a": 1}), "text holds {'a': 1}"),
        (items(1, text="\ud800"), "half a character"),
        (items(1, answer=True), "answer is True"),
        (['{"text": NaN}'], "NaN is no number of JSON"),
        (items(1, choices="好"), "choices is '好'; expected a list"),
    ],
)
def test_bad_data_is_named(tmp_path: Path, lines: list[Any], said: str) -> None:
    written(tmp_path, lines)
    with pytest.raises(ConfigError, match=said):
        run(tmp_path, likes("好"))


def test_limited_items_are_drawn_from_the_whole_file(tmp_path: Path) -> None:
    """Many files are sorted by their answers: the first items would all have one."""
    written(tmp_path, [*items(50, answer=0), *items(50, answer=1)])
    whole = run(tmp_path, likes("好"))
    found = run(tmp_path, likes("好"), limit=40, seed=3)
    assert found.items == 40
    assert 10 < sum(outcome.values["sum"] for outcome in found.outcomes) < 30
    assert found == run(tmp_path, likes("好"), limit=40, seed=3)
    assert found != run(tmp_path, likes("好"), limit=40, seed=4)
    assert run(tmp_path, likes("好"), limit=200) == whole


def test_a_state_that_another_run_writes_is_refused(tmp_path: Path) -> None:
    """Two runs that wrote one file mixed their lines."""
    pytest.importorskip("fcntl")
    written(tmp_path, items(2 * BATCH))
    state = tmp_path / "state"
    refused: list[int] = []

    def second(done: int, total: int) -> None:
        if not refused:
            with pytest.raises(ConfigError, match="being written by another run"):
                run(tmp_path, likes("好"), state=state)
            refused.append(done)

    assert run(tmp_path, likes("好"), state=state, progress=second).items == 2 * BATCH
    assert refused == [BATCH]


def test_a_run_that_fails_at_once_leaves_no_state(tmp_path: Path) -> None:
    written(tmp_path, items(1, text=None))
    with pytest.raises(ConfigError, match="holds None"):
        run(tmp_path, likes("好"), state=tmp_path / "state")
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("answer", "right"), [("B", 1), ("坏", 1), (0, 0), ("A", 0), ("C", None), (2, None)]
)
def test_candidates_in_fields(tmp_path: Path, answer: object, right: int | None) -> None:
    """An answer that was none of them ended in a traceback."""
    task = TASK.replace('field = "choices"', 'fields = ["A", "B"]')
    written(tmp_path, items(1, A="好", B="坏", answer=answer), task)
    if right is None:
        with pytest.raises(ConfigError, match="none of the labels"):
            run(tmp_path, likes("好"))
    else:
        assert run(tmp_path, likes("好")).value == 1 - right


@pytest.mark.parametrize(
    "options",
    [
        {"seed": -1},
        {"protocol": "three"},
        {"shots": -1},
        {"shots": 99},
        {"limit": 0},
        {"boundary": "both"},
    ],
)
def test_bad_options(tmp_path: Path, options: dict[str, Any]) -> None:
    written(tmp_path, items(4))
    with pytest.raises((ConfigError, RequestError)):
        run(tmp_path, likes("好"), **options)


def test_candidates_of_which_one_begins_another(tmp_path: Path) -> None:
    """Each is scored by itself: the sum favors the shorter, the mean need not."""
    written(tmp_path, items(2, choices=["天", "天好好"], answer=1))
    found = run(tmp_path, likes("好"))
    assert found.values["sum"] == 0
    assert found.values["per_token"] == 1


def test_a_tie_counts_as_chance(tmp_path: Path) -> None:
    """At the start of a text pmi is 0 for all; the first candidate was taken, and always right."""
    task = TASK.replace('prompt = "问{text}答"', 'prompt = ""')
    task = task.replace('field = "choices"\nanswer = "answer"', 'fields = ["good", "bad"]')
    written(tmp_path, items(6, good="好", bad="坏"), task)
    found = run(tmp_path, likes("好"))
    assert (found.values["sum"], found.values["pmi"], found.chance) == (1.0, 0.5, 0.5)
    assert run(tmp_path, likes("天")).value == 0.5


def test_two_models_are_compared_item_by_item(tmp_path: Path) -> None:
    written(tmp_path, items(20))
    good, bad = run(tmp_path, likes("好")), run(tmp_path, likes("坏"))
    found = compared(good, bad)
    assert found.difference == bad.value - good.value == 0
    assert found.p_value == 1.0
    assert found.low < 0 < found.high
    other = run(tmp_path, likes("坏"), seed=1)
    with pytest.raises(ConfigError, match="seed is 0 and 1"):
        compared(good, other)


SUMS = """
name = "sums"
version = 1
title = "sums"
kind = "generate"
metric = "exact_match"
answers = "answer"
extract = "number"
max_tokens = 4

[data]
test = "x"
train = "y"
format = "sums"

[template]
prompt = "{a}+{b}="
continuation = "{label}"

[protocols.greedy]
[protocols.vote]
method = "sample"
n = 5
[protocols.exact]
method = "exact"
"""


@pytest.mark.parametrize("protocol", ["greedy", "vote", "exact"])
def test_generated_answers_are_extracted_and_compared(tmp_path: Path, protocol: str) -> None:
    (tmp_path / "mine.toml").write_text(SUMS, "utf-8")
    model = likes("\n")
    engine = model.engine
    assert isinstance(engine, FakeEngine)
    plain = engine.next_logits

    def calculating(path: tuple[int, ...]) -> Sequence[float]:
        """The right sum up to 99, digit by digit, then a newline."""
        text = FakeTokenizer(LETTERS).decode(path).rpartition("\n")[2]
        question, equals, answer = text.partition("=")
        if not equals:
            return plain(path)
        a, b = map(int, question.split("+"))
        wanted = (str(a + b) if a + b < 100 else "7") + "\n"
        token = LETTERS.index(wanted[len(answer)] if len(answer) < len(wanted) else "\n")
        return [0.0 if i == token else -50.0 for i in range(len(LETTERS))]

    engine.next_logits = calculating
    found = evaluate(model, tmp_path / "mine.toml", protocol=protocol, shots=1, limit=12)
    right = [outcome.values["exact_match"] for outcome in found.outcomes]
    assert 0 < sum(right) < len(right)
    for outcome, value in zip(found.outcomes, right, strict=True):
        assert (outcome.answer != "7") == bool(value)
    assert found.chance is None
