"""Numbers for people: sizes and counts in their largest unit, and the memory of engines.

Knows numbers; does not know how they were found.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from cpm_lm.languages import tr

if TYPE_CHECKING:
    from cpm_lm.engines.footprint import EngineMemory

__all__ = ["bytes_text", "count_text", "memory_lines"]


def bytes_text(count: int) -> str:
    """Return a number of bytes in the largest unit below it.

    >>> bytes_text(8_614_272)
    '8.6 MB'
    """
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def count_text(count: int) -> str:
    """Return a number of parameters with three digits at most.

    >>> [count_text(n) for n in (2_597_073_920, 108_882_432, 4_303_872)]
    ['2.6 B', '109 M', '4.3 M']
    """
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.{0 if count >= 100 * size else 1}f} {unit}"
    return str(count)


def memory_lines(memory: Iterable[EngineMemory]) -> list[str]:
    """Return a line for the memory that each engine needs."""
    return [
        tr(
            "memory: {engine:<10} {total} = {weights} weights{mapped} + {context} full KV cache",
            engine=need.engine,
            total=bytes_text(need.total),
            weights=bytes_text(need.weights),
            mapped=tr(" (mapped)") if need.mapped else "",
            context=bytes_text(need.context),
        )
        for need in memory
    ]
