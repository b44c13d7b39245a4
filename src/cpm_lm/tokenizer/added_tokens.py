"""Tokens that were added to a finished vocabulary: where files keep them, and what their flags say.

Knows files and keys; does not know how a text is cut. The places, by version of transformers:
`added_tokens.json` (ids alone), `special_tokens_map.json` (names), `tokenizer.json`
(`added_tokens`), `tokenizer_config.json` (`added_tokens_decoder`, and names). Where the last has
ids, the library reads no `special_tokens_map.json`, and neither do we.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer.json_file import read_json

__all__ = [
    "ADDED",
    "FLAGS",
    "NAMES",
    "AddedToken",
    "listed_tokens",
    "named",
    "names_of",
    "special_names",
]

ADDED = "added_tokens.json"
NAMES = "special_tokens_map.json"
DECODER = "added_tokens_decoder"
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
"""In the library's order, which is that of the ids of those that have none yet."""
EXTRA = ("extra_special_tokens", "additional_special_tokens")
"""Newer and older name of the same list."""
FLAGS = ("special", "normalized", "single_word", "lstrip", "rstrip")


@dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A token that is matched in a text before anything else is cut."""

    content: str
    id: int
    special: bool = False
    """Whether it stands for no text: it never comes from a text and prints as nothing."""
    normalized: bool = True
    """Whether it is looked for in the text as it is once letters are lower-case."""
    single_word: bool = False
    """Whether it must not touch other letters."""
    lstrip: bool = False
    """Whether it takes the spaces before it."""
    rstrip: bool = False
    """Whether it takes the spaces behind it."""


def names_of(settings: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return settings with the names that `special_tokens_map.json` gives, where it is read."""
    if DECODER in settings or not (directory / NAMES).is_file():
        return dict(settings)
    return {**settings, **read_json(directory / NAMES)}


def named(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the contents of the special tokens by role, as far as the settings name them.

    Raises:
        TokenizerError: a role has something other than a string.
    """
    said = {role: content for role in ROLES if (content := _content(settings, role))}
    for role, content in said.items():
        if not isinstance(content, str):
            raise TokenizerError(
                f"the settings give {role}_token no piece {str(content)[:60]!a}; expected a string"
            )
    return said


def special_names(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the contents of all special tokens that the settings name, in the library's order."""
    extra = next((settings[key] for key in EXTRA if settings.get(key)), ())
    if isinstance(extra, Mapping):  # newer settings may give each a name of its own
        extra = tuple(extra.values())
    if not isinstance(extra, (list, tuple)):
        raise TokenizerError(f"the special tokens {str(extra)[:60]!a} are no list of names")
    contents = (name.get("content") if isinstance(name, Mapping) else name for name in extra)
    names = (content for content in contents if isinstance(content, str) and content)
    return (*named(settings).values(), *names)


def listed_tokens(
    directory: Path, settings: Mapping[str, Any], serialized: Any
) -> dict[str, AddedToken]:
    """Return the added tokens that have an id in some file, by content.

    Args:
        directory: where the tokenizer's files lie.
        settings: those of the tokenizer.
        serialized: `added_tokens` of tokenizer.json.

    Raises:
        TokenizerError: a file is damaged, or two of them disagree.
    """
    special = frozenset(special_names(settings))
    tokens: dict[str, AddedToken] = {}
    for source, content, index, flags in _entries(directory, settings, serialized):
        if not (isinstance(content, str) and content and type(index) is int and index >= 0):
            raise TokenizerError(
                f"{source} is damaged: an added token has content {str(content)[:60]!a} and id "
                f"{str(index)[:20]!a}; expected a string and a whole number"
            )
        if content in tokens and tokens[content].id != index:
            raise TokenizerError(
                f"{source} is damaged, or of another model: {content[:60]!a} has id {index}, "
                f"elsewhere {tokens[content].id}; give the files of one download"
            )
        tokens[content] = _token(source, content, index, flags, special=content in special)
    return tokens


def _entries(
    directory: Path, settings: Mapping[str, Any], serialized: Any
) -> Iterator[tuple[Path, Any, Any, Mapping[str, Any]]]:
    """Yield file, content, id and flags of all tokens, the file that knows most of them last."""
    if (path := directory / ADDED).is_file():
        for content, index in read_json(path).items():
            yield path, content, index, {}
    path = directory / "tokenizer.json"
    for entry in _list(serialized, list, path):
        yield path, entry.get("content"), entry.get("id"), entry
    path = directory / "tokenizer_config.json"
    for key, entry in _list(settings.get(DECODER, {}), dict, path).items():
        index = int(key) if key.isascii() and key.isdecimal() and len(key) < 10 else key
        yield path, entry.get("content"), index, entry


def _list(values: Any, kind: type, path: Path) -> Any:
    """Return a list or an object of added tokens, checked."""
    entries = values.values() if isinstance(values, dict) else values
    if not isinstance(values, kind) or not all(isinstance(entry, dict) for entry in entries):
        raise TokenizerError(f"{path} is damaged: the added tokens are no {kind.__name__} of them")
    return values


def _token(
    source: Path, content: str, index: int, flags: Mapping[str, Any], *, special: bool
) -> AddedToken:
    said = {name: flags[name] for name in FLAGS if name in flags}
    if wrong := [name for name, value in said.items() if not isinstance(value, bool)]:
        raise TokenizerError(
            f"{source} is damaged: {wrong[0]} of {content[:60]!a} is "
            f"{str(said[wrong[0]])[:60]!a}, expected true or false"
        )
    special = special or said.get("special", False)
    return AddedToken(
        content=content, id=index, **({"normalized": not special} | said | {"special": special})
    )


def _content(settings: Mapping[str, Any], role: str) -> Any:
    """Return what the settings say of a role; newer ones tell more of a token than its content."""
    said = settings.get(f"{role}_token")
    return said.get("content") if isinstance(said, Mapping) else said
