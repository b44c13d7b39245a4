"""Measure the share of a decode step outside the kernels, on the model in the package.

    python -m benchmarks.python_share

Every kernel call is timed. The rest of a step is Python, small numpy calls and the timing itself,
so the true share is at most the printed one. The time of a step is measured without the timing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from cpm_lm.engines.forest import chain
from cpm_lm.engines.select import open_engine
from cpm_lm.model import DEMO

KERNELS = ("linear", "layer_norm", "gelu", "attention", "embedding")
CONTEXT = 32


@contextmanager
def timed_kernels(module: Any) -> Iterator[list[float]]:
    """Time the kernels of a module; yield the list of seconds, one entry a call."""
    taken: list[float] = []

    def timed(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            result = kernel(*args, **options)
            taken.append(time.perf_counter() - start)
            return result

        return call

    kernels = {name: getattr(module, name) for name in KERNELS}
    for name, kernel in kernels.items():
        setattr(module, name, timed(kernel))
    try:
        yield taken
    finally:
        for name, kernel in kernels.items():
            setattr(module, name, kernel)


def steps(session: Any, count: int, taken: list[float]) -> tuple[list[float], list[float]]:
    """Return the seconds of each step of one text, and those that kernels added to `taken`."""
    nodes, _ = session.extend([1] * CONTEXT, chain(CONTEXT))
    root, whole, inside = nodes[:1], [], []
    for token in range(count):
        taken.clear()
        start = time.perf_counter()
        nodes, _ = session.extend([token], nodes[-1:])
        whole.append(time.perf_counter() - start)
        inside.append(sum(taken))
    session.release(root)
    return whole, inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    from cpm_lm import _native

    engine = open_engine(DEMO, engine="native", threads=args.threads)
    session = engine.session(1024)
    steps(session, args.steps, [])  # warm-up
    tokens: list[float] = []
    shares: list[float] = []
    for _ in range(args.rounds):
        tokens += steps(session, args.steps, [])[0]
        with timed_kernels(_native) as taken:
            whole, inside = steps(session, args.steps, taken)
        shares += [1 - kernels / step for step, kernels in zip(whole, inside, strict=True)]
    print(
        f"the model in the package: {1e6 * statistics.median(tokens):.0f} us a token, "
        f"{args.threads} threads, of which Python at most {statistics.median(shares):.0%}"
    )


if __name__ == "__main__":
    main()
