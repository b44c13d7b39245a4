"""Accuracy of one sample, of votes, and of the exact winner on held-out sums.

    python -m recipes.voting                   # writes the table into docs/voting.md
    python -m recipes.voting --questions 20    # quick; writes nothing

The questions are those of the small model's recipe: pairs of numbers that are in no training text,
each question after four to eight other sums, one a line. All methods answer the same questions.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import cpm_lm
from cpm_lm.model import DEMO, Model
from recipes.demo import sums
from recipes.demo.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "voting.md"
BEGIN, END = (
    f"<!-- {word}: written by `python -m recipes.voting` -->" for word in ("begin", "end")
)
QUESTIONS = 300
LONGEST = 8
"""The most tokens of an answer; the largest sum has three digits."""
METHODS: dict[str, dict[str, Any]] = {
    "一个样本 one text": {"n": 1},
    "5 票 vote of 5": {"n": 5},
    "300 票 vote of 300": {"n": 300},
    "300 票，分层 vote of 300, stratified": {"n": 300, "method": "stratified"},
    "300 票，早停 0.95 vote of up to 300, ended early": {"n": 300, "confidence": 0.95},
    "精确 exact": {"method": "exact"},
    "贪心（温度 0）one text, greedy": {"n": 1, "temperature": 0},
}


def questions(count: int) -> list[tuple[str, str]]:
    """Return few-shot questions about held-out pairs, with their answers."""
    settings = Settings()
    hidden = sums.held_out_pairs(settings.held_out_sums, settings.seed)
    rng = random.Random(settings.seed)
    pairs = rng.sample(sorted(hidden), count)
    return [sums.prompt(pair, "+", "\n", hidden, rng) for pair in pairs]


def measure(model: Model, asked: list[tuple[str, str]]) -> dict[str, dict[str, float]]:
    """Return for each method the share of right and of proven answers, and their cost."""
    found = {}
    for name, options in METHODS.items():
        start = time.perf_counter()
        right, proven, rows = [], 0, 0
        for i, (prompt, answer) in enumerate(asked):
            vote = model.vote(prompt, max_tokens=LONGEST, seed=i, **options)
            right.append(vote.winner == answer)
            proven += vote.certified
            rows += vote.rows
        share = sum(right) / len(right)
        found[name] = {
            "share": share,
            "error": math.sqrt(share * (1 - share) / len(right)),
            "proven": proven / len(right),
            "rows": rows / len(right),
            "seconds": (time.perf_counter() - start) / len(right),
        }
        print(name, {key: round(value, 3) for key, value in found[name].items()}, flush=True)
    return found


def table(found: dict[str, dict[str, float]], model: Model, count: int) -> str:
    """Return the table with its conditions, as Markdown."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    lines = [
        "| 方法 method | 答对 right ± 标准误 standard error | 已证明 proven | 行 rows | 秒 s |",
        "|---|---|---|---|---|",
    ]
    for name, row in found.items():
        proven = f"{row['proven']:.0%}" if row["proven"] else ""
        lines.append(
            f"| {name} | {row['share']:.1%} ± {row['error']:.1%} | {proven} | {row['rows']:.0f} "
            f"| {row['seconds']:.2f} |"
        )
    lines += [
        "",
        f"{count} 题，每题的行数和秒数取平均。{count} questions; rows and seconds are means. "
        f"{model.engine.name}, {platform.machine()}, {os.cpu_count()} cores, "
        f"{time.strftime('%Y-%m-%d')}, commit {commit}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--model", type=Path, default=DEMO)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    model = cpm_lm.load(args.model, engine=args.engine, threads=args.threads)
    text = table(measure(model, questions(args.questions)), model, args.questions)
    print(text)
    if args.questions == QUESTIONS:
        before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
