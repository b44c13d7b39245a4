"""The directory of a user's models and settings, and that of the model in the package.

Knows environment variables and paths; does not know what a model or a setting is. Nothing is
created here: who writes makes the directory.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from cpm_lm.errors import ConfigError
from cpm_lm.languages import tr

__all__ = ["BUILT_IN", "DEMO", "check_name", "home_directory", "is_name", "models_directory"]

BUILT_IN = "demo"
"""The name of the model in the package."""
DEMO = Path(__file__).parent / BUILT_IN

VARIABLE = "CPM_HOME"
FOLDER = "cpm-lm"
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\ud800-\udfff]')
"""Characters that a file name cannot have on some system, and those that cannot be printed."""
DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE | re.DOTALL)
"""Names of devices, which Windows opens instead of a file."""
LONGEST = 200
"""Bytes of a name in UTF-8; file systems allow 255, and a temporary name beside it is longer."""


def home_directory() -> Path:
    """Return the directory of a user's models and settings, an absolute path; it may not exist.

    It is CPM_HOME (a relative path counts from the current directory), by default `cpm-lm` in the
    user's data directory: XDG_DATA_HOME or ~/.local/share, on macOS ~/Library/Application Support,
    on Windows %LOCALAPPDATA%.

    Raises:
        ConfigError: it is not a directory, or this user has no home directory.
    """
    given = os.environ.get(VARIABLE, "")
    try:
        path = Path(given).expanduser() if given else _data_directory() / FOLDER
    except RuntimeError:  # no HOME, and the user is not in the system's list
        raise ConfigError(
            "this user has no home directory; set {variable} to a directory for models",
            variable=VARIABLE,
        ) from None
    path = path.absolute()
    for parent in (path, *path.parents):
        if os.path.lexists(parent) and not parent.is_dir():
            raise ConfigError(
                "{parent} is a file, but models and settings are kept in the directory {path}; "
                "set {variable} to a directory",
                parent=parent,
                path=path,
                variable=VARIABLE,
            )
    return path


def models_directory() -> Path:
    """Return the directory that holds one directory for each model; it may not exist."""
    return home_directory() / "models"


def is_name(name: str) -> bool:
    """Return whether `check_name` accepts a name."""
    return not _problem(name)


def check_name(name: str) -> str:
    """Return a name for a model or a setting in the home, which is also the name of its file.

    Raises:
        ConfigError: it is not the name of a file on every system, or it is hidden.
    """
    if problem := _problem(name):
        raise ConfigError(
            "{name!r} is not a name ({problem}); expected letters, digits, '-', '_' or '.', not "
            "'.' first",
            name=name,
            problem=problem,
        )
    return name


def _problem(name: str) -> str:
    """Return why a name cannot be used; empty if it can."""
    if not name:
        return tr("it is empty")
    if found := FORBIDDEN.search(name):
        return tr("it contains {character!a}", character=found[0])
    if name[0] in ".-~ " or name[-1] in ". ":
        return tr("it begins with '.', '-', '~' or a blank, or ends with '.' or a blank")
    if DEVICE.fullmatch(name):
        return tr("Windows has a device of this name")
    if len(name.encode()) > LONGEST:
        return tr("it has more than {longest} bytes", longest=LONGEST)
    return ""


def _data_directory() -> Path:
    """Return the directory where the programs of this user keep their data.

    Raises:
        RuntimeError: the user's home directory is not known.
    """
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    # The XDG specification says that a relative path is ignored.
    data = Path(os.environ.get("XDG_DATA_HOME", ""))
    return data if data.is_absolute() else Path.home() / ".local" / "share"
