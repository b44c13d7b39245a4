"""Find a model by its name or path.

Knows the names in the home and the published ones; does not open a model.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import NoReturn

from cpm_lm.checkpoints.known.published import PUBLISHED, published_model
from cpm_lm.errors import CheckpointError, ConfigError
from cpm_lm.home import BUILT_IN, DEMO, check_name, is_name, models_directory
from cpm_lm.languages import tr
from cpm_lm.storage.replacing import put_back

__all__ = ["model_directories", "model_names", "model_path", "new_model"]

OWNED = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
"""A name on the hub: `owner/name`."""


def model_directories() -> list[Path]:
    """Return the directories of the home's models, by name; links to directories are among them.

    Raises:
        CheckpointError: the home's directory cannot be read.
        ConfigError: there is a file in the place of the home.
    """
    models = models_directory()
    try:
        return [
            entry
            for entry in sorted(models.iterdir())
            if not entry.name.startswith(".") and (entry.is_dir() or entry.is_symlink())
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CheckpointError(
            "{models} cannot be read: {strerror}; set CPM_HOME to a directory that you may read",
            models=models,
            strerror=tr(error.strerror or ""),
        ) from None


def model_names() -> list[str]:
    """Return all names by which a model here can be called: the built-in one's first.

    Raises:
        ConfigError: there is a file in the place of the home.
    """
    names = [path.name for path in model_directories()]
    return names if BUILT_IN in names or not DEMO.is_dir() else [BUILT_IN, *names]


def model_path(model: str | Path) -> Path:
    """Return the path of a model: an existing path, else a name in the home, else the built-in one.

    In names, upper and lower case are equal where that leaves one model.

    Args:
        model: a path, or a name as `cpm list` shows it.

    Raises:
        CheckpointError: there is neither; the message says what is there, or where to get it.
        ConfigError: there is a file in the place of the home.
    """
    text = os.fspath(model)
    named = models_directory() / text if is_name(text) else Path(text)
    for replaced in (Path(text), Path(text).parent, named):  # a model, or a file in one
        put_back(replaced)
    if _exists(text):
        return Path(text)
    if is_name(text):
        here = {path.name: path for path in model_directories()}
        same = [name for name in here if name.casefold() == text.casefold()]
        if text in here or len(same) == 1:
            return here[text if text in here else same[0]]
        if text.casefold() == BUILT_IN and DEMO.is_dir():
            return DEMO
    return _refuse(text)


def new_model(name: str) -> Path:
    """Return the path of a model to be written into the home, after making the home's directory.

    Raises:
        CheckpointError: nothing can be written there.
        ConfigError: the name cannot be used, or there is a file in the place of the home.
    """
    models = models_directory()
    if check_name(name).casefold() == BUILT_IN:
        raise ConfigError(
            "{name} is the name of the model in the package; choose another name", name=name
        )
    try:
        models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(
            "{models} cannot be made: {strerror}; set CPM_HOME to a directory that you may write "
            "to, or give an output directory",
            models=models,
            strerror=tr(error.strerror or ""),
        ) from None
    if not os.access(models, os.W_OK | os.X_OK):
        raise CheckpointError(
            "{models} cannot be written to; set CPM_HOME to a directory that you may write to, "
            "or give an output directory",
            models=models,
        )
    return models / name


def _exists(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long, or not a path
        return False


def _refuse(text: str) -> NoReturn:
    """Raise the error that helps most."""
    short = text.rsplit("/", 1)[-1]
    near = _nearest(short)
    owned = OWNED.fullmatch(text) is not None
    if near in model_names() and (near.casefold() == short.casefold() if owned else near != short):
        raise CheckpointError(
            "{text} does not exist; did you mean the model {near}? cpm list shows all models here",
            text=text,
            near=near,
        )
    if published := published_model(text) or (published_model(near) if near else None):
        raise CheckpointError(
            "{text} does not exist, and no model here has this name; get {name} with: "
            "cpm pull {name}",
            text=text,
            name=published.short,
        )
    if owned:
        raise CheckpointError(
            "{text} does not exist; if it is the name of a model on the Hugging Face hub, get it "
            "with: cpm pull {text}",
            text=text,
        )
    raise CheckpointError(
        "{text} does not exist, and no model here has this name; expected a path, or a name: cpm "
        "list shows the models here, cpm pull --help those that can be fetched",
        text=text,
    )


def _nearest(name: str) -> str | None:
    """Return the most similar name of a model here, or of one that can be fetched."""
    known = [*model_names(), *(published.short for published in PUBLISHED)]
    folded = {entry.casefold(): entry for entry in reversed(known)}
    found = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[found[0]] if found else None
