"""What `cpm eval` prints and writes: the lines of a result, and the file of --json.

Knows results and files; does not know how anything is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpm_lm.checkpoints.staging import staged_file
from cpm_lm.cli.console import json_text
from cpm_lm.languages import tr

if TYPE_CHECKING:
    from cpm_lm.evaluation.result import Result

__all__ = ["Target", "compared_line", "described"]


class Target:
    """Where --json goes: nowhere, to standard output, or to a file that is replaced at the end.

    Args:
        path: the option's value.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.printed = path == Path("-")
        """Whether the JSON is what is printed."""
        self._states: list[Path] = []

    def state(self, task: str) -> Path | None:
        """Return the file beside it that keeps what is done of a task; None: nothing is kept."""
        if self._path is None or self.printed or self._stream():
            return None
        self._states.append(self._path.with_name(f"{self._path.name}.{_stem(task)}.partial"))
        return self._states[-1]

    def write(self, told: Any) -> None:
        """Write the results, then remove what was kept for an interruption.

        Raises:
            CpmError: the file cannot be written; what was kept is still there.
        """
        if self._path is None:
            return
        text = json_text(told) + "\n"
        if self.printed:
            click.echo(text, nl=False)
        elif self._stream():
            self._path.write_text(text, "utf-8")
        else:
            with staged_file(self._path, overwrite=True) as work:
                work.write_text(text, "utf-8")
        for state in self._states:
            state.unlink(missing_ok=True)

    def _stream(self) -> bool:
        """Say whether the path is a pipe or a device, beside which nothing can be kept."""
        return self._path is not None and self._path.exists() and not self._path.is_file()


def _stem(task: str) -> str:
    return Path(task).name.removesuffix(".toml")


def described(result: Result) -> Iterator[str]:
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
    yield "  " + tr(
        "model {digest}, {engine}, cpm-lm {package}",
        digest=result.model_digest[:12] or "?",
        engine=result.engine,
        package=result.package,
    )


def compared_line(result: Result, other: Result) -> str:
    """Return the line that tells what another model's result is, and whether it differs."""
    from cpm_lm.evaluation.result import compared

    found = compared(result, other)
    p = "" if found.p_value is None else f", McNemar p = {found.p_value:.3g}"
    return f"  {other.model_digest[:12] or '?'}: {other.value:.1%}, {found.difference:+.1%} " + tr(
        "(95% from {low:+.1%} to {high:+.1%}){p}", low=found.low, high=found.high, p=p
    )
