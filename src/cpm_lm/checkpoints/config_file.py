"""Read a model's configuration file.

Knows JSON files; does not know what the values mean: that is `cpm_lm.config`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError
from cpm_lm.messages import what_is_there
from cpm_lm.storage.replacing import put_back

__all__ = ["CONFIG", "parse_config", "read_config", "read_values"]

CONFIG = "config.json"


def read_config(path: Path) -> GPTConfig:
    """Read a model's configuration from a JSON file.

    Raises:
        ConfigError: the file is missing, not JSON, or not the configuration of a GPT.
    """
    return parse_config(read_values(path), path)


def read_values(path: Path) -> dict[str, Any]:
    """Read a configuration file without interpreting it.

    Raises:
        ConfigError: the file is missing, or not a JSON object.
    """
    put_back(path.parent)
    if known := what_is_there(path):
        raise ConfigError(
            "{path} cannot be read as a model configuration: it is {known}", path=path, known=known
        )
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            "{path} cannot be read as a model configuration: {error}", path=path, error=error
        ) from None
    if not isinstance(values, dict):
        raise ConfigError(
            "{path} holds {name}, expected a JSON object", path=path, name=type(values).__name__
        )
    return values


def parse_config(values: Mapping[str, Any], path: Path) -> GPTConfig:
    """Parse configuration values that were read from `path`.

    Raises:
        ConfigError: they are not the configuration of a GPT; the message names `path`.
    """
    try:
        return GPTConfig.from_json(values)
    except ConfigError as error:
        raise ConfigError("{path}: {error}", path=path, error=error) from None
