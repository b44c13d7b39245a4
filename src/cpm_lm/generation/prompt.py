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
from cpm_lm.generation.word_end import WordEnd
from cpm_lm.languages import later, tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["BACKSLASH_N", "Prompt", "decoder_context", "read_prompt"]

BACKSLASH_N = later(
    r"{what} has \n as two characters, a backslash and an n, which are no line end; "
    r"if a line end is meant, add -e (or write $'...\n...' in bash)"
)
BLANKS = {
    "\t": later("a tab"),
    "\u3000": later("an ideographic space"),
    "\xa0": later("a no-break space"),
    "\r": later("a carriage return"),
}
"""Blanks that look like a space or like nothing, and are read as something else."""
SHOWN = 5
"""Characters that a note names, of those that the vocabulary lacks."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt, read."""

    ids: list[int]
    notes: tuple[str, ...] = ()
    """What may not have been meant, a line each."""
    word: WordEnd | None = None
    """The last word, if the text may have been meant to go on with it."""


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
    word = WordEnd.of(tokenizer, prompt, found) if isinstance(prompt, str) else None
    return Prompt(ids=found, notes=tuple(notes), word=word)


def decoder_context(prompt: str | Sequence[int], ids: Sequence[int]) -> tuple[int, ...]:
    """Return the ids that a decoder of the continuation must know; see `Tokenizer.decoder`.

    After a final space in the prompt, the decoder must not write one between the words.
    """
    spaced = isinstance(prompt, str) and prompt[-1:].isspace()
    return () if spaced else tuple(ids)


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
        yield tr(BACKSLASH_N, what=tr("the prompt"))
    yield from _blanks(tokenizer, text)
    read = "".join(
        part
        for part in _split(text, tokenizer.special_ids)
        if not special or part not in tokenizer.special_ids
    )
    unknown = tokenizer.unknown_count(tokenizer.encode(read))
    known = "\\" if "\\n" in text else ""  # its own note says more
    lacking = [c for c in dict.fromkeys(read) if unknown and c != known and _lacks(tokenizer, c)]
    if lacking:
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


def _blanks(tokenizer: Tokenizer, text: str) -> Iterator[str]:
    """Yield a line about blanks at the end, and about those that are not read as they are."""
    last = text[-1:]
    if last == " ":
        yield tr(
            "the prompt ends with a space, which may change what follows; leave it out if unmeant"
        )
    for blank, name in BLANKS.items():
        if blank not in text:
            continue
        count = text.count(blank)
        where = (
            tr("ends with {name}", name=tr(name))
            if blank == last
            else tr("has {name}", name=tr(name))
        )
        read = tokenizer.normalize(f"1{blank}1")
        if read == "11":
            how = tr("is left out, as the vocabulary has none")
        elif read == f"1{blank}1":
            how = tr("is read as it is")
        else:
            how = tr("is read as {read!r}", read=read[1:-1])
        if read != f"1{blank}1" or blank == last:
            times = tr(" ({count} in all)", count=count) if count > 1 else ""
            yield tr("the prompt {where}{times}, which {how}", where=where, times=times, how=how)


def _lacks(tokenizer: Tokenizer, character: str) -> bool:
    return bool(tokenizer.unknown_count(tokenizer.encode(character)))
