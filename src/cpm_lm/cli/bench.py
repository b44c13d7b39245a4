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

__all__ = ["command"]


@click.command(
    "bench", cls=Verb, short_help="测这台机器和模型的速度。Time this machine and a model."
)
@model_option
@click.option("--threads", type=click.IntRange(min=1), help="线程数。Number of CPU threads.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, max=3600),
    default=4.0,
    show_default=True,
    help="测量时长（秒），近似值。Approximate duration in seconds.",
)
@json_option
def command(model: Path | None, threads: int | None, seconds: float, as_json: bool) -> None:
    """测量这台机器的内存带宽和算力，以及模型用 native 引擎达到其百分之几。

    测量时不要运行其他程序；报告问题时请附上结果。

    Measure the memory bandwidth and the float32 peak of this machine, and the share of each that a
    model reaches on the native engine. Run nothing else at the same time. Include the result in bug
    reports.
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
        "版本 version": f"cpm-lm {found['version']}, Python {found['python']}, {found['system']}",
        "处理器 processor": f"{found['processor']}, {found['cpus']} CPUs",
        "计算引擎 engine": f"native, {found['instruction_set']}, {found['threads']} thread(s)",
        "模型 model": f"{model['n_layer']} layers x {model['n_embd']}, {model['n_head']} heads, "
        f"{model['vocab_size']} pieces, {model['weights']}",
        "内存带宽 read bandwidth": f"{found['read_bytes_per_second'] / 1e9:.1f} GB/s",
        "float32 算力 peak": f"{found['float32_operations_per_second'] / 1e9:.0f} GFLOP/s",
        "每步读权重 weights per step": f"{found['weight_bytes'] / 1e6:.1f} MB",
    }
    yield from (f"{label}: {value}" for label, value in about.items())
    yield f"{'':<12}{'ms':>10}{'tokens/s':>12}{'bandwidth':>12}{'peak':>9}{'Python':>9}"
    for step in found["steps"]:
        yield (
            f"{step['name']:<12}{1e3 * step['seconds']:>10.3g}{step['tokens_per_second']:>12.4g}"
            f"{step['of_bandwidth']:>12.0%}{step['of_peak']:>9.0%}{step['of_python']:>9.0%}"
        )
    if any(step["of_peak"] > 1 for step in found["steps"]):
        yield (
            "超过了测得的峰值：测量时有其他程序在运行，请重新测量。"
            "More than the measured peak: another program was running. Measure again."
        )
    elif any(step["of_bandwidth"] > 1 for step in found["steps"]):
        yield (
            "权重在处理器缓存里，所以超过内存带宽。"
            "The weights are in the processor's cache, which is faster than memory."
        )
