"""The options of an engine: defaults, ranges and help texts, defined only here.

Knows the engines by name; does not know how they compute.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cpm_lm.choices import CacheDtype, EngineName, choices
from cpm_lm.engines.machine import MAX_THREADS, threads_from_environment
from cpm_lm.errors import EngineError
from cpm_lm.languages import later

__all__ = ["ENGINES", "EngineOptions"]

ENGINES = tuple(name for name in choices(EngineName) if name != "auto")


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """The options of `open_engine`.

    Raises:
        EngineError: a value is out of its range, or belongs to another engine.
    """

    engine: EngineName = field(default="auto", metadata={"help": later("Compute engine.")})
    """native, tensorflow, jax, reference, or auto: jax or tensorflow if it is installed and there
    is a GPU, else native if this installation has the kernels, else reference."""
    threads: int | None = field(default=None, metadata={"help": later("Number of CPU threads.")})
    """The number of CPU threads, 1 to 1024; None for the environment variable CPM_THREADS, or
    without it the engine's own choice. All engines of a framework in one process share them."""
    cache_dtype: CacheDtype | None = None
    """The dtype of the KV cache, f32 (the default) or f16; native only. f16 takes half the memory
    and rounds keys and values to 11 bits, which changes the logits."""
    cache_bytes: int | None = None
    """The maximum size in bytes of one session's KV cache; None for the memory available when the
    cache grows; native only."""

    def __post_init__(self) -> None:
        if self.engine not in choices(EngineName):
            known = ", ".join(choices(EngineName))
            raise EngineError(
                "engine {engine!r} is unknown; expected one of {known}",
                engine=self.engine,
                known=known,
            )
        if self.threads is not None and not 1 <= self.threads <= MAX_THREADS:
            raise EngineError(
                "threads is {threads}; 1 to {max_threads} were expected",
                threads=self.threads,
                max_threads=MAX_THREADS,
            )

    @property
    def thread_count(self) -> int | None:
        """The number of threads given here or in CPM_THREADS; None for the engine's own choice.

        Raises:
            EngineError: CPM_THREADS is not a number of threads.
        """
        return threads_from_environment() if self.threads is None else self.threads

    def refuse_native_options(self, engine: str) -> None:
        """Check that no option of the native engine is set.

        Raises:
            EngineError: an option is set that this engine does not have.
        """
        for name in ("cache_bytes", "cache_dtype"):
            if getattr(self, name) is not None:
                raise EngineError(
                    "{name} was given, which the {engine} engine does not have; leave it "
                    "out, or ask for engine='native'",
                    name=name,
                    engine=engine,
                )
