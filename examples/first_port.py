"""The first TensorFlow port's two functions, on this package's TensorFlow model.

Its notebook sampled with `sample(tokenizer, gpt, '…', 3, 10)` and answered questions with
`ask_gpt(question)`; here each function has at most ten lines. `Model.sample` does the same faster:
it has a KV cache, while this computes the whole text again for every token.

    python examples/first_port.py [MODEL]
"""

import functools
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np

import cpm_lm


def sample(tokenizer, gpt, text, number=1, length=20, top_p=0.9, temperature=0.9, seed=None):
    """Return `number` continuations of `text`, at most `length` tokens each."""
    rng, prompt = np.random.default_rng(seed), tokenizer.encode(text)
    ids = np.tile(prompt, (number, 1))
    for _ in range(length):
        p = np.exp(np.asarray(gpt(ids)[:, -1], np.float64) / temperature)
        ranked = np.sort(p / p.sum(-1, keepdims=True))[:, ::-1]
        crossing = (ranked[:, :-1].cumsum(-1) < top_p).sum(-1)[:, None]  # the nucleus's last token
        p[p / p.sum(-1, keepdims=True) < np.take_along_axis(ranked, crossing, -1)] = 0
        ids = np.column_stack([ids, [rng.choice(len(row), p=row / row.sum()) for row in p]])
    before_end = functools.partial(itertools.takewhile, lambda t: t not in tokenizer.end_ids)
    return [tokenizer.decode(before_end(row)) for row in ids[:, len(prompt) :].tolist()]


@functools.cache
def opened(directory: Path | str = cpm_lm.DEMO) -> tuple[cpm_lm.Tokenizer, Any]:
    """Return a tokenizer and its model, which the notebook had as globals."""
    return cpm_lm.Tokenizer.load(directory), cpm_lm.keras_model(directory)


def ask_gpt(question, number=3, directory=cpm_lm.DEMO):
    """Return the first line of `number` answers to a question."""
    prompt = f"问题：{question}\n答案："
    answers = sample(*opened(directory), prompt, number, length=30, temperature=0.6)
    return [answer.split("\n")[0] for answer in answers]


if __name__ == "__main__":
    directory = sys.argv[1] if len(sys.argv) > 1 else cpm_lm.DEMO
    for continuation in sample(*opened(directory), "今天天气不错", 3, 10):
        print(continuation)
    for answer in ask_gpt("中国的首都是哪里？", directory=directory):
        print(answer)
