"""Read a model's configuration file.

Knows JSON files; does not know what the values mean: that is `cpm_lm.config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cpm_lm.config import GPTConfig
from cpm_lm.errors import ConfigError
from cpm_lm.json_file import read_json
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
    return read_json(path, ConfigError)


def parse_config(values: Mapping[str, Any], path: Path) -> GPTConfig:
    """Parse configuration values that were read from `path`.

    Raises:
        ConfigError: they are not the configuration of a GPT; the message names `path`.
    """
    try:
        return GPTConfig.from_json(values)
    except ConfigError as error:
        raise ConfigError("{path}: {error}", path=path, error=error) from None
