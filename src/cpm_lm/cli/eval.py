"""`cpm eval`: measure a model on tasks; every number with its protocol.

Knows options and printing; does not know tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.choices import Boundary, choices
from cpm_lm.cli.console import json_text, progress_bar
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import model_options, open_model
from cpm_lm.cli.types import ModelPath
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from cpm_lm.evaluation.result import Comparison, Result
    from cpm_lm.model import Model

__all__ = ["command"]


@click.command("eval", cls=Verb, short_help=later("Measure a model on tasks."))
@click.argument("tasks", nargs=-1, required=True)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help=later("Directory of the tasks' files."),
)
@click.option("--protocol", help=later("Protocol; default: the task's first."))
@click.option(
    "--shots",
    type=click.IntRange(min=0),
    help=later("Examples before each item; default: the task's."),
)
@click.option(
    "--seed",
    type=int,
    default=0,
    show_default=True,
    help=later("Seed of the examples, candidates and votes drawn."),
)
@click.option(
    "--boundary",
    type=click.Choice(choices(Boundary)),
    default="apart",
    show_default=True,
    help=later("Encode prompt and candidate 'apart' or 'joint'."),
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help=later("Only the first items."),
)
@click.option(
    "--against",
    type=ModelPath(),
    help=later("Another model, compared item by item by a paired test."),
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help=later(
        "Write the results, each item's included, to this file; an interrupted run "
        "is continued; `-` is standard output."
    ),
)
@click.option(
    "--plot",
    "plot_path",
    type=click.Path(path_type=Path),
    help=later("Plot the accuracies to this file, .png or .svg."),
)
@model_options
def command(
    tasks: tuple[str, ...],
    data: Path | None,
    against: Path | None,
    json_path: Path | None,
    plot_path: Path | None,
    **options: Any,
) -> None:
    """Measure a model on TASKS; `cpm eval list` lists them, and a .toml file of one's own is a task
    too.

    \b
    cpm eval arithmetic --limit 20
    cpm eval tnews --data DIR --protocol 4way --seed 1
    """
    from cpm_lm.cli.plotting import check_plot, plot_results

    if tasks == ("list",):
        _list()
        return
    if plot_path is not None:
        check_plot(plot_path, "")
    chosen = {
        name: options.pop(name) for name in ("protocol", "shots", "seed", "boundary", "limit")
    }
    model = open_model({**options})
    results = _measured(model, tasks, data, json_path, chosen)
    lines = [line for result in results for line in _described(result)]
    others: list[Result] = []
    if against is not None:
        other = open_model({**options, "model": against})
        others = _measured(other, tasks, data, None, chosen)
        lines += _compared(results, others)
    told = {
        "results": [result.to_json() for result in results],
        "against": [result.to_json() for result in others],
    }
    if json_path == Path("-"):
        click.echo(json_text(told))
        return
    click.echo("\n".join(lines))
    if json_path is not None:
        json_path.write_text(json_text(told) + "\n", "utf-8")
    if plot_path is not None:
        plot_results(results, plot_path)


def _measured(
    model: Model,
    tasks: Sequence[str],
    data: Path | None,
    json_path: Path | None,
    options: dict[str, Any],
) -> list[Result]:
    """Return the results of all tasks; each task checks its files before the first is run."""
    from cpm_lm.evaluation.run import check, evaluate

    for task in tasks:
        check(task, data, protocol=options["protocol"], shots=options["shots"])
    results = []
    for task in tasks:
        state = None
        if json_path is not None and json_path != Path("-"):
            state = json_path.with_name(f"{json_path.name}.{Path(task).stem}.partial")
        with progress_bar(Path(task).stem) as progress:
            results.append(evaluate(model, task, data, state=state, progress=progress, **options))
    return results


def _list() -> None:
    from cpm_lm.evaluation.task_file import load_task, task_names

    for name in task_names():
        task = load_task(name)
        click.echo(f"{name:14} v{task.version}  {', '.join(task.protocols):20} {task.title}")


def _described(result: Result) -> Iterator[str]:
    """Yield the lines that tell one result."""
    error = "" if result.standard_error is None else f" ± {result.standard_error:.1%}"
    chance = "" if result.chance is None else tr(" (chance {chance:.1%})", chance=result.chance)
    yield f"{result.task} v{result.version}: {result.value:.1%}{error}{chance}"
    yield "  " + "  ".join(f"{name} {value:.1%}" for name, value in result.values.items())
    if result.macro is not None:
        yield "  " + tr("mean of {n} groups {macro:.1%}", n=len(result.groups), macro=result.macro)
    yield "  " + tr(
        "{items} items, {cut} shortened, protocol {protocol}, {shots} shots, seed {seed}, boundary "
        "{boundary}, by {normalization}, {rows:,} rows",
        items=result.items,
        cut=result.cut,
        protocol=result.protocol,
        shots=result.shots,
        seed=result.seed,
        boundary=result.boundary,
        normalization=result.normalization,
        rows=result.rows,
    )
    yield f"  model {result.model_digest[:12] or '?'}, {result.engine}, cpm-lm {result.package}"


def _compared(results: Sequence[Result], others: Sequence[Result]) -> Iterator[str]:
    """Yield a line for each task that two models were measured on."""
    from cpm_lm.evaluation.result import compared

    for result, other in zip(results, others, strict=True):
        found: Comparison = compared(result, other)
        p = "" if found.p_value is None else f", McNemar p = {found.p_value:.3g}"
        yield f"{result.task}: {other.value:.1%}, {found.difference:+.1%} " + tr(
            "(95% from {low:+.1%} to {high:+.1%}){p}", low=found.low, high=found.high, p=p
        )
