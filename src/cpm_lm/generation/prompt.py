"""A prompt's checked token ids, and notes for the caller.

Knows tokenizers and the length of the context; does not know what follows the prompt.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from cpm_lm.config import GPTConfig
from cpm_lm.errors import RequestError
from cpm_lm.languages import later, tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["Prompt", "read_prompt"]

SPLIT_WORD = later(
    "the prompt may end within a word, but the tokenizer treats the last word as complete: "
    "end the prompt with punctuation or a newline, or with a whole word"
)
TRAILING_SPACE = later(
    "the prompt ends with a space, which changes what follows; leave it out if it was not meant"
)
BACKSLASH_N = later(
    r"the prompt has a backslash and an n (\n), which is no line end; in bash write "
    r"$'...\n...', or give the prompt on standard input"
)
STOP_BACKSLASH_N = later(
    r"a stop string has a backslash and an n (\n), which is no line end; in bash write $'...\n...'"
)
SHOWN = 5
"""Characters that a note names, of those that the vocabulary lacks."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt, read."""

    ids: list[int]
    notes: tuple[str, ...] = ()
    """What may not have been meant, a line each."""


def read_prompt(
    tokenizer: Tokenizer,
    config: GPTConfig,
    prompt: str | Sequence[int],
    *,
    special: bool = False,
    slide: bool = False,
) -> Prompt:
    """Return a prompt's token ids, and notes about what may not have been meant.

    Args:
        tokenizer: of the model.
        config: its shape.
        prompt: text, or ids that are taken as they are.
        special: whether names of special tokens in the text, such as `<sep>`, mean these tokens.
        slide: whether only the newest part of a prompt that fills the context is kept.

    Raises:
        RequestError: the prompt is empty, holds an id out of range, or fills the context, which
            does not slide.
    """
    notes = [tokenizer.note] if tokenizer.note else []
    if isinstance(prompt, str):
        found = [*tokenizer.prefix_ids, *_encoded(tokenizer, prompt, special=special)]
        notes += _notes(tokenizer, prompt, special=special)
    else:
        found = _given_ids(prompt)
    if not found:
        raise RequestError(
            "the prompt is empty: {prompt!r} has no tokens; give at least one", prompt=prompt
        )
    size, context = tokenizer.vocab_size, config.n_positions
    if bad := [i for i in found if not 0 <= i < size]:
        raise RequestError(
            "token id {bad} in the prompt; expected 0 to {size}", bad=bad[0], size=size - 1
        )
    if len(found) >= context:
        if not slide:
            raise RequestError(
                "the prompt has {n_tokens} tokens; the model's context of {context} "
                "leaves room for at most {most}: shorten it, or keep only its "
                "newest part with overflow 'slide'",
                n_tokens=len(found),
                context=context,
                most=context - 1,
            )
        prefix = list(tokenizer.prefix_ids) if isinstance(prompt, str) else []
        kept = max(1, context - 1 - len(prefix))
        notes.append(
            tr(
                "the prompt has {n_tokens} tokens, more than the context of {context} "
                "holds; only its last {kept} are read (overflow 'slide')",
                n_tokens=len(found),
                context=context,
                kept=kept,
            )
        )
        found = [*prefix, *found[-kept:]][-(context - 1) :] if context > 1 else found[-1:]
    return Prompt(ids=found, notes=tuple(notes))


def _given_ids(prompt: Sequence[int]) -> list[int]:
    if isinstance(prompt, bytes | bytearray | memoryview):
        raise RequestError(
            "the prompt is {name}; expected text, or a sequence of token ids: decode "
            "it first, for example prompt.decode('utf-8')",
            name=type(prompt).__name__,
        )
    try:
        return [operator.index(i) for i in prompt]
    except TypeError:
        raise RequestError("the prompt holds something other than whole token ids") from None


def _encoded(tokenizer: Tokenizer, text: str, *, special: bool) -> Iterator[int]:
    """Yield a text's ids; with `special`, names of special tokens become their ids.

    What stands between two of them is encoded by itself.
    """
    named = dict(tokenizer.special_ids) if special else {}
    for part in _split(text, named):
        if part in named:
            yield named[part]
        else:
            yield from tokenizer.encode(part)


def _split(text: str, names: Collection[str]) -> list[str]:
    """Return a text cut at the names in it, the longest first, without empty parts.

    >>> _split("<sep>ab<sep>", ["<sep>"])
    ['<sep>', 'ab', '<sep>']
    """
    if not names:
        return [text]
    either = "|".join(map(re.escape, sorted(names, key=len, reverse=True)))
    return [part for part in re.split(f"({either})", text) if part]


def _notes(tokenizer: Tokenizer, text: str, *, special: bool) -> Iterator[str]:
    """Yield a line for everything in a text that may not have been meant."""
    if not special and (names := [name for name in tokenizer.special_ids if name in text]):
        yield (
            tr(
                "the prompt has {names}, read as text; if the special token is meant, "
                "say so (special=True, --special)",
                names=", ".join(names),
            )
        )
    if "\\n" in text:
        yield tr(BACKSLASH_N)
    if text[-1:] in (" ", "\t", "\u3000"):
        yield tr(TRAILING_SPACE)
    read = "".join(
        part
        for part in _split(text, tokenizer.special_ids)
        if not special or part not in tokenizer.special_ids
    )
    unknown = tokenizer.unknown_count(tokenizer.encode(read))
    if unknown and (lacking := [c for c in dict.fromkeys(read) if _lacks(tokenizer, c)]):
        more = (
            tr(" and {n_lacking} more", n_lacking=len(lacking) - SHOWN)
            if len(lacking) > SHOWN
            else ""
        )
        shown = ", ".join(repr(c)[1:-1] for c in lacking[:SHOWN])
        yield tr(
            "the vocabulary does not have {shown}{more}; the model sees an unknown sign there",
            shown=shown,
            more=more,
        )
    if tokenizer.splits_word(text):
        yield tr(SPLIT_WORD)


def _lacks(tokenizer: Tokenizer, character: str) -> bool:
    return bool(tokenizer.unknown_count(tokenizer.encode(character)))
