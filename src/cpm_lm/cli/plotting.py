"""Plot the bar chart of a vote with matplotlib, in a font that has all its characters.

Knows the result of a vote; does not know how it was reached.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cpm_lm.checkpoints.staging import staged_file
from cpm_lm.cli.bars import shortened, visible
from cpm_lm.errors import RequestError
from cpm_lm.evaluation.result import Result
from cpm_lm.generation.vote import Vote
from cpm_lm.installation import pip_install

__all__ = ["check_plot", "plot", "plot_results", "title"]

PROBE = "的一是不了在人有我他北京春雨书，。"
"""Characters that a Chinese font has, and that answers are likely to have."""
ANSWERS = 20
"""The maximum number of bars."""


def check_plot(path: Path, names: str = "") -> None:
    """Check that a plot can be drawn, before anything is computed.

    Args:
        path: the picture.
        names: what it will show, if that is known.

    Raises:
        RequestError: the file's suffix is not .png or .svg, its directory does not exist,
            matplotlib is not installed, or no font has the characters.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise RequestError(
            "--plot: unsupported format {path_name}; use .png or .svg", path_name=path.name
        )
    if not path.absolute().parent.is_dir():
        raise RequestError(
            "--plot: there is no directory {folder}; create it, or give another path",
            folder=path.parent,
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise RequestError(
            "--plot needs matplotlib; install it: {command}", command=pip_install("plot")
        )
    if names:  # beside Chinese names there may be other Chinese text
        font_for(names + PROBE if any(c >= "\u2e80" for c in names) else names)


def plot(vote: Vote, prompt: str, path: Path) -> None:
    """Plot the tally with its intervals or bounds, the winner on top.

    Raises:
        RequestError: there is no answer, or no font has the characters of the answers.
        CheckpointError: the file cannot be written.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = vote.tally[:ANSWERS]
    if not shown:
        raise RequestError("no text gave an answer, so there is nothing to plot")
    # matplotlib warns if a font lacks the weight asked for; the weight it has will do.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    names = [shortened(visible(row.answer), 30) or '""' for row in shown]
    heading = title(prompt)
    # Not math text, even if prompts and answers contain dollar signs.
    with rc_context({"font.family": font_for("".join(names) + heading), "text.parse_math": False}):
        figure = Figure(figsize=(7, 1.2 + 0.32 * len(shown)), layout="constrained")
        axes = figure.subplots()
        shares = [row.share for row in shown]
        axes.barh(range(len(shown)), shares, color="#4c78a8", xerr=_error_bars(vote), capsize=2)
        axes.set_yticks(range(len(shown)), names)
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.set_xlabel("share of texts" if vote.drawn else "probability")
        axes.set_title(heading)
        with staged_file(path, overwrite=True) as work:
            figure.savefig(work, dpi=150)


def plot_results(results: Sequence[Result], path: Path) -> None:
    """Plot the value of each task with its standard error, and chance as a mark."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    names = [shortened(visible(f"{each.task} ({each.protocol})"), 30) for each in results]
    places = list(range(len(results)))
    with rc_context({"font.family": font_for("".join(names)), "text.parse_math": False}):
        figure = Figure(figsize=(7, 1.4 + 0.42 * len(results)), layout="constrained")
        axes = figure.subplots()
        values = [result.value for result in results]
        errors = [result.standard_error or 0 for result in results]
        axes.barh(places, values, color="#4c78a8", xerr=errors, capsize=3, height=0.6)
        known = [(at, r.chance) for at, r in enumerate(results) if r.chance is not None]
        for at, chance in known:
            axes.plot([chance, chance], [at - 0.4, at + 0.4], color="#e45756", linewidth=2)
        axes.set_yticks(places, names)
        axes.set_ylim(len(results) - 0.4, -0.6)  # the first on top, and no bar wider than another's
        axes.set_xlim(0, 1.03)
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.set_xlabel("value and standard error" + ("; red: chance" if known else ""))
        figure.savefig(path, dpi=150)


def title(prompt: str) -> str:
    """Return the title of the plot: the prompt's last line."""
    return shortened(visible(prompt.rstrip("\n").rpartition("\n")[2]), 60)


def _error_bars(vote: Vote) -> Any:
    """Return the lengths of the intervals below and above the shares, or None."""
    shown = vote.tally[:ANSWERS]
    below = [row.share - row.low for row in shown if row.low is not None]
    above = [row.high - row.share for row in shown if row.high is not None]
    return [below, above] if below and above else None


def font_for(text: str) -> str:
    """Return the name of an installed font that has all characters of a text.

    Raises:
        RequestError: there is none, so the plot would show empty boxes.
    """
    characters = {ord(c) for c in text if not c.isspace()}
    if (name := _find_font(characters)) is None:
        _add_new_fonts()
        name = _find_font(characters)
    if name is None:
        raise RequestError(
            "no installed font has all characters of the plot, {chr!r} among "
            "them; install a Chinese font, such as Noto Sans CJK (Debian: apt "
            "install fonts-noto-cjk)",
            chr=chr(max(characters)),
        )
    return name


def _find_font(characters: set[int]) -> str | None:
    """Return a known font with all these characters: the default one, or a CJK font if possible."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    default = font_manager.FontProperties(family="DejaVu Sans").get_name()
    fonts = font_manager.fontManager.ttflist
    for font in sorted(fonts, key=lambda font: (font.name != default, not _is_cjk(font.name))):
        if font.style == "normal" and "Last Resort" not in font.name:
            try:
                has = FT2Font(font.fname).get_charmap()
            except (OSError, RuntimeError):  # a file that is missing or damaged
                continue
            if characters <= has.keys():
                return str(font.name)
    return None


def _add_new_fonts() -> None:
    """Find fonts installed since matplotlib cached its list of fonts."""
    from matplotlib import font_manager

    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - known:
        with suppress(OSError, RuntimeError):
            font_manager.fontManager.addfont(path)


def _is_cjk(name: str) -> bool:
    """Return whether a font's name is that of a known Chinese font."""
    known = ("CJK", "Source Han", "WenQuanYi", "PingFang", "YaHei", "SimHei", "Hiragino", "Heiti")
    return any(part in name for part in known)
