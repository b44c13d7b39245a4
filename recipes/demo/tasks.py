"""Measure the model in the package on all tasks; write the table into its card and docs/tasks.

    python -m recipes.demo.tasks --data DIR            # measure and write
    python -m recipes.demo.tasks --data DIR --check    # measure a few items, write nothing
    python -m recipes.demo.tasks                       # write the kept results again

`DIR` is as for `cpm eval`. The results are kept in recipes/demo/results/tasks.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, Final

import cpm_lm
from benchmarks.machine import describe
from benchmarks.pages import translated, write_pages
from cpm_lm.evaluation.run import evaluate

__all__ = ["MARK", "PAGES", "PHRASES", "RESULTS", "RUNS", "measure", "table"]

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "recipes/demo/results/tasks.json"
PAGES = (ROOT / "src/cpm_lm/demo/README.md", ROOT / "docs/tasks.md")
MARK = "python -m recipes.demo.tasks"
SEED = 0
RUNS: Final = (
    ("arithmetic", "greedy", 200),
    ("arithmetic", "vote", 200),
    ("arithmetic", "exact", 200),
    ("tnews", "all", 400),
    ("tnews", "4way", 400),
    ("iflytek", "all", 40),
    ("iflytek", "4way", 150),
    ("ocnli", "standard", 500),
    ("eprstmt", "standard", 500),
    ("bustm", "standard", 500),
    ("csl", "standard", 100),
    ("cluewsc", "standard", 300),
    ("chid", "standard", 100),
    ("c3", "standard", 100),
    ("c3-dialogue", "standard", 200),
    ("cmrc2018", "greedy", 50),
    ("zhoblimp", "standard", 2000),
)
"""Task, protocol and items: few where an item is long, so that all take some minutes on two cores;
IFLYTEK with all labels is 119 candidates of 250 tokens each."""
NAMES: Final = ("sum", "per_token", "per_character", "per_byte", "pmi")
PHRASES = {
    r"Seed (\d+), (\S+) minutes in all\. (.*)\.$": r"种子 \1，共用 \2 分钟。\3。",
    r", (\d+) cores, load (\S+), (\S+), commit (\S+)。$": r"，\1 核，负载 \2，\3，提交 \4。",
    r"\| task \| protocol \| items \|": "| 任务 | 方式 | 题数 |",
    r"\| value \| chance \|": "| 结果 | 随机 |",
}
"""The table's words in Chinese; see `pages.translated`."""


def measure(data: Path, most: int | None = None) -> dict[str, Any]:
    """Return the results of all runs, without their items; at most `most` items each."""
    results, start, machine = [], time.monotonic(), describe()
    with cpm_lm.load(engine="native") as model:
        for task, protocol, items in RUNS:
            limit = min(items, most or items)
            found = evaluate(model, task, data, protocol=protocol, seed=SEED, limit=limit)
            told = found.to_json()
            results.append({k: v for k, v in told.items() if k not in ("outcomes", "groups")})
            print(task, protocol, f"{found.value:.3f}", flush=True)
    minutes = (time.monotonic() - start) / 60
    return {"machine": machine, "minutes": round(minutes, 1), "results": results}


def table(measured: dict[str, Any]) -> str:
    """Return the results as Markdown, in English; the value is by the task's own score."""
    rows = [
        "| task | protocol | items | value | chance | "
        + " | ".join(f"`{n}`" for n in NAMES)
        + " |",
        "|---|---|---|---|---|" + "---|" * len(NAMES),
    ]
    for found in measured["results"]:
        value = f"{100 * found['value']:.1f}% ± {100 * found['standard_error']:.1f}%"
        chance = "" if found["chance"] is None else f"{100 * found['chance']:.1f}%"
        values = found["values"]
        others = [f"{100 * values[name]:.1f}%" if name in values else "" for name in NAMES]
        cells = [found["task"], found["protocol"], str(found["items"]), value, chance, *others]
        rows.append("| " + " | ".join(cells) + " |")
    about = f"Seed {SEED}, {measured['minutes']} minutes in all. {measured['machine']}."
    return "\n".join([about, "", *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    if options.check:
        print(table(measure(options.data, 2)))
        return
    if options.data:
        found = measure(options.data)
        RESULTS.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8")
    english = table(json.loads(RESULTS.read_text("utf-8")))
    for page in PAGES:
        write_pages(page, MARK, chinese=translated(english, PHRASES), english=english)


if __name__ == "__main__":
    main()
