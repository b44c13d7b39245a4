"""The harness calls this model, and a GPT-2 with BERT's vocabulary in its own way as well."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path
from typing import Any

import pytest

import cpm_lm
from cpm_lm.evaluation.run import evaluate
from tests.support.make_pretrained import random_model
from tests.support.tiny_bert import PIECES, write_pieces

pytestmark = [
    pytest.mark.clients,
    pytest.mark.filterwarnings("ignore"),  # of the harness and what it imports
]

ITEMS = [
    {"text": text, "choices": choices, "answer": answer}
    for text, choices, answer in (
        ("今天的天空", ["很蓝", "火箭", "一"], 0),
        ("中国的首都是", ["北京", "东京", "巴黎"], 0),
        ("一加一等于", ["三", "二"], 1),
        ("床前明月", ["光", "暗"], 0),
        ("我们去公园", ["睡", "散步"], 1),
    )
]
OURS = """
name = "mine"
version = 1
title = "mine"
kind = "choice"
normalization = "sum"

[data]
test = "items.jsonl"

[template]
prompt = "{text}"
continuation = "{label}"

[candidates]
field = "choices"
answer = "answer"
"""


@pytest.fixture(scope="module")
def harness() -> Any:
    if importlib.util.find_spec("lm_eval") is None:
        pytest.fail("the tests of clients need lm-eval: make test-clients installs it")
    logging.disable(logging.WARNING)
    from cpm_lm.evaluation import harness

    yield harness
    logging.disable(logging.NOTSET)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task in both forms; the harness's caches go elsewhere, and it fetches nothing."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    lines = "\n".join(json.dumps(item, ensure_ascii=False) for item in ITEMS)
    (tmp_path / "items.jsonl").write_text(lines, "utf-8")
    (tmp_path / "mine.toml").write_text(OURS, "utf-8")
    return tmp_path


def task(folder: Path) -> Any:
    from lm_eval.api.task import ConfigurableTask

    return ConfigurableTask(
        config={
            "task": "mine",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(folder / "items.jsonl")}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "{{text}}",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{answer}}",
            "target_delimiter": "",
            "metric_list": [{"metric": "acc"}],
        }
    )


def measured(folder: Path, model: Any) -> tuple[float, list[list[float]]]:
    """The accuracy, and the log-probabilities of all choices."""
    from lm_eval import evaluator

    found = evaluator.evaluate(
        lm=model, task_dict={"mine": task(folder)}, bootstrap_iters=0, log_samples=True
    )
    samples = sorted(found["samples"]["mine"], key=lambda sample: sample["doc_id"])
    logprobs = [[float(answer[0]) for answer in s["filtered_resps"]] for s in samples]
    return found["results"]["mine"]["acc,none"], logprobs


@pytest.mark.parametrize("boundary", ["apart", "joint"])
def test_the_harness_gets_the_scores_that_cpm_eval_takes(
    harness: Any, folder: Path, boundary: str
) -> None:
    accuracy, logprobs = measured(folder, harness.CpmLM(boundary=boundary, engine="native"))
    with cpm_lm.load(engine="native") as model:
        found = evaluate(model, folder / "mine.toml", folder, boundary=boundary)
        for item, row in zip(ITEMS, logprobs, strict=True):
            scores = model.score(item["text"], item["choices"], boundary=boundary)  # type: ignore
            assert row == pytest.approx([score.logprob for score in scores], abs=1e-9)
    assert accuracy == found.values["sum"]


def gpt2_chinese(directory: Path) -> Path:
    """A random GPT-2 with BERT's vocabulary, as transformers writes it."""
    model = random_model(vocab_size=len(PIECES), n_positions=32)
    write_pieces(directory, tokenizer_class="BertTokenizer", do_lower_case=True, eos_token="[CLS]")
    model.save_pretrained(directory)
    return directory


def test_a_gpt2_chinese_model_scores_as_by_the_harness_itself(harness: Any, folder: Path) -> None:
    """Where nothing stands before a prompt and both encode alike, the scores are equal to 1e-4."""
    from lm_eval.models.huggingface import HFLM

    source, store = gpt2_chinese(folder / "hf"), folder / "store"
    cpm_lm.convert(source, store, text_style="gpt2-chinese")
    accuracy, ours = measured(folder, harness.CpmLM(str(store), boundary="joint"))
    # Otherwise BertTokenizer adds [CLS] and [SEP] to each text, and [SEP] is what is scored.
    theirs = HFLM(pretrained=str(source), device="cpu", batch_size=4, add_bos_token=False)
    accuracy_there, logprobs = measured(folder, theirs)
    assert accuracy == accuracy_there
    for row, other in zip(ours, logprobs, strict=True):
        assert row == pytest.approx(other, abs=1e-4)


class Request:
    """What a task asks, as the harness passes it."""

    def __init__(self, *args: Any) -> None:
        self.args = args


def test_greedy_rolling_and_long_requests(harness: Any) -> None:
    lm = harness.CpmLM(engine="native")
    text = lm.generate_until([Request("1+1=2,1+2=3,1+3=", {"until": [","], "max_gen_toks": 4})])[0]
    assert text == "4"
    pairs = [Request("1+1=2,1+2=3,1+3=", "4"), Request("1+1=2,1+2=3,1+3=", "5")]
    (_, greedy), (_, other) = lm.loglikelihood(pairs)
    assert (greedy, other) == (True, False)
    with cpm_lm.load(engine="native") as model:
        long = "白日依山尽，黄河入海流。" * 80
        (rolled,) = lm.loglikelihood_rolling([Request(long)])
        assert rolled == model.perplexity(long, stride=512).logprob
    ((score, _),) = lm.loglikelihood([Request(long, "欲穷千里目")])
    assert score < 0
    assert lm.shortened == 1


def test_repeats_are_samples_of_one_tree(harness: Any) -> None:
    lm = harness.CpmLM(engine="native")
    options = {"until": ["\n"], "max_gen_toks": 6, "do_sample": True, "temperature": 1.0}
    asked = [Request("今天天气", options), Request("1+1=", options), Request("今天天气", options)]
    first, _, second = lm.generate_until(asked)
    with cpm_lm.load(engine="native") as model:
        samples = model.sample(
            "今天天气", n=2, max_tokens=6, temperature=1, top_p=1, stop="\n", seed=0
        )
    assert [first, second] == [sample.text for sample in samples]


def test_an_option_that_is_not_supported_is_refused(harness: Any) -> None:
    lm = harness.CpmLM(engine="native")
    with pytest.raises(cpm_lm.RequestError, match="num_beams"):
        lm.generate_until([Request("a", {"num_beams": 4, "until": []})])
