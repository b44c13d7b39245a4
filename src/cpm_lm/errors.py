"""Every error that a user or a file can cause.

    CpmError
    ├── CheckpointError      a weight file is missing, damaged, inconsistent or unsafe
    ├── TokenizerError       vocabulary files are missing or do not fit together
    ├── ConfigError          a model shape or an option is wrong or unknown
    ├── RequestError         a call asks for what cannot be done (empty prompt, id out of range)
    ├── CapacityError        a session, the context or the memory is full
    └── EngineError          an engine is unknown, not installed, or cannot run in this process

A message says what was found, what was expected, where, and what to do.
"""

__all__ = [
    "CapacityError",
    "CheckpointError",
    "ConfigError",
    "CpmError",
    "EngineError",
    "RequestError",
    "TokenizerError",
]


class CpmError(Exception):
    """The root of all errors of this package; catch it to catch them all."""


class CheckpointError(CpmError):
    """A weight file is missing, damaged, inconsistent or unsafe."""


class TokenizerError(CpmError):
    """Vocabulary files are missing or do not fit together."""


class ConfigError(CpmError):
    """A model shape or an option is wrong or unknown."""


class RequestError(CpmError):
    """A call asks for what cannot be done."""


class CapacityError(CpmError):
    """A session, the context or the memory is full."""


class EngineError(CpmError):
    """An engine is unknown, not installed, or cannot run in this process."""
