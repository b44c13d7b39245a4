"""Accuracy of one sample, of votes, and of the exact winner on held-out sums.

    python -m recipes.voting                   # writes the table into both pages on voting
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
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cpm_lm
from benchmarks.pages import write_pages
from cpm_lm.model import DEMO, Model
from recipes.demo import sums
from recipes.demo.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "voting.md"
MARK = "python -m recipes.voting"
QUESTIONS = 300
LONGEST = 8
"""The most tokens of an answer; the largest sum has three digits."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to answer: its names on the two pages, and the options of `Model.vote`."""

    chinese: str
    english: str
    options: Mapping[str, Any]


METHODS = (
    Method(chinese="1 段文本", english="1 text", options={"n": 1}),
    Method(chinese="5 段投票", english="vote of 5", options={"n": 5}),
    Method(chinese="300 段投票", english="vote of 300", options={"n": 300}),
    Method(
        chinese="300 段投票，分层抽样",
        english="vote of 300, stratified",
        options={"n": 300, "method": "stratified"},
    ),
    Method(
        chinese="至多 300 段投票，0.95 时提前停止",
        english="vote of up to 300, stopped early at 0.95",
        options={"n": 300, "confidence": 0.95},
    ),
    Method(chinese="精确投票", english="exact vote", options={"method": "exact"}),
    Method(
        chinese="1 段文本，贪心（温度 0）",
        english="1 text, greedy (temperature 0)",
        options={"n": 1, "temperature": 0},
    ),
)
HEADS = {
    "chinese": ("方法", "答对 ± 标准误", "已证明", "计算的词元", "秒"),
    "english": ("method", "correct ± standard error", "proven", "tokens computed", "s"),
}


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a method reached; means are over the questions."""

    method: Method
    correct: float
    """The share of correct answers."""
    error: float
    """Its standard error."""
    proven: float
    """The share of proven winners."""
    rows: float
    """Mean of the tokens computed."""
    seconds: float
    """Mean of the seconds taken."""


def questions(count: int) -> list[tuple[str, str]]:
    """Return few-shot questions about held-out pairs, with their answers."""
    settings = Settings()
    hidden = sums.held_out_pairs(settings.held_out_sums, settings.seed)
    rng = random.Random(settings.seed)
    pairs = rng.sample(sorted(hidden), count)
    return [sums.prompt(pair, "+", "\n", hidden, rng) for pair in pairs]


def measure(model: Model, asked: list[tuple[str, str]]) -> list[Result]:
    """Return for each method the share of correct and of proven answers, and their cost."""
    found = []
    for method in METHODS:
        start = time.perf_counter()
        correct, proven, rows = 0, 0, 0
        for i, (prompt, answer) in enumerate(asked):
            vote = model.vote(prompt, max_tokens=LONGEST, seed=i, **method.options)
            correct += vote.winner == answer
            proven += vote.certified
            rows += vote.rows
        n, share = len(asked), correct / len(asked)
        result = Result(
            method=method,
            correct=share,
            error=math.sqrt(share * (1 - share) / n),
            proven=proven / n,
            rows=rows / n,
            seconds=(time.perf_counter() - start) / n,
        )
        found.append(result)
        print("|", " | ".join(cells(result, "english")), "|", flush=True)
    return found


def cells(result: Result, language: str) -> list[str]:
    """Return one row of the table."""
    return [
        getattr(result.method, language),
        f"{result.correct:.1%} ± {result.error:.1%}",
        f"{result.proven:.0%}" if result.proven else "",
        f"{result.rows:.0f}",
        f"{result.seconds:.2f}",
    ]


def table(found: list[Result], language: str) -> list[str]:
    """Return the lines of a Markdown table."""
    rows = [list(HEADS[language]), *(cells(result, language) for result in found)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]


def texts(found: list[Result], model: Model, count: int) -> dict[str, str]:
    """Return the table with its conditions, as Markdown, by language."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    machine, date, engine = platform.machine(), time.strftime("%Y-%m-%d"), model.engine.name
    conditions = {
        "chinese": f"{count} 题；词元数和秒数为每题的平均值。引擎 {engine}，{machine}，"
        f"{os.cpu_count()} 核，{date}，提交 {commit}。",
        "english": f"{count} questions; tokens and seconds are means per question. Engine "
        f"{engine}, {machine}, {os.cpu_count()} cores, {date}, commit {commit}.",
    }
    return {
        language: "\n".join([*table(found, language), "", line])
        for language, line in conditions.items()
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=QUESTIONS)
    parser.add_argument("--model", type=Path, default=DEMO)
    parser.add_argument("--engine", default="native")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    model = cpm_lm.load(args.model, engine=args.engine, threads=args.threads)
    written = texts(measure(model, questions(args.questions)), model, args.questions)
    print(written["english"])
    if args.questions == QUESTIONS:
        write_pages(PAGE, MARK, **written)


if __name__ == "__main__":
    main()
