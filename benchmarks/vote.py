"""Three hundred short texts of one prompt: merged, unmerged, and by Hugging Face.

    python benchmarks/vote.py                  # the model in the package, on the native engine
    python benchmarks/vote.py --quick          # one round

(a) `Model.vote`, whose texts share whatever they have in common;
(b) the same texts on the same engine, each an algorithm of its own that the scheduler batches with
    the others, but nothing merged;
(c) Hugging Face's `generate(num_return_sequences=n)` with the same weights in float32, the same
    distribution and the same ends.
Turns are interleaved; medians are compared. The texts of (a) and (b) must be the same, but for
one in a hundred: products of other shapes round otherwise, and a random number may lie just there.
The texts of (a) and (c) must be of one distribution (a chi-square test of two samples).
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import cpm_lm
from cpm_lm.decoding.draws import Independent
from cpm_lm.decoding.rules import Rules
from cpm_lm.decoding.sampling import Limits, sample
from cpm_lm.decoding.scheduler import Scheduler
from cpm_lm.model import DEMO, Model

PROMPTS = {
    "sums": "23+45=68\n7+36=43\n52+19=71\n64+8=72\n30+41=71\n15+15=30\n81+16=97\n9+48=57\n26+37=",
    "facts": "中国的首都是北京\n日本的首都是东京\n法国的首都是巴黎\n埃及的首都是开罗\n"
    "英国的首都是伦敦\n俄罗斯的首都是莫斯科\n泰国的首都是曼谷\n意大利的首都是",
    "poem": "静夜思\n李白\n床前明月光，疑是地上霜。举头望明月，低头思故乡。\n春晓\n孟浩然\n"
    "春眠不觉晓，处处闻啼鸟。夜来风雨声，花落知多少。\n登鹳雀楼\n王之涣\n白日依山尽，",
}
OPEN = Rules(temperature=1.0, top_p=1.0)
CAPACITIES = (256, 1024)
"""Nodes of the unmerged run's session; the quicker one is measured."""
Drawn = list[tuple[int, ...]]


class Unmerged:
    """As many algorithms as texts, over one session that is kept from turn to turn."""

    def __init__(self, model: Model, tokens: int, capacity: int) -> None:
        self.model, self.tokens = model, tokens
        self.session = model.engine.session(capacity)
        self.ends = ends(model)

    def __call__(self, prompt: list[int], n: int, seed: int) -> tuple[Drawn, int]:
        limits = Limits(
            max_tokens=self.tokens,
            n_positions=self.model.engine.config.n_positions,
            end_ids=self.ends,
        )
        with Scheduler(self.session) as scheduler:
            jobs = [
                scheduler.add(
                    sample(prompt, 1, rules=OPEN, draws=Independent(seed, first=i), limits=limits),
                    nodes=len(prompt) + self.tokens,
                )
                for i in range(n)
            ]
            while not all(job.done for job in jobs):
                scheduler.step()
        results = [job.result() for job in jobs]
        texts = [result.continuations[0].tokens for result in results]
        return texts, sum(result.rows for result in results)


class HuggingFace:
    def __init__(self, directory: Path, model: Model, tokens: int, threads: int) -> None:
        import torch
        import transformers

        torch.set_num_threads(threads)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.torch = torch
        self.gpt = transformers.GPT2LMHeadModel.from_pretrained(directory, dtype=torch.float32)
        self.gpt.eval()
        self.tokens, self.ends = tokens, sorted(ends(model))
        self.about = f"transformers {transformers.__version__}, torch {torch.__version__}"

    def __call__(self, prompt: list[int], n: int, seed: int) -> Drawn:
        self.torch.manual_seed(seed)
        ids = self.torch.tensor([prompt])
        with self.torch.inference_mode():
            rows = self.gpt.generate(
                ids,
                attention_mask=self.torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
                num_return_sequences=n,
                max_new_tokens=self.tokens,
                eos_token_id=self.ends,
                pad_token_id=self.ends[0],
            )
        drawn = []
        for row in rows[:, len(prompt) :].tolist():
            at = next((k for k, token in enumerate(row) if token in self.ends), len(row))
            drawn.append(tuple(row[:at]))
        return drawn


def ends(model: Model) -> set[int]:
    """The pieces that end a text: the end token, and whatever ends a line."""
    tokenizer = model.tokenizer
    return tokenizer.end_ids | {
        i for i in range(tokenizer.vocab_size) if "\n" in tokenizer.decode([i])
    }


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def answers(model: Model, drawn: Drawn) -> Counter[str]:
    return Counter(model.tokenizer.decode(tokens) for tokens in drawn)


def two_samples(a: Counter[str], b: Counter[str]) -> float:
    """The p-value of a chi-square test that two tallies are of one distribution.

    Texts too rare for the test are counted together.
    """
    common = [name for name in a | b if a[name] + b[name] >= 10]
    table = [[side[name] for name in common] for side in (a, b)]
    for row, side in zip(table, (a, b), strict=True):
        row.append(side.total() - sum(row))
    counts = np.array([column for column in zip(*table, strict=True) if sum(column)], float).T
    if (degrees := counts.shape[1] - 1) < 1:
        return 1.0
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / counts.sum()
    chi = ((counts - expected) ** 2 / expected).sum()
    # Wilson and Hilferty: the cube root is nearly normal.
    z = ((chi / degrees) ** (1 / 3) - 1 + 2 / (9 * degrees)) / math.sqrt(2 / (9 * degrees))
    return 0.5 * math.erfc(z / math.sqrt(2))


def measure(args: argparse.Namespace, model: Model, peer: HuggingFace, name: str) -> dict[str, Any]:
    prompt = model.prompt_ids(PROMPTS[name])
    runs = [Unmerged(model, args.tokens, capacity) for capacity in CAPACITIES]
    # The first turn is not counted: everything is cold.
    vote = model.vote(prompt, n=args.n, max_tokens=args.tokens)
    unmerged = min(runs, key=lambda run: timed(lambda: run(prompt, args.n, 0))[0])
    peer(prompt, args.n, 0)
    taken: dict[str, list[float]] = {"ours": [], "unmerged": [], "peer": []}
    ours, theirs = Counter[str](), Counter[str]()
    for seed in range(args.rounds):
        options = {"n": args.n, "seed": seed, "max_tokens": args.tokens}
        a, vote = timed(lambda options=options: model.vote(prompt, **options))
        b, (texts, rows) = timed(lambda seed=seed: unmerged(prompt, args.n, seed))
        c, drawn = timed(lambda seed=seed: peer(prompt, args.n, seed))
        for values, seconds in zip(taken.values(), (a, b, c), strict=True):
            values.append(seconds)
        merged = model.sample(prompt, stop="\n", temperature=1.0, top_p=1.0, **options)
        pairs = zip(merged, texts, strict=True)
        other = sum(s.text != model.tokenizer.decode(tokens) for s, tokens in pairs)
        if other > args.n // 100:
            raise SystemExit(f"{name}: {other} texts of the merged and the unmerged run differ")
        ours += Counter(s.text for s in merged)
        theirs += answers(model, drawn)
    middle = {key: statistics.median(values) for key, values in taken.items()}
    saved_rows, saved = 1 - vote.rows / rows, 1 - middle["ours"] / middle["unmerged"]
    return {
        "prompt": name,
        "tokens": len(prompt),
        "rows": (vote.rows, rows),
        "seconds": tuple(middle.values()),
        "spread": [spread(values) for values in taken.values()],
        "shows": saved / saved_rows,
        "top": (ours.most_common(1)[0], theirs.most_common(1)[0]),
        "p": two_samples(ours, theirs),
    }


def spread(values: list[float]) -> str:
    return f"{min(values):.2f}–{max(values):.2f}"


def report(found: list[dict[str, Any]]) -> None:
    print(
        "| prompt | tokens | rows | rows unmerged | s, ours (range) | s, unmerged "
        "| s, Hugging Face | x unmerged | x Hugging Face | saved rows seen as time | p |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for row in found:
        ours, unmerged, peer = row["seconds"]
        a, b, c = row["spread"]
        print(
            f"| {row['prompt']} | {row['tokens']} | {row['rows'][0]} | {row['rows'][1]} "
            f"| {ours:.2f} ({a}) | {unmerged:.2f} ({b}) | {peer:.2f} ({c}) "
            f"| {unmerged / ours:.1f} | {peer / ours:.1f} | {row['shows']:.0%} | {row['p']:.2f} |"
        )
    for row in found:
        print(f"{row['prompt']}: commonest text, ours and theirs, over all rounds: {row['top']}")


def picture(found: list[dict[str, Any]], path: Path, title: str) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "vote"}):
        figure = Figure(figsize=(7, 3), layout="constrained")
        axes = figure.subplots()
        names = ("merged (ours)", "unmerged (ours)", "Hugging Face generate")
        for k, label in enumerate(names):
            at = np.arange(len(found)) + (k - 1) * 0.27
            bars = axes.barh(at, [row["seconds"][k] for row in found], 0.25, label=label)
            axes.bar_label(bars, fmt="%.2f s", padding=2, fontsize=8)
        axes.set_yticks(range(len(found)), [row["prompt"] for row in found])
        axes.invert_yaxis()
        axes.set_xlabel("seconds, median")
        axes.set_title(title, fontsize=9)
        axes.margins(x=0.12)
        axes.legend(fontsize=8)
        figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=DEMO, help="a store with float weights")
    parser.add_argument("--engine", default="native")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--prompts", default=",".join(PROMPTS))
    parser.add_argument("--plot", type=Path, help="a picture, .svg or .png")
    args = parser.parse_args()
    args.rounds = 1 if args.quick else args.rounds
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    model = cpm_lm.load(args.model, engine=args.engine, threads=args.threads)
    peer = HuggingFace(args.model, model, args.tokens, args.threads)
    title = f"{args.n} texts of up to {args.tokens} tokens, {args.engine} engine"
    print(f"{title}, {args.threads} threads, median of {args.rounds}")
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, {time.strftime('%Y-%m-%d')}, commit {commit}"
    )
    print(f"Python {sys.version.split()[0]}, numpy {np.__version__}, {peer.about}")
    found = [measure(args, model, peer, name) for name in args.prompts.split(",")]
    report(found)
    if args.plot:
        picture(found, args.plot, title)


if __name__ == "__main__":
    main()
