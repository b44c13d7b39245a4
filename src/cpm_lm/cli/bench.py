"""`cpm bench`: the bandwidth and the peak of this machine, and the shares that a model reaches.

Knows options and printing; does not know how anything is measured.
"""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cpm_lm.cli.console import print_json
from cpm_lm.cli.help_pages import Verb
from cpm_lm.cli.options import json_option, model_option
from cpm_lm.installation import version
from cpm_lm.languages import later, tr

__all__ = ["command"]


@click.command("bench", cls=Verb, short_help=later("Time this machine and a model."))
@model_option
@click.option("--threads", type=click.IntRange(min=1), help=later("Number of CPU threads."))
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, max=3600),
    default=4.0,
    show_default=True,
    help=later("Approximate duration in seconds."),
)
@json_option
def command(model: Path | None, threads: int | None, seconds: float, as_json: bool) -> None:
    """Measure the memory bandwidth and the float32 peak of this machine, and the share of each that
    a model reaches on the native engine. Run nothing else at the same time. Include the result in
    bug reports.
    """
    from cpm_lm.engines.machine import processor
    from cpm_lm.engines.select import open_engine
    from cpm_lm.home import DEMO

    engine: Any = open_engine(model or DEMO, engine="native", threads=threads)
    from cpm_lm.engines.native.bench import measure

    found = {
        "version": version(),
        "processor": processor(),
        "instruction_set": engine.pool.instruction_set,
        "cpus": os.cpu_count(),
        "threads": engine.threads,
        "system": platform.platform(),
        "python": platform.python_version(),
        "model": {**dataclasses.asdict(engine.config), "weights": engine.element},
        **measure(engine, seconds).to_json(),
    }
    if as_json:
        print_json(found)
    else:
        for line in lines(found):
            click.echo(line)


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield one line per property, then a table of the steps."""
    model = found["model"]
    about = {
        tr("version"): f"cpm-lm {found['version']}, Python {found['python']}, {found['system']}",
        tr("processor"): f"{found['processor']}, {found['cpus']} CPUs",
        tr("engine"): f"native, {found['instruction_set']}, {found['threads']} thread(s)",
        tr("model"): tr(
            "{layers} layers x {width}, {heads} heads, {pieces} pieces, {weights}",
            layers=model["n_layer"],
            width=model["n_embd"],
            heads=model["n_head"],
            pieces=model["vocab_size"],
            weights=model["weights"],
        ),
        tr("read bandwidth"): f"{found['read_bytes_per_second'] / 1e9:.1f} GB/s",
        tr("peak"): f"{found['float32_operations_per_second'] / 1e9:.0f} GFLOP/s",
        tr("weights per step"): f"{found['weight_bytes'] / 1e6:.1f} MB",
    }
    yield from (f"{label}: {value}" for label, value in about.items())
    yield f"{'':<12}{'ms':>10}{'tokens/s':>12}{'bandwidth':>12}{'peak':>9}{'Python':>9}"
    for step in found["steps"]:
        yield (
            f"{step['name']:<12}{1e3 * step['seconds']:>10.3g}{step['tokens_per_second']:>12.4g}"
            f"{step['of_bandwidth']:>12.0%}{step['of_peak']:>9.0%}{step['of_python']:>9.0%}"
        )
    if any(step["of_peak"] > 1 for step in found["steps"]):
        yield (tr("More than the measured peak: another program was running. Measure again."))
    elif any(step["of_bandwidth"] > 1 for step in found["steps"]):
        yield (tr("The weights are in the processor's cache, which is faster than memory."))
