"""The errors that a user or a file can cause, as one exception tree.

    CpmError
    ├── CheckpointError      a weight file is missing, damaged, inconsistent or unsafe
    ├── TokenizerError       vocabulary files are missing or inconsistent
    ├── ConfigError          a model shape or an option is wrong or unknown
    ├── RequestError         a request is invalid (empty prompt, id out of range)
    ├── CapacityError        a session, the context or the memory is full
    └── EngineError          an engine is unknown, not installed, or cannot run in this process

A message states what was found, what was expected, where, and what to do. It is one line, and
what it quotes from a file is escaped (`escaping`); it is in the language of the person
(`languages`).
"""

from typing import Any

from cpm_lm.escaping import escaped
from cpm_lm.languages import tr

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
    """The base class of all errors of this package.

    Args:
        english: the message as a format string.
        fields: the values of its fields.
    """

    def __init__(self, english: str = "", /, **fields: Any) -> None:
        super().__init__(escaped(tr(english, **fields)))


class CheckpointError(CpmError):
    """A weight file is missing, damaged, inconsistent or unsafe."""


class TokenizerError(CpmError):
    """Vocabulary files are missing or inconsistent."""


class ConfigError(CpmError):
    """A model shape or an option is wrong or unknown."""


class RequestError(CpmError):
    """A request is invalid, for example an empty prompt or an id out of range."""


class CapacityError(CpmError):
    """A session, the context or the memory is full."""


class EngineError(CpmError):
    """An engine is unknown, not installed, or cannot run in this process."""
