"""How much of a token's time our engine spends outside its kernels, on the model in the package.

    python -m benchmarks.python_share

Two kinds of turns alternate: the engine as it is, and with a clock around each kernel. What the
kernels do not take of the first is Python (and the small numpy calls between them).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cpm_lm.engines.select import open_engine
from cpm_lm.model import DEMO

KERNELS = ("linear", "layer_norm", "gelu", "attention", "embedding")
CONTEXT = 32


@contextmanager
def clocked(module: Any) -> Iterator[list[float]]:
    """Yield a list of the seconds that each call of a kernel takes."""
    taken: list[float] = []

    def around(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = kernel(*args, **options)
            taken.append(time.perf_counter() - start)
            return result

        return call

    kernels = {name: getattr(module, name) for name in KERNELS}
    for name, kernel in kernels.items():
        setattr(module, name, around(kernel))
    try:
        yield taken
    finally:
        for name, kernel in kernels.items():
            setattr(module, name, kernel)


def steps(session: Any, count: int) -> list[float]:
    """Return the seconds of each step of one text after a short context."""
    nodes, _ = session.extend([1] * CONTEXT, [-1, *range(-2, -1 - CONTEXT, -1)])
    root, taken = nodes[:1], []
    for token in range(count):
        start = time.perf_counter()
        nodes, _ = session.extend([token], nodes[-1:])
        taken.append(time.perf_counter() - start)
    session.release(root)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    from cpm_lm import _native

    engine = open_engine(DEMO, engine="native", threads=args.threads)
    session = engine.session(1024)
    steps(session, args.steps)  # cold
    whole, inside = [], []
    for _ in range(args.rounds):
        whole.append(statistics.median(steps(session, args.steps)))
        with clocked(_native) as taken:
            steps(session, args.steps)
        first = len(taken) // (args.steps + 1)  # the context's kernels
        inside.append(sum(taken[first:]) / args.steps)
    token, kernels = statistics.median(whole), statistics.median(inside)
    print(
        f"the model in the package: {1e6 * token:.0f} us a token, {args.threads} threads, "
        f"of which Python {1 - kernels / token:.0%}"
    )


if __name__ == "__main__":
    main()
