"""The ids of a WordPiece vocabulary: its own pieces, added tokens and special pieces by role.

Knows pieces and settings; does not know files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpm_lm.errors import TokenizerError
from cpm_lm.tokenizer.added_tokens import BERT, AddedToken, named, special_names
from cpm_lm.tokenizer.text_style import STYLES
from cpm_lm.tokenizer.text_style_files import StyleFound

__all__ = ["special_ids", "with_added"]

REQUIRED = ("unk", "cls", "sep")
"""Roles whose pieces must already be in the vocabulary."""


def with_added(
    lines: tuple[str, ...],
    listed: Mapping[str, AddedToken],
    settings: Mapping[str, Any],
    directory: Path,
    rows: int | None,
) -> tuple[tuple[str, ...], tuple[AddedToken, ...]]:
    """Return all pieces by id, and the tokens that are matched before a text is split.

    The added tokens with an id in a file follow the lines. Special tokens without an id follow
    them, in transformers' order, while the model has rows: the settings of many models name tokens
    that the model does not have.

    Args:
        lines: the model's own pieces.
        listed: the added tokens that have an id in a file.
        settings: the tokenizer's settings, which name the special tokens.
        directory: the directory, for messages.
        rows: the model's vocabulary size, or None if unknown.
    """
    ids = {piece: i for i, piece in enumerate(lines)}
    for token in listed.values():
        known = ids.get(token.content, token.id)
        if known != token.id or (token.content not in ids and token.id < len(lines)):
            raise TokenizerError(
                "the vocabulary in {directory} is damaged: the added token {content!a} "
                "has id {id}, where the word pieces have another; give the files of one "
                "download",
                directory=directory,
                content=token.content[:60],
                id=token.id,
            )
    behind = sorted((t for t in listed.values() if t.id >= len(lines)), key=lambda t: t.id)
    if [token.id for token in behind] != list(range(len(lines), len(lines) + len(behind))):
        raise TokenizerError(
            "the vocabulary in {directory} is damaged: behind its {n_lines} word "
            "pieces the added tokens have the ids {behind}; expected ids from "
            "{n_lines} on, each once",
            directory=directory,
            n_lines=len(lines),
            behind=", ".join(str(t.id) for t in behind[:10]),
        )
    ids |= {token.content: token.id for token in behind}
    end = len(lines) + len(behind)
    for content in _unlisted(settings):
        if content not in ids and (rows is None or end < rows):
            ids[content], end = end, end + 1
    added = dict(listed)
    for content in {*roles_of(settings).values(), *special_names(settings)} & ids.keys():
        token = added.get(content) or AddedToken(content=content, id=ids[content], normalized=False)
        added[content] = replace(token, special=True)
    pieces = (*lines, *sorted(ids.keys() - set(lines), key=ids.__getitem__))
    try:
        "".join(pieces).encode()
    except UnicodeEncodeError:
        raise TokenizerError(
            "the vocabulary in {directory} is damaged: a piece has a lone surrogate",
            directory=directory,
        ) from None
    return pieces, tuple(sorted(added.values(), key=lambda token: token.id))


def roles_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the special pieces by role; the settings or BERT name the pieces."""
    return BERT | named(settings)


def _unlisted(settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield the special tokens that get a new id if they have none.

    BERT's own do not get one: transformers adds them always, but models have no rows for them.
    """
    roles = named(settings)
    for role, content in roles.items():
        if role not in REQUIRED and content != BERT.get(role):
            yield content
    yield from (name for name in special_names(settings) if name not in roles.values())


def special_ids(
    pieces: tuple[str, ...],
    lines: int,
    settings: Mapping[str, Any],
    style: StyleFound,
    directory: Path,
) -> dict[str, int]:
    """Return the ids of the special pieces by role.

    Raises:
        TokenizerError: the unknown piece, or a piece that the text style needs, is missing.
    """
    ids = {piece: i for i, piece in enumerate(pieces)}
    roles = roles_of(settings)
    needed = ("unk", *sorted(STYLES[style.name].roles))
    for role in needed:
        if roles.get(role) not in ids or (role == "unk" and ids[roles[role]] >= lines):
            raise TokenizerError(
                "the vocabulary in {directory} has no piece {roles!a}; a model of text "
                "style {style_name} needs {needed}: give its own files, or another text "
                "style (--text-style {styles})",
                directory=directory,
                roles=roles.get(role, f"{role}_token")[:60],
                style_name=style.name,
                needed=", ".join(roles.get(each, f"{each}_token") for each in needed),
                styles=", ".join(STYLES),
            )
    return {role: ids[content] for role, content in roles.items() if content in ids}
