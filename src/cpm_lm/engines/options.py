"""What a caller may choose about an engine: the one place of defaults, ranges and words.

Knows the engines by name; does not know how they compute.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cpm_lm.engines.machine import MAX_THREADS, threads_from_environment
from cpm_lm.errors import EngineError

__all__ = ["ENGINES", "EngineOptions"]

ENGINES = ("native", "tensorflow", "jax", "reference")


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """The options of `open_engine`.

    Raises:
        EngineError: a value is out of its range, or belongs to another engine.
    """

    engine: str = field(default="auto", metadata={"help": "用什么计算。What computes."})
    """native, tensorflow, jax or reference; auto for what suits this machine: one of the frameworks
    if it is installed and there is a GPU, else native if this installation has it, else
    reference."""
    threads: int | None = field(default=None, metadata={"help": "线程数。Threads the engine uses."})
    """How many threads compute on the CPU, 1 to 1024; None for what the environment variable
    CPM_THREADS says, or else the engine's own choice. All engines of a framework in one process
    share them."""
    cache_dtype: str | None = None
    """How keys and values are kept, f32 (the default) or f16; native only. f16 takes half the
    memory, and moves logits by what rounding to 11 bits does."""
    cache_bytes: int | None = None
    """The most memory for keys and values of one session; None for what the machine has left when
    it is needed; native only."""

    def __post_init__(self) -> None:
        if self.engine not in ("auto", *ENGINES):
            raise EngineError(
                f"engine {self.engine!r} is unknown; expected one of auto, {', '.join(ENGINES)}"
            )
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise EngineError(f"threads is {self.threads}; 1 to {MAX_THREADS} were expected")

    @property
    def thread_count(self) -> int | None:
        """The number asked for, here or in the environment; None for the engine's own choice.

        Raises:
            EngineError: CPM_THREADS is not a number of threads.
        """
        return threads_from_environment() if self.threads is None else self.threads

    def refuse_native_options(self, engine: str) -> None:
        """Refuse what only the native engine has.

        Raises:
            EngineError: names the option and the engine.
        """
        for name in ("cache_bytes", "cache_dtype"):
            if getattr(self, name) is not None:
                raise EngineError(
                    f"{name} was given, which the {engine} engine does not have; "
                    "leave it out, or ask for engine='native'"
                )
