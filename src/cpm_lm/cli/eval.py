"""`cpm eval`: measure a model on tasks; every number with its protocol.

Knows options and printing; does not know tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.choices import Boundary, choices
from cpm_lm.cli.console import progress_bar
from cpm_lm.cli.eval_output import Target, compared_line, described
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import model_options, open_model
from cpm_lm.cli.types import ModelPath
from cpm_lm.errors import RequestError
from cpm_lm.languages import later, tr

if TYPE_CHECKING:
    from cpm_lm.evaluation.result import Result
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
    type=click.IntRange(min=0),
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
    help=later("Only so many items, drawn by the seed."),
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
        if json_path or plot_path or against:
            raise click.UsageError(tr("list takes no --json, --plot or --against"))
        _list()
        return
    target = Target(json_path)
    chosen = {
        name: options.pop(name) for name in ("protocol", "shots", "seed", "boundary", "limit")
    }
    checked = _check(tasks, data, chosen)
    if plot_path is not None:
        check_plot(plot_path, "".join(checked))
    model = open_model({**options})
    other = None if against is None else open_model({**options, "model": against})
    results: list[Result] = []
    others: list[Result] = []
    for task in tasks:
        results.append(_measured(model, task, data, target.state(task), chosen))
        lines = list(described(results[-1]))
        if other is not None:
            state = target.state(f"{Path(task).stem}.against")
            others.append(_measured(other, task, data, state, chosen))
            lines.append(compared_line(results[-1], others[-1]))
        if not target.printed:
            click.echo("\n".join(lines))
    target.write(
        {
            "results": [result.to_json() for result in results],
            "against": [result.to_json() for result in others],
        }
    )
    if plot_path is not None:
        plot_results(results, plot_path)


def _check(tasks: Sequence[str], data: Path | None, options: dict[str, Any]) -> list[str]:
    """Check all tasks and their files before the first is run; return the names of the tasks.

    Raises:
        RequestError: two tasks have one name.
        ConfigError: see `evaluation.run.check`.
    """
    from cpm_lm.evaluation.run import check

    names = [Path(task).stem for task in tasks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RequestError("the task {name} is given twice; give it once", name=twice)
    given = {k: v for k, v in options.items() if k != "boundary"}
    return [check(task, data, **given).name for task in tasks]


def _measured(
    model: Model, task: str, data: Path | None, state: Path | None, options: dict[str, Any]
) -> Result:
    """Return the result of a task; an interruption says whether it can be continued."""
    from cpm_lm.evaluation.run import evaluate

    try:
        with progress_bar(Path(task).stem) as progress:
            return evaluate(model, task, data, state=state, progress=progress, **options)
    except KeyboardInterrupt:
        if state is not None and state.exists():
            said = tr("interrupted; the same command continues from {path}", path=state)
            click.echo(f"\ncpm: {said}", err=True)
        raise


def _list() -> None:
    from cpm_lm.evaluation.task_file import load_task, task_names

    for name in task_names():
        task = load_task(name)
        click.echo(f"{name:14} v{task.version}  {', '.join(task.protocols):20} {task.title}")
