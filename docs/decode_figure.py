"""Draw docs/figures/decode.svg from the table of eight layers in docs/performance.en.md.

    python docs/decode_figure.py        # without results in the page, nothing is drawn

Knows how `benchmarks/decode.py` writes its block; measures nothing. Both axes are
logarithmic, so that the limit of memory, bandwidth / (weights x bytes of a weight), is a line.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from figures import FONT, figure

PAGE = Path(__file__).with_name("performance.en.md")
MARK = "written by `python -m benchmarks.decode --layers 8`"
SHAPE = re.compile(r"^\d+ x (\d+), (\d+) M parameters", re.MULTILINE)
BANDWIDTH = re.compile(r"^- ([\d.]+) \(([\d.]+)–([\d.]+)\) GB/s read$", re.MULTILINE)
ROW = re.compile(r"^\| (\S+) \| (32|16|8|4) \| ([\d.]+) \(", re.MULTILINE)
POSITIONS = 1024
"""Rows of the position embeddings; a token reads one, so they do not count."""

OURS, PEER, LINE = "#d9480f", "#3f6d9b", "#555"
WIDTH, HEIGHT, TOP, BOTTOM = 930, 600, 40, 540
COLUMN = {32: 90, 16: 300, 8: 510, 4: 720}
"""x by bits of a weight: half the bits are always the same distance to the right."""
GAP = 16
"""Height of a line of text."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The results of one run."""

    weights: float
    """The number that one token reads."""
    bandwidth: tuple[float, float, float]
    """Median, smallest and largest, in bytes per second."""
    points: list[tuple[str, int, float]]
    """Implementation, bits of a weight, tokens per second."""
    void: bool
    """A share of the bandwidth is above 1."""


def measured(page: str) -> Measured | None:
    """Return the results in the page's table, or None if it has none."""
    block = page.partition(f"<!-- begin: {MARK}")[2].partition(f"<!-- end: {MARK}")[0]
    shape, read, rows = SHAPE.search(block), BANDWIDTH.search(block), ROW.findall(block)
    if not (shape and read and rows):
        return None
    middle, low, high = (float(value) * 1e9 for value in read.groups())
    return Measured(
        weights=int(shape[2]) * 1e6 - POSITIONS * int(shape[1]),
        bandwidth=(middle, low, high),
        points=[(name, int(bits), float(speed)) for name, bits, speed in rows],
        void="VOID: shares of read bandwidth" in block,
    )


def text(x, y, words, color="#222", anchor="start", extra=""):
    """Return text with a white outline, so that it is readable on lines."""
    return (
        f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{color}' stroke='#fff' "
        f"stroke-width='3' paint-order='stroke' {FONT} {extra}>{words}</text>"
    )


def line(x, y, to_x, to_y, color=LINE, extra=""):
    """Return a straight line."""
    return (
        f"<line x1='{x:.1f}' y1='{y:.1f}' x2='{to_x:.1f}' y2='{to_y:.1f}' stroke='{color}' "
        f"{extra}/>"
    )


def scale(run):
    """Return the function from tokens per second to height, and the ends of its range."""
    speeds = [speed for _, _, speed in run.points]
    low = min(speeds) / 1.6
    high = max(*speeds, limit(run, run.bandwidth[2], 4)) * 1.25
    step = (BOTTOM - TOP) / math.log(high / low)
    return (lambda speed: BOTTOM - step * math.log(speed / low)), low, high


def limit(run, bandwidth, bits):
    """Return the tokens per second that a bandwidth allows."""
    return bandwidth / (run.weights * bits / 8)


def axes(height, low, high):
    """Return the axes, their ticks and labels."""
    right = WIDTH - 20
    parts = [line(50, BOTTOM, right, BOTTOM), line(50, TOP, 50, BOTTOM)]
    for speed in (digit * 10**power for power in range(-2, 4) for digit in (1, 2, 5)):
        if low <= speed <= high:
            y = height(speed)
            parts += [line(50, y, right, y, "#e4e4e4"), text(44, y + 4, f"{speed:g}", anchor="end")]
    for bits, x in COLUMN.items():
        parts += [line(x, BOTTOM, x, BOTTOM + 5)]
        parts += [text(x, BOTTOM + 20, f"{bits / 8:g}", anchor="middle")]
    words = "bytes per weight (32, 16, 8, 4 bits; without scales), fewer to the right"
    parts += [text((50 + right) / 2, BOTTOM + 42, words, anchor="middle")]
    return [*parts, text(14, TOP - 16, "tokens per second, one text (batch 1)")]


def memory(run, height):
    """Return the limit of memory bandwidth as a line, and its measured range as a band."""
    left, right = COLUMN[32], COLUMN[4]
    middle, low, high = (
        [(x, height(limit(run, b, bits))) for bits, x in ((32, left), (4, right))]
        for b in run.bandwidth
    )
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*low, *reversed(high)])
    x, y = COLUMN[8], height(limit(run, run.bandwidth[0], 8))
    words = f"memory, {run.bandwidth[0] / 1e9:.1f} GB/s read" + (" (void)" if run.void else "")
    return [
        f"<polygon points='{corners}' fill='{LINE}' fill-opacity='0.15'/>",
        line(*middle[0], *middle[1], extra="stroke-width='2' stroke-dasharray='7 4'"),
        text(x - 14, y - 8, words, LINE, "end"),
    ]


def labels(heights):
    """Return the heights of labels, from the highest down, at least GAP apart."""
    placed: list[float] = []
    room: float = BOTTOM - 6
    for y in heights:
        placed.append(max(y, placed[-1] + GAP) if placed else y)
    for i in reversed(range(len(placed))):
        placed[i] = min(placed[i], room)
        room = placed[i] - GAP
    return placed


def column(run, bits, height):
    """Return the points of one number of bits and their names; ours are drawn last."""
    x, own = COLUMN[bits], sorted((p for p in run.points if p[1] == bits), key=lambda p: -p[2])
    if not own:
        return []
    names, dots = [], []
    for (name, _, speed), at in zip(own, labels([height(s) for _, _, s in own]), strict=True):
        ours, y = name.startswith("ours:"), height(speed)
        color, weight = (OURS, "font-weight='bold'") if ours else (PEER, "")
        names += [line(x, y, x + 18, at, color, "stroke-opacity='0.5'")]
        names += [text(x + 21, at + 4, f"{name} {speed:.1f}", color, extra=weight)]
        size = 5 if ours else 4
        dot = f"<circle cx='{x}' cy='{y:.1f}' r='{size}' fill='{color}' stroke='#fff'/>"
        dots.append((ours, dot))
    return names + [dot for _, dot in sorted(dots)]


def main():
    """Draw the figure if the page has results."""
    run = measured(PAGE.read_text("utf-8"))
    if run is None:
        print(f"{PAGE.name} has no results of eight layers; nothing is drawn")
        return
    height, low, high = scale(run)
    points = [part for bits in COLUMN for part in column(run, bits, height)]
    figure("decode", WIDTH, HEIGHT, *axes(height, low, high), *memory(run, height), *points)


if __name__ == "__main__":
    main()
