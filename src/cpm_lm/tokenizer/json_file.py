"""Read the JSON files of a tokenizer.

Knows JSON objects; does not know their keys.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.messages import what_is_there

__all__ = ["parse_json", "read_json"]


def parse_json(path: Path) -> Any:
    """Return the value in a file.

    Raises:
        TokenizerError: the file cannot be read, or is not JSON.
    """
    if known := what_is_there(path):
        raise TokenizerError("{path} is {known}", path=path, known=known)
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise TokenizerError("cannot read {path}: {error}", path=path, error=error) from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file.

    Raises:
        TokenizerError: the file cannot be read, or holds something else.
    """
    values = parse_json(path)
    if not isinstance(values, dict):
        raise TokenizerError(
            "{path} holds {name}, expected a JSON object", path=path, name=type(values).__name__
        )
    return values
