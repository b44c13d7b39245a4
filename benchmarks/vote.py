"""Compare 300 short samples of one prompt: merged, unmerged, and by other libraries.

    make bench-vote                            # the model in the package, on the native engine
    make bench-vote ARGS="--quick"             # one round
    make bench-vote ARGS="--threads 1 --write --plot docs/figures/vote.png"     # as in the page

(a) `Model.vote`, whose samples share their common prefixes;
(b) the same samples on the same engine, each a separate algorithm; the scheduler batches them, but
    merges nothing;
(c) Hugging Face's `generate(num_return_sequences=n)` and CTranslate2's
    `generate_batch(num_hypotheses=n)`, with the same distribution and the same end tokens.
Each prompt is sampled twice: with the store's float weights, compared with both libraries in
float32, and with the same weights in q8, compared with CTranslate2's int8. Each library quantizes
the same weights in its own way. (a), (b) and (c) run in turn; medians are compared. At most one
sample in a hundred may differ between (a) and (b): products of other shapes are rounded
differently, and a random number may be at the border. The samples of (a) and (c) must have one
distribution (a chi-square test of two samples).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cpm_lm
from benchmarks.machine import describe
from benchmarks.pages import write_pages
from benchmarks.peers.files import convert
from benchmarks.peers.sampling import CTranslate2, HuggingFace, Sampler, Samples
from cpm_lm.checkpoints.dtypes import WEIGHTS
from cpm_lm.checkpoints.layouts.store import Store
from cpm_lm.decoding.rng import Independent
from cpm_lm.decoding.sampling import Limits, sample
from cpm_lm.decoding.scheduler import Scheduler
from cpm_lm.distributions.rules import Rules
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
"""Capacities of the unmerged run's session; the faster one is measured."""
PAUSE = 0.3
"""Seconds before a run: threads of the previous one spin for a while (OpenMP: 0.2 s)."""
PAGE = Path(__file__).parent.parent / "docs" / "voting.md"
PEERS = ("Hugging Face", "CTranslate2")
HEADS = {
    "chinese": ("提示", "权重", "提示词元", "计算的词元", "不合并时", "秒，合并（范围）"),
    "english": ("prompt", "weights", "prompt tokens", "computed", "unmerged", "s, merged (range)"),
}
"""Of the table's first columns, by language."""
BY_OTHER = {"chinese": ("秒，{}", "倍，{}", "p，{}"), "english": ("s, {}", "x {}", "p, {}")}
"""Heads of columns with a value for each other implementation."""
UNMERGED = {"chinese": "不合并", "english": "unmerged"}
SAVED = {"chinese": "省时/省词元", "english": "time saved / tokens saved"}


class Unmerged:
    """One algorithm for each sample, over one session that all runs use."""

    def __init__(self, model: Model, tokens: int, capacity: int) -> None:
        self.model, self.tokens = model, tokens
        self.session = model.engine.session(capacity)
        self.ends = ends(model)

    def __call__(self, prompt: list[int], n: int, seed: int) -> tuple[Samples, int]:
        limits = Limits(
            max_tokens=self.tokens,
            n_positions=self.model.engine.config.n_positions,
            end_ids=self.ends,
        )
        with Scheduler(self.session) as scheduler:
            jobs = [
                scheduler.add(
                    sample(prompt, 1, rules=OPEN, source=Independent(seed, first=i), limits=limits),
                    nodes=len(prompt) + self.tokens,
                )
                for i in range(n)
            ]
            while not all(job.done for job in jobs):
                scheduler.step()
        results = [job.result() for job in jobs]
        texts = [result.continuations[0].tokens for result in results]
        return texts, sum(result.rows for result in results)


def ends(model: Model) -> frozenset[int]:
    """The tokens that end a sample: end tokens and those with a line end."""
    tokenizer = model.tokenizer
    return tokenizer.end_ids | {
        i for i in range(tokenizer.vocab_size) if "\n" in tokenizer.decode([i])
    }


def timed(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[float, Any]:
    """Return the seconds that a call takes, and what it returns."""
    time.sleep(PAUSE)
    start = time.perf_counter()
    result = call(*args, **options)
    return time.perf_counter() - start, result


def tally(model: Model, samples: Samples) -> Counter[str]:
    return Counter(model.tokenizer.decode(tokens) for tokens in samples)


def two_samples(a: Counter[str], b: Counter[str]) -> float:
    """The p-value of the chi-square test that two tallies have one distribution.

    Texts with fewer than 10 counts are counted together.
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


@dataclass(frozen=True, kw_only=True)
class Group:
    """One number format: our model, and the libraries with the same weights."""

    weights: str
    """Our format, such as "f16"."""
    model: Model
    peers: Mapping[str, Sampler]

    @property
    def about(self) -> str:
        """The format, and the libraries that are measured beside it."""
        return f"{self.weights}: {'; '.join(peer.about for peer in self.peers.values())}"


def open_groups(args: argparse.Namespace, scratch: Path) -> list[Group]:
    """Open all models: the float weights if the store has them, and 8 bits.

    Raises:
        SystemExit: no library has the store's number format.
    """
    stored, found = Store.open(args.model).weights, []
    if stored not in (*WEIGHTS, "q8"):
        raise SystemExit(f"{args.model} is in {stored}; give a store in f32, f16, bf16 or q8")
    if stored in WEIGHTS and "float" in args.weights.split(","):
        found.append(open_group(args, args.model, stored, scratch))
    if "q8" in args.weights.split(","):
        packed = args.model if stored == "q8" else scratch / "store-q8"
        if packed != args.model:
            convert(args.model, packed, "q8")
        found.append(open_group(args, packed, "q8", scratch))
    return found


def open_group(args: argparse.Namespace, directory: Path, weights: str, scratch: Path) -> Group:
    model = cpm_lm.load(directory, engine=args.engine, threads=args.threads)
    options = (args.model, ends(model), args.tokens, args.threads)
    form = "int8" if weights == "q8" else "float32"
    peers: dict[str, Sampler] = {}
    if form == "float32":
        peers["Hugging Face"] = HuggingFace(*options)
    peers["CTranslate2"] = CTranslate2(*options, path=scratch / form, form=form)
    return Group(weights=weights, model=model, peers=peers)


def measure(args: argparse.Namespace, group: Group, name: str) -> dict[str, Any]:
    model, peers = group.model, group.peers
    prompt = model.prompt_ids(PROMPTS[name])
    runs = [Unmerged(model, args.tokens, capacity) for capacity in CAPACITIES]
    # Warm-up; the first run is not counted.
    vote = model.vote(prompt, n=args.n, max_tokens=args.tokens)
    unmerged = min(runs, key=lambda run: timed(run, prompt, args.n, 0)[0])
    for peer in peers.values():
        peer(prompt, args.n, 0)
    taken: dict[str, list[float]] = {who: [] for who in ("ours", "unmerged", *peers)}
    tallies = {who: Counter[str]() for who in ("ours", *peers)}
    for seed in range(args.rounds):
        options = {"n": args.n, "seed": seed, "max_tokens": args.tokens}
        a, vote = timed(model.vote, prompt, **options)
        b, (texts, rows) = timed(unmerged, prompt, args.n, seed)
        taken["ours"].append(a)
        taken["unmerged"].append(b)
        for who, peer in peers.items():
            c, samples = timed(peer, prompt, args.n, seed)
            taken[who].append(c)
            tallies[who] += tally(model, samples)
        merged = model.sample(prompt, stop="\n", temperature=1.0, top_p=1.0, **options)
        pairs = zip(merged, texts, strict=True)
        other = sum(s.text != model.tokenizer.decode(tokens) for s, tokens in pairs)
        if other > args.n // 100:
            raise SystemExit(f"{name}: {other} samples of the merged and unmerged run differ")
        tallies["ours"] += Counter(s.text for s in merged)
    median = {who: statistics.median(values) for who, values in taken.items()}
    saved_rows, saved = 1 - vote.rows / rows, 1 - median["ours"] / median["unmerged"]
    return {
        "prompt": name,
        "weights": group.weights,
        "tokens": len(prompt),
        "rows": (vote.rows, rows),
        "seconds": median,
        "spread": {who: spread(values) for who, values in taken.items()},
        "shows": saved / saved_rows,
        "top": {who: tally.most_common(1)[0] for who, tally in tallies.items()},
        "p": {who: two_samples(tallies["ours"], tallies[who]) for who in peers},
    }


def spread(values: list[float]) -> str:
    return f"{min(values):.2f}–{max(values):.2f}"


def table(found: list[dict[str, Any]], language: str) -> list[str]:
    """Return the lines of a Markdown table; the cells of a library that was not run are empty."""
    seconds_of, times_of, p_of = BY_OTHER[language]
    names = (UNMERGED[language], *PEERS)
    head = [*HEADS[language], *map(seconds_of.format, names), *map(times_of.format, names)]
    head += [SAVED[language], *map(p_of.format, PEERS)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in found:
        seconds, ranges, others = row["seconds"], row["spread"], ("unmerged", *PEERS)
        there = [who if who in seconds else "" for who in others]
        cells = [row["prompt"], row["weights"], str(row["tokens"]), *map(str, row["rows"])]
        cells += [f"{seconds['ours']:.3f} ({ranges['ours']})"]
        cells += [f"{seconds[who]:.2f} ({ranges[who]})" if who else "" for who in there]
        cells += [f"{seconds[who] / seconds['ours']:.1f}" if who else "" for who in there]
        cells += [f"{row['shows']:.0%}"]
        cells += [f"{row['p'][who]:.2f}" if who in row["p"] else "" for who in PEERS]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def picture(found: list[dict[str, Any]], path: Path, title: str) -> None:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    names = {
        "ours": "merged (ours)",
        "unmerged": "unmerged (ours)",
        "Hugging Face": "Hugging Face generate",
        "CTranslate2": "CTranslate2",
    }
    with rc_context({"svg.hashsalt": "vote"}):
        figure = Figure(figsize=(7, 1 + 0.7 * len(found)), layout="constrained")
        axes = figure.subplots()
        for k, (who, label) in enumerate(names.items()):
            rows = [i for i, row in enumerate(found) if who in row["seconds"]]
            at = np.array(rows) + (k - 1.5) * 0.21
            bars = axes.barh(at, [found[i]["seconds"][who] for i in rows], 0.2, label=label)
            axes.bar_label(bars, fmt="%.2f s", padding=2, fontsize=7)
        axes.set_yticks(range(len(found)), [f"{row['prompt']}, {row['weights']}" for row in found])
        axes.invert_yaxis()
        axes.set_xlabel("seconds, median")
        axes.set_title(title, fontsize=9)
        axes.margins(x=0.12)
        axes.legend(fontsize=8)
        figure.savefig(path, metadata={"Date": None})


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=DEMO, help="a store in f32, f16, bf16 or q8")
    parser.add_argument("--weights", default="float,q8", help="weights to sample with: float, q8")
    parser.add_argument("--engine", default="native")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("-n", type=int, default=300)
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--prompts", default=",".join(PROMPTS))
    parser.add_argument("--plot", type=Path, help="a picture, .svg or .png")
    parser.add_argument("--write", action="store_true", help="put the table into both pages")
    args = parser.parse_args(words)
    args.rounds = 1 if args.quick else args.rounds
    return args


def titles(args: argparse.Namespace) -> dict[str, str]:
    """Return what was measured, and how, by language."""
    return {
        "chinese": f"{args.n} 段文本，每段至多 {args.tokens} 个词元，{args.engine} 引擎，"
        f"线程数 {args.threads}，{args.rounds} 轮的中位数。",
        "english": f"{args.n} texts of up to {args.tokens} tokens, {args.engine} engine, "
        f"threads: {args.threads}, medians of {args.rounds} rounds.",
    }


def main() -> None:
    args = arguments()
    machine = f"{describe()}."
    print(titles(args)["english"], machine, flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        opened = open_groups(args, Path(scratch))
        about = [f"Python {sys.version.split()[0]}, numpy {np.__version__}."]
        about += [f"{group.about}." for group in opened]
        found = [measure(args, each, name) for name in args.prompts.split(",") for each in opened]
    written = {
        language: "\n".join([f"{title}{gap}{machine}", *about, "", *table(found, language)])
        for (language, title), gap in zip(titles(args).items(), ("", " "), strict=True)
    }
    print(written["english"].partition("\n")[2])
    for row in found:
        print(f"{row['prompt']}, {row['weights']}: most frequent text: {row['top']}")
    if args.write:
        write_pages(PAGE, "make bench-vote", **written)
    if args.plot:
        picture(found, args.plot, titles(args)["english"])


if __name__ == "__main__":
    main()
