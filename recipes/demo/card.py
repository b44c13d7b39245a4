"""The card's table, written from the results; in Chinese and in English."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["table", "write"]

MARK = "<!-- {} of the table, written by `python -m recipes.demo` -->"
BEGIN, END = MARK.format("begin"), MARK.format("end")

NAMES = {
    "poems": "未见过的诗词 held-out poems",
    "prose": "未见过的文章 held-out prose",
    "sums": "加法 sums",
    "differences": "减法 differences",
    "on one line": "一行 on one line",
    "one a line": "一题一行 one a line",
    "held out": "从未见过 held out",
    "trained on": "训练过 trained on",
    "capitals": "首都 capitals",
    "english": "英文词 words in English",
    "dynasties": "诗人的朝代 poets' dynasties",
}


def _perplexity_rows(figures: dict[str, Any]) -> list[str]:
    rows = [
        "| 每字困惑度 perplexity per character | 字数 characters "
        "| 本模型 this model | Kneser-Ney 5-gram |",
        "|---|---|---|---|",
    ]
    for name, row in figures.items():
        own, grams = (
            f"{row[k]['value']:.1f} ± {row[k]['error']:.1f}" for k in ("model", "five_grams")
        )
        rows.append(f"| {NAMES[name]} | {row['characters']:,} | {own} | {grams} |")
    return rows


def _accuracy_rows(title: str, figures: dict[str, Any]) -> list[str]:
    rows = [f"| {title} | 题数 questions | 答对 right |", "|---|---|---|"]
    for name, row in figures.items():
        shown = "，".join(NAMES[part] for part in name.split(", "))
        share = f"{100 * row['share']:.1f}% ± {100 * row['error']:.1f}%"
        rows.append(f"| {shown} | {row['questions']:,} | {share} |")
    return rows


def table(results: dict[str, Any]) -> str:
    """Return all figures as Markdown; after each ± is one standard error."""
    parts = [
        _perplexity_rows(results["perplexity"]),
        _accuracy_rows("算术 arithmetic", results["sums"]),
        _accuracy_rows("训练过的常识 facts trained on", results["facts"]),
    ]
    return "\n\n".join("\n".join(rows) for rows in parts)


def write(results: dict[str, Any], card: Path) -> None:
    """Put the table between its marks in the card."""
    before, _, rest = card.read_text("utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    card.write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", "utf-8")
