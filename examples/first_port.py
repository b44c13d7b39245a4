"""The first TensorFlow port's two functions, on this package's TensorFlow model.

Its notebook drew with `sample(tokenizer, gpt, '…', 3, 10)` and asked with `ask_gpt(question)`;
here the same calls need ten lines each. `Model.sample` does the same faster: it keeps the keys
and values of what has been read, where this reads the whole text again for every token.

    python examples/first_port.py MODEL
"""

import sys

import numpy as np

import cpm_lm


def sample(tokenizer, gpt, text, number=1, length=20, top_p=0.9, temperature=0.9, seed=None):
    """Return `number` continuations of `text`, at most `length` tokens each."""
    rng = np.random.default_rng(seed)
    ids = np.tile(tokenizer.encode(text), (number, 1))
    for _ in range(length):
        p = np.exp(np.asarray(gpt(ids)[:, -1], np.float64) / temperature)
        ranked = np.sort(p / p.sum(-1, keepdims=True))[:, ::-1]
        edge = np.take_along_axis(ranked, (ranked.cumsum(-1) < top_p).sum(-1)[:, None], -1)
        p[p / p.sum(-1, keepdims=True) < edge] = 0
        drawn = [rng.choice(len(row), p=row / row.sum()) for row in p]
        ids = np.concatenate([ids, np.array(drawn)[:, None]], 1)
    new = [row[len(tokenizer.encode(text)) :].tolist() for row in ids]
    ends = [next((i for i, t in enumerate(row) if t in tokenizer.end_ids), length) for row in new]
    return [tokenizer.decode(row[:end]) for row, end in zip(new, ends, strict=True)]


def ask_gpt(tokenizer, gpt, question, number=3):
    """Return the first line of `number` answers to a question."""
    prompt = f"问题：{question}\n答案："
    answers = sample(tokenizer, gpt, prompt, number, length=30, top_p=0.9, temperature=0.6)
    return [answer.split("\n")[0] for answer in answers]


if __name__ == "__main__":
    tokenizer, gpt = cpm_lm.Tokenizer.load(sys.argv[1]), cpm_lm.keras_model(sys.argv[1])
    for continuation in sample(tokenizer, gpt, "今天天气不错", 3, 10):
        print(continuation)
    for answer in ask_gpt(tokenizer, gpt, "中国的首都是哪里？"):
        print(answer)
