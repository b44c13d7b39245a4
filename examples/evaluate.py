"""Few-shot curves: the model in the package on three tasks, with 0 to 8 examples before each item.

    python examples/evaluate.py                              # arithmetic alone, which needs no data
    python examples/evaluate.py --data DIR --plot curves.png

`DIR` holds the tasks' files, as for `cpm eval`; docs/tasks.en.md says where they come from.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import cpm_lm
from cpm_lm.evaluation.result import Result

TASKS = {"arithmetic": "greedy", "tnews": "4way", "eprstmt": "standard"}
"""Each task and its protocol; arithmetic makes its items itself."""
SHOTS = (0, 1, 2, 4, 8)

Curves = Mapping[str, Sequence[Result]]
"""By task: the result for each number of shots."""


def curves(
    data: Path | None, *, shots: Sequence[int] = SHOTS, limit: int = 100, seed: int = 0
) -> Curves:
    """Measure every task with each number of shots; without data, arithmetic alone."""
    tasks = TASKS if data else {"arithmetic": TASKS["arithmetic"]}
    with cpm_lm.load() as model:
        return {
            task: [
                cpm_lm.evaluate(
                    model, task, data, protocol=protocol, shots=number, seed=seed, limit=limit
                )
                for number in shots
            ]
            for task, protocol in tasks.items()
        }


def table(measured: Curves) -> str:
    """Return a line for each task: value and standard error by the number of shots."""
    shots = [result.shots for result in next(iter(measured.values()))]
    lines = [f"{'shots':12}" + "".join(f"{number:>16}" for number in shots) + f"{'chance':>10}"]
    for task, results in measured.items():
        cells = [f"{r.value:.1%} ± {r.standard_error or 0:.1%}" for r in results]
        chance = results[0].chance
        end = "" if chance is None else f"{chance:.1%}"
        lines.append(f"{task:12}" + "".join(f"{cell:>16}" for cell in cells) + f"{end:>10}")
    return "\n".join(lines)


def plot(measured: Curves, path: Path) -> None:
    """Draw the curves with error bars, and each task's chance as a dotted line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for task, results in measured.items():
        shots = [result.shots for result in results]
        values = [result.value for result in results]
        errors = [result.standard_error or 0 for result in results]
        (line, *_) = axes.errorbar(shots, values, errors, marker="o", capsize=3, label=task)
        if results[0].chance is not None:
            axes.axhline(results[0].chance, color=line.get_color(), linestyle=":", linewidth=1)
    axes.set_xticks(shots)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("shots (dotted: chance)")
    axes.legend()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limit", type=int, default=100, help="items of each task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plot", type=Path, metavar="FILE")
    options = parser.parse_args()
    measured = curves(options.data, limit=options.limit, seed=options.seed)
    print(table(measured))
    if not options.data:
        print(f"without --data, {len(TASKS) - 1} tasks are left out: {', '.join(list(TASKS)[1:])}")
    if options.plot:
        plot(measured, options.plot)


if __name__ == "__main__":
    main()
