"""How this package was installed: its version, and the command that installs an extra beside it.

Knows the package's metadata; does not know what the extras are for.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

__all__ = ["pip_install", "version"]

NAME = "cpm-lm"


def version() -> str:
    """Return the version of the installed cpm-lm; "unknown" if only its source files are here."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed  # takes 15 ms, and most runs need none

    try:
        return installed(NAME)
    except PackageNotFoundError:
        return "unknown"


def pip_install(extra: str = "") -> str:
    """Return the command that installs this package again, with an extra.

    An index need not have this package: it may come from a clone, a file or an address, which pip
    has recorded (PEP 610), or run from a directory of source files. The command names the same.

    >>> from cpm_lm.installation import requirement
    >>> requirement(None, None, "[jax]")  # from an index
    'cpm-lm[jax]'
    >>> requirement({"url": "file:///home/li/cpm-lm", "dir_info": {}}, None, "[jax]")
    '/home/li/cpm-lm[jax]'
    """
    found, sources = _direct_url(), Path(__file__).parents[2]
    wanted = requirement(
        found,
        sources if (sources / "pyproject.toml").is_file() else None,
        f"[{extra}]" if extra else "",
    )
    editable = bool(found and found.get("dir_info", {}).get("editable"))
    again = "" if extra else "--force-reinstall --no-deps "
    return f"pip install {again}{'--editable ' if editable else ''}{shlex.quote(wanted)}"


def requirement(direct_url: dict[str, Any] | None, sources: Path | None, extras: str) -> str:
    """Return what pip must be asked for.

    Args:
        direct_url: what pip recorded of where the package came from; None for an index.
        sources: the clone that this module is in, if it is in one.
        extras: the extras in brackets, or nothing.
    """
    url = (direct_url or {}).get("url", "")
    if url.startswith("file:"):
        return f"{url2pathname(urlsplit(url).path)}{extras}"
    if url:
        checkout = (direct_url or {}).get("vcs_info", {})
        if checkout:
            url = f"{checkout.get('vcs', 'git')}+{url}@{checkout.get('commit_id', '')}".rstrip("@")
        return f"{NAME}{extras} @ {url}"
    return f"{sources}{extras}" if sources else f"{NAME}{extras}"


def _direct_url() -> dict[str, Any] | None:
    """Return what pip recorded of where the package came from; None if it came from an index."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        text = distribution(NAME).read_text("direct_url.json")
        found = json.loads(text) if text else None
    except (PackageNotFoundError, OSError, ValueError):
        return None
    known = isinstance(found, dict) and isinstance(found.get("url"), str)
    return found if known else None
