"""Added tokens: the tokens that were added to a finished vocabulary, with their flags.

Knows files and keys; does not know how a text is split. Depending on its version, transformers
writes them to `added_tokens.json` (ids), `special_tokens_map.json` (names), `tokenizer.json`
(`added_tokens`) or `tokenizer_config.json` (`added_tokens_decoder`, and names). If the last has
`added_tokens_decoder`, transformers ignores `special_tokens_map.json`; so does this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.json_file import read_json

__all__ = [
    "ADDED",
    "BERT",
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
"""In transformers' order, in which tokens without an id get one."""
BERT = {role: f"[{role.upper()}]" for role in ("unk", "cls", "sep", "pad", "mask")}
"""BERT's special pieces by role."""
EXTRA = ("extra_special_tokens", "additional_special_tokens")
"""Newer and older name of the same list."""
FLAGS = ("special", "normalized", "single_word", "lstrip", "rstrip")


@dataclass(frozen=True, kw_only=True)
class AddedToken:
    """A token that is matched before a text is split into words."""

    content: str
    id: int
    special: bool = False
    """Whether it has no text: no text encodes to it, and it decodes to an empty text."""
    normalized: bool = True
    """Whether it is matched in the normalized (lower-case) text."""
    single_word: bool = False
    """Whether it is matched only if no letter is beside it."""
    lstrip: bool = False
    """Whether the match includes the spaces before it."""
    rstrip: bool = False
    """Whether the match includes the spaces after it."""


def names_of(settings: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return the settings, updated with `special_tokens_map.json` if it is used."""
    if DECODER in settings or not (directory / NAMES).is_file():
        return dict(settings)
    return {**settings, **read_json(directory / NAMES, TokenizerError)}


def named(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the special tokens in the settings, by role.

    Raises:
        TokenizerError: the value of a role is not a string.
    """
    said = {role: content for role in ROLES if (content := _content(settings, role))}
    for role, content in said.items():
        if not isinstance(content, str):
            raise TokenizerError(
                "the settings give {role}_token no piece {content!a}; expected a string",
                role=role,
                content=str(content)[:60],
            )
    return said


def special_names(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Return all special tokens in the settings, in transformers' order."""
    extra = next((settings[key] for key in EXTRA if settings.get(key)), ())
    if isinstance(extra, Mapping):  # in newer settings, by an arbitrary name
        extra = tuple(extra.values())
    if not isinstance(extra, (list, tuple)):
        raise TokenizerError(
            "the special tokens {extra!a} are no list of names", extra=str(extra)[:60]
        )
    contents = (name.get("content") if isinstance(name, Mapping) else name for name in extra)
    names = (content for content in contents if isinstance(content, str) and content)
    return (*named(settings).values(), *names)


def listed_tokens(
    directory: Path, settings: Mapping[str, Any], serialized: Any
) -> dict[str, AddedToken]:
    """Return the added tokens that have an id in a file, by content.

    Args:
        directory: the directory of the tokenizer's files.
        settings: the tokenizer's settings.
        serialized: `added_tokens` of tokenizer.json.

    Raises:
        TokenizerError: a file is damaged, or two files disagree.
    """
    special = frozenset(special_names(settings))
    tokens: dict[str, AddedToken] = {}
    for source, content, index, flags in _entries(directory, settings, serialized):
        if not (isinstance(content, str) and content and type(index) is int and index >= 0):
            raise TokenizerError(
                "{source} is damaged: an added token has content {content!a} and id "
                "{index!a}; expected a string and a whole number",
                source=source,
                content=str(content)[:60],
                index=str(index)[:20],
            )
        if content in tokens and tokens[content].id != index:
            raise TokenizerError(
                "{source} is damaged, or of another model: {content!a} has id {index}, "
                "elsewhere {id}; give the files of one download",
                source=source,
                content=content[:60],
                index=index,
                id=tokens[content].id,
            )
        tokens[content] = _token(source, content, index, flags, special=content in special)
    return tokens


def _entries(
    directory: Path, settings: Mapping[str, Any], serialized: Any
) -> Iterator[tuple[Path, Any, Any, Mapping[str, Any]]]:
    """Yield file, content, id and flags of all tokens; files with all flags come last."""
    if (path := directory / ADDED).is_file():
        for content, index in read_json(path, TokenizerError).items():
            yield path, content, index, {}
    path = directory / "tokenizer.json"
    for entry in _list(serialized, list, path):
        yield path, entry.get("content"), entry.get("id"), entry
    path = directory / "tokenizer_config.json"
    for key, entry in _list(settings.get(DECODER, {}), dict, path).items():
        index = int(key) if key.isascii() and key.isdecimal() and len(key) < 10 else key
        yield path, entry.get("content"), index, entry


def _list(values: Any, kind: type, path: Path) -> Any:
    """Return a list or an object of added tokens after checking its type."""
    entries = values.values() if isinstance(values, dict) else values
    if not isinstance(values, kind) or not all(isinstance(entry, dict) for entry in entries):
        raise TokenizerError(
            "{path} is damaged: the added tokens are no {name} of them",
            path=path,
            name=kind.__name__,
        )
    return values


def _token(
    source: Path, content: str, index: int, flags: Mapping[str, Any], *, special: bool
) -> AddedToken:
    said = {name: flags[name] for name in FLAGS if name in flags}
    if wrong := [name for name, value in said.items() if not isinstance(value, bool)]:
        raise TokenizerError(
            "{source} is damaged: {wrong} of {content!a} is {said!a}, expected true or false",
            source=source,
            wrong=wrong[0],
            content=content[:60],
            said=str(said[wrong[0]])[:60],
        )
    special = special or said.get("special", False)
    return AddedToken(
        content=content, id=index, **({"normalized": not special} | said | {"special": special})
    )


def _content(settings: Mapping[str, Any], role: str) -> Any:
    """Return the value of a role in the settings; in newer ones, an object with `content`."""
    said = settings.get(f"{role}_token")
    return said.get("content") if isinstance(said, Mapping) else said
