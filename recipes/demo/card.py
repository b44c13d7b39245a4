"""The card's tables, written from the results into the Chinese card and the English one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.pages import translated, write_pages

__all__ = ["MARK", "PHRASES", "table", "write"]

MARK = "python -m recipes.demo"
NAMES = {
    "poems": "held-out poems",
    "prose": "held-out prose",
    "english": "words in English",
    "dynasties": "poets' dynasties",
}
"""Words of the results that the card words otherwise."""
PHRASES = {
    r"perplexity per character": "每字困惑度",
    r"characters": "字数",
    r"this model": "本模型",
    r"held-out poems": "未见过的诗词",
    r"held-out prose": "未见过的文章",
    r"arithmetic": "算术",
    r"questions": "题数",
    r"\| right \|": "| 答对 |",
    r"sums, ": "加法，",
    r"differences, ": "减法，",
    r"on one line, ": "题目在同一行，",
    r"one a line, ": "一题一行，",
    r"held out": "未见过",
    r"facts trained on": "训练过的常识",
    r"trained on": "训练过",
    r"capitals": "首都",
    r"words in English": "英文词",
    r"poets' dynasties": "诗人的朝代",
}
"""The tables' words in Chinese; see `pages.translated`."""


def _perplexity_rows(figures: dict[str, Any]) -> list[str]:
    rows = [
        "| perplexity per character | characters | this model | Kneser-Ney 5-gram |",
        "|---|---|---|---|",
    ]
    for name, row in figures.items():
        own, grams = (
            f"{row[k]['value']:.1f} ± {row[k]['error']:.1f}" for k in ("model", "five_grams")
        )
        rows.append(f"| {NAMES[name]} | {row['characters']:,} | {own} | {grams} |")
    return rows


def _accuracy_rows(title: str, figures: dict[str, Any]) -> list[str]:
    rows = [f"| {title} | questions | right |", "|---|---|---|"]
    for name, row in figures.items():
        share = f"{100 * row['share']:.1f}% ± {100 * row['error']:.1f}%"
        rows.append(f"| {NAMES.get(name, name)} | {row['questions']:,} | {share} |")
    return rows


def table(results: dict[str, Any]) -> str:
    """Return all figures as Markdown, in English; after each ± is one standard error."""
    parts = [
        _perplexity_rows(results["perplexity"]),
        _accuracy_rows("arithmetic", results["sums"]),
        _accuracy_rows("facts trained on", results["facts"]),
    ]
    return "\n\n".join("\n".join(rows) for rows in parts)


def write(results: dict[str, Any], card: Path) -> None:
    """Put the tables between the marks of the Chinese card and of its English twin."""
    english = table(results)
    write_pages(card, MARK, chinese=translated(english, PHRASES), english=english)
