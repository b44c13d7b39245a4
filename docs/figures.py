"""Draw the figures of docs/conversion.md: how tensors are sharded over ranks and joined.

    python docs/figures.py        # rewrites docs/figures/*.svg

Plain SVG, to scale for two ranks; the bytes are the same every time.
"""

from pathlib import Path

COLORS = {"0": "#9ecae9", "1": "#ffbf79"}
FONT = "font-family='sans-serif' font-size='13'"


def block(x, y, width, height, label, color, shade=1.0):
    """Return a labeled rectangle; `shade` distinguishes q, k and v of one rank."""
    return (
        f"<rect x='{x}' y='{y}' width='{width}' height='{height}' fill='{color}' "
        f"fill-opacity='{shade}' stroke='#333'/>"
        f"<text x='{x + width / 2}' y='{y + height / 2 + 5}' text-anchor='middle' {FONT}>"
        f"{label}</text>"
    )


def caption(x, y, words):
    """Return a line of text, centered at x."""
    return f"<text x='{x}' y='{y}' text-anchor='middle' {FONT}>{words}</text>"


def arrow(x, y):
    """Return an arrow from the ranks to the whole."""
    return f"<path d='M{x} {y}h36m-10 -7l10 7l-10 7' fill='none' stroke='#333' stroke-width='2'/>"


def figure(name, width, height, *parts):
    """Write one figure."""
    body = "".join(parts)
    Path(__file__).with_name("figures").mkdir(exist_ok=True)
    path = Path(__file__).with_name("figures") / f"{name}.svg"
    path.write_text(
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' "
        f"width='{width}' height='{height}'><rect width='100%' height='100%' fill='#fff'/>"
        f"{body}</svg>\n",
        encoding="utf-8",
    )


def axis_0():
    """Draw the tensors sharded along axis 0."""
    blue, orange = COLORS["0"], COLORS["1"]
    figure(
        "axis0",
        560,
        200,
        block(20, 60, 130, 60, "rank 0", blue),
        block(180, 60, 130, 60, "rank 1", orange),
        caption(165, 150, "[V/2, D]"),
        arrow(325, 90),
        block(385, 30, 130, 60, "rank 0", blue),
        block(385, 90, 130, 60, "rank 1", orange),
        caption(450, 175, "[V, D]"),
    )


def axis_1():
    """Draw the tensors sharded along axis 1."""
    blue, orange = COLORS["0"], COLORS["1"]
    figure(
        "axis1",
        600,
        200,
        block(20, 30, 65, 120, "rank 0", blue),
        block(115, 30, 65, 120, "rank 1", orange),
        caption(100, 175, "[D, D/2]"),
        arrow(200, 90),
        block(260, 30, 65, 120, "rank 0", blue),
        block(325, 30, 65, 120, "rank 1", orange),
        caption(325, 175, "[D, D]"),
        arrow(410, 90),
        block(465, 30, 120, 60, "rank 0 ᵀ", blue),
        block(465, 90, 120, 60, "rank 1 ᵀ", orange),
        caption(525, 175, "Keras: [in, out]"),
    )


def fused_qkv():
    """Draw the fused queries, keys and values, which must be split before they are joined."""
    shades = {"q": 1.0, "k": 0.65, "v": 0.35}
    ranks = [
        block(20 + 160 * r, 60 + 40 * i, 130, 40, f"{part} · rank {r}", COLORS[str(r)], shade)
        for r in (0, 1)
        for i, (part, shade) in enumerate(shades.items())
    ]
    whole = [
        block(385, 20 + 40 * (2 * i + r), 130, 40, f"{part} · rank {r}", COLORS[str(r)], shade)
        for i, (part, shade) in enumerate(shades.items())
        for r in (0, 1)
    ]
    figure(
        "qkv",
        560,
        300,
        *ranks,
        caption(165, 215, "[3 D/2, D]"),
        arrow(325, 120),
        *whole,
        caption(450, 285, "[3 D, D]"),
    )


if __name__ == "__main__":
    axis_0()
    axis_1()
    fused_qkv()
