"""The published models as `cpm pull` shows and completes them.

Knows their names and sizes; does not know the hub.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cpm_lm.checkpoints.known.published import PUBLISHED
from cpm_lm.cli.figures import bytes_text, count_text
from cpm_lm.cli.help_pages import Verb

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["PublishedName", "PullCommand"]


class PullCommand(Verb):
    """Lists the known models below its description."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the description, the models and examples."""
        super().format_help_text(ctx, formatter)
        rows = []
        for model in PUBLISHED:
            size = f"{count_text(model.parameters)}, {bytes_text(model.download_bytes)}"
            rows.append((model.short, f"{size}, {model.name.split('/')[0]}"))
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_dl(rows, col_max=30)
            formatter.write_paragraph()
            formatter.write_text(
                "\b\ncpm pull CPM-Generate --weights f16\n"
                "HF_ENDPOINT=https://hf-mirror.com cpm pull gpt2-chinese-cluecorpussmall"
            )


class PublishedName(click.ParamType[str]):
    """A name on the hub."""

    name = "model"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the name."""
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Return the known names that begin so, with or without their owner."""
        from click.shell_completion import CompletionItem

        names = [name for model in PUBLISHED for name in (model.short, model.name)]
        given = incomplete.casefold()
        return [CompletionItem(name) for name in names if name.casefold().startswith(given)]
