"""`cpm sample`: draw continuations of a prompt.

Knows options and printing; does not know how texts are drawn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import click

from cpm_lm.cli.console import Text, print_json
from cpm_lm.cli.logprobs import print_logprobs
from cpm_lm.cli.options import json_option, model_options, open_model, sampling_options
from cpm_lm.cli.presetting import preset_option
from cpm_lm.cli.prompting import PromptCommand, cost, echo_note, print_notes
from cpm_lm.cli.punctuation import OnText, widening, writes_narrow
from cpm_lm.languages import later, tr

__all__ = ["command"]


class OrderedPrinter:
    """Prints texts in order while all of them are drawn at the same time.

    The current text is printed while it is drawn; the parts of later texts are buffered.
    """

    def __init__(self, n: int) -> None:
        self.texts = [""] * n
        self.ended = [False] * n
        self.at = 0
        self.labelled = n > 1
        self.begun = False

    def feed(self, index: int, text: str, ended: bool) -> None:
        """Print or buffer the next part of one text."""
        if not self.begun:  # not earlier: a refused request prints nothing
            self.begun = True
            self._begin()
        self.ended[index] = ended
        if index != self.at:
            self.texts[index] += text
            return
        click.echo(text, nl=False)
        while self.at < len(self.ended) and self.ended[self.at]:
            click.echo()
            self.at += 1
            self._begin()

    def end_line(self) -> None:
        """End the line of a text that was interrupted."""
        if self.begun and self.at < len(self.ended):
            with contextlib.suppress(OSError):
                click.echo()

    def _begin(self) -> None:
        if self.at < len(self.texts):
            label = f"[{self.at + 1}] " if self.labelled else ""
            click.echo(label + self.texts[self.at], nl=False)


@click.command("sample", cls=PromptCommand, short_help=later("Continue a prompt."))
@click.argument("prompt", type=Text())
@sampling_options
@preset_option
@model_options
@json_option
def command(prompt: str, as_json: bool, raw: bool, verbose: bool, **options: Any) -> None:
    """Continue PROMPT (`-` reads it from standard input).

    \b
    cpm sample '今天天气不错' -n 3
    """
    opened = open_model(options)
    opened.tokenizer.encode(prompt)  # opens the table of words, no part of the time shown
    printer = OrderedPrinter(options["n"])
    feed: OnText | None = None if as_json else printer.feed
    if feed and not raw and writes_narrow(opened.tokenizer, prompt):
        feed = widening(feed, options["n"], prompt)
    started = time.perf_counter()
    try:
        samples = opened.sample(prompt, **options, on_text=feed)
    except BaseException:  # also Ctrl-C
        printer.end_line()
        raise
    seconds = time.perf_counter() - started
    first = samples[0]
    if as_json:
        print_json(
            {
                "prompt": prompt,
                "engine": opened.engine.name,
                "seed": first.seed,
                "rows": first.rows,
                "rows_unmerged": first.rows_unmerged,
                "seconds": round(seconds, 3),
                "note": first.note,
                "samples": [
                    {
                        key: value
                        for key, value in dataclasses.asdict(sample).items()
                        if key not in ("seed", "rows", "rows_unmerged", "note")
                    }
                    for sample in samples
                ],
            }
        )
        return
    print_logprobs(samples)
    echo_note(
        tr(", ").join(
            [
                tr("seed {seed}", seed=first.seed),
                cost(first.rows, first.rows_unmerged, seconds),
                opened.engine.name,
            ]
        )
    )
    print_notes(opened, prompt, first.note, verbose=verbose, special=options["special"])
