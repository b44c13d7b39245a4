"""The bar chart of a vote as a picture, by matplotlib, with a font that has every character."""

from __future__ import annotations

import importlib.util
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from cpm_lm.cli.bars import shortened, visible
from cpm_lm.errors import RequestError
from cpm_lm.generation.vote import Vote

__all__ = ["check_plot", "plot"]

ANSWERS = 20
"""The most bars of a picture."""


def check_plot(path: Path) -> None:
    """Refuse a picture that cannot be drawn, before anything is computed.

    Raises:
        RequestError: the file's ending is not png or svg, or matplotlib is not installed.
    """
    if path.suffix.lower() not in (".png", ".svg"):
        raise RequestError(f"the picture is to be {path.name}; its name must end in .png or .svg")
    if importlib.util.find_spec("matplotlib") is None:
        raise RequestError("--plot needs matplotlib; install it: pip install 'cpm-lm[plot]'")


def plot(vote: Vote, prompt: str, path: Path) -> None:
    """Draw the tally, the winner on top, with its intervals or bounds.

    Raises:
        RequestError: there is nothing to draw, or no font has the characters of the answers.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = vote.tally[:ANSWERS]
    if not shown:
        raise RequestError("no text gave an answer, so there is nothing to draw")
    # A font without the very weight asked for is drawn in the one it has, and that is fine.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    names = [shortened(visible(row.answer), 30) or '""' for row in shown]
    title = shortened(visible(prompt.rstrip("\n").rpartition("\n")[2]), 60)
    # Text of prompts and answers is never mathematics, whatever dollars it holds.
    with rc_context({"font.family": font_for("".join(names) + title), "text.parse_math": False}):
        figure = Figure(figsize=(7, 1.2 + 0.32 * len(shown)), layout="constrained")
        axes = figure.subplots()
        shares = [row.share for row in shown]
        axes.barh(range(len(shown)), shares, color="#4c78a8", xerr=_reach(vote), capsize=2)
        axes.set_yticks(range(len(shown)), names)
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.set_xlabel("share of texts" if vote.drawn else "probability")
        axes.set_title(title)
        figure.savefig(path, dpi=150)


def _reach(vote: Vote) -> Any:
    """Return how far the intervals reach below and above the shares, or None."""
    shown = vote.tally[:ANSWERS]
    below = [row.share - row.low for row in shown if row.low is not None]
    above = [row.high - row.share for row in shown if row.high is not None]
    return [below, above] if below and above else None


def font_for(text: str) -> str:
    """Return the name of an installed font that has all characters of a text.

    Raises:
        RequestError: there is none, and the picture would show empty boxes.
    """
    wanted = {ord(c) for c in text if not c.isspace()}
    if (name := _having(wanted)) is None:
        _look_again()
        name = _having(wanted)
    if name is None:
        raise RequestError(
            f"no installed font has all characters of the answers, {chr(max(wanted))!r} among "
            "them; install a Chinese font, such as Noto Sans CJK (Debian: apt install "
            "fonts-noto-cjk)"
        )
    return name


def _having(wanted: set[int]) -> str | None:
    """Return the first known font with all these characters, those that suit Chinese first."""
    from matplotlib import font_manager
    from matplotlib.ft2font import FT2Font

    default = font_manager.FontProperties(family="DejaVu Sans").get_name()
    fonts = font_manager.fontManager.ttflist
    for font in sorted(fonts, key=lambda font: (font.name != default, not _is_cjk(font.name))):
        if font.style == "normal" and "Last Resort" not in font.name:
            try:
                has = FT2Font(font.fname).get_charmap()
            except (OSError, RuntimeError):  # a file that went away or is damaged
                continue
            if wanted <= has.keys():
                return str(font.name)
    return None


def _look_again() -> None:
    """Find fonts installed since matplotlib wrote the list that it keeps between runs."""
    from matplotlib import font_manager

    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in set(font_manager.findSystemFonts()) - known:
        with suppress(OSError, RuntimeError):
            font_manager.fontManager.addfont(path)


def _is_cjk(name: str) -> bool:
    """Say whether a font is one of those that draw Chinese well."""
    known = ("CJK", "Source Han", "WenQuanYi", "PingFang", "YaHei", "SimHei", "Hiragino", "Heiti")
    return any(part in name for part in known)
