"""Files that hold a model's configuration.

Knows JSON files; `config` knows what the values mean.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError

__all__ = ["CONFIG", "parse_config", "read_config", "read_values"]

CONFIG = "config.json"


def read_config(path: Path) -> GPTConfig:
    """Read a model's shape from a JSON file.

    Raises:
        ConfigError: the file is missing, not JSON, or not the shape of a GPT.
    """
    return parse_config(read_values(path), path)


def read_values(path: Path) -> dict[str, Any]:
    """Read a configuration as it is written.

    Raises:
        ConfigError: the file is missing, or not a JSON object.
    """
    try:
        values = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a model configuration: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}, expected a JSON object")
    return values


def parse_config(values: Mapping[str, Any], path: Path) -> GPTConfig:
    """Return a model's shape from a configuration read from `path`.

    Raises:
        ConfigError: it is not the shape of a GPT.
    """
    try:
        return GPTConfig.from_json(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
