"""From options to the filters of a path: texts become ids, and contradictions are refused.

Knows options and tokenizers; does not know how the filters are applied: `decoding.penalties` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from cpm_lm.decoding.penalties import PathFilters
from cpm_lm.distributions.checks import Number
from cpm_lm.errors import RequestError
from cpm_lm.generation.banning import banned_texts
from cpm_lm.generation.text_options import TextOptions
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["banned_note", "filters_on", "ids_of_texts", "path_filters"]

NEUTRAL = {
    "temperature": 1,
    "top_p": 1,
    "top_k": 0,
    "min_p": 0,
    "typical_p": 1,
    "min_tokens": 0,
    "ignore_eos": False,
    "repetition_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "no_repeat_ngram": 0,
    "ban": (),
    "bias": {},
}
"""The values at which the options leave the model's own distribution as it is."""


def filters_on(options: TextOptions) -> tuple[str, ...]:
    """Return the options that change the model's own distribution, with their values."""
    return tuple(
        f"{name} {_shown(getattr(options, name))}"
        for name in (field.name for field in fields(options))
        if name in NEUTRAL and getattr(options, name) != NEUTRAL[name]
    )


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={number:g}" for key, number in value.items())
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "on" if value is True else str(value)


def banned_note(count: int, of: int) -> str:
    """Return a line about the texts that ended because nothing was left to draw, if any did."""
    if not count:
        return ""
    return tr(
        "{count} of {of} texts ended early, because the bans left no token to draw: ban less, or "
        "allow longer n-grams",
        count=count,
        of=of,
    )


def path_filters(
    tokenizer: Tokenizer, options: TextOptions, stops: Iterable[str] = ()
) -> PathFilters:
    """Return the filters that look at a path, in ids.

    Args:
        tokenizer: of the model.
        options: of the request.
        stops: the stop strings, as the model writes them.

    Raises:
        RequestError: an id is out of range, a text is no token sequence or no single token, the
            bans leave nothing to draw, or two options exclude each other.
    """
    texts = [ban for ban in options.bans if isinstance(ban, str)]
    sequences = [ban for ban in options.bans if not isinstance(ban, str)]
    _refuse_banned_stops(tokenizer, texts, stops)
    ends = tuple(sorted(tokenizer.end_ids))
    bans = [_checked_ids(tokenizer, ban) for ban in sequences]
    if options.ignore_eos:
        bans += [(end,) for end in ends]
    filters = PathFilters(
        repetition_penalty=options.repetition_penalty,
        presence_penalty=options.presence_penalty,
        frequency_penalty=options.frequency_penalty,
        no_repeat_ngram=options.no_repeat_ngram,
        bans=tuple(dict.fromkeys(bans)),
        texts=tuple(banned_texts(tokenizer, texts)),
        bias=_bias(tokenizer, options),
        min_tokens=options.min_tokens,
        end_ids=ends,
    )
    _refuse_a_ban_of_everything(tokenizer, filters)
    return filters


def ids_of_texts(
    tokenizer: Tokenizer, texts: Iterable[str], *, or_id: bool = False
) -> dict[str, list[int]]:
    """Return the ids of all tokens whose text is one of these: within a word, and at its beginning.

    Args:
        tokenizer: of the model.
        texts: of tokens.
        or_id: whether the caller also takes an id, which the error's message then says.

    Raises:
        RequestError: a text is no single token.
    """
    found: dict[str, list[int]] = {text: [] for text in texts}
    for token in range(tokenizer.vocab_size if found else 0):
        if (piece := tokenizer.piece(token)) in found:
            found[piece].append(token)
    missing = [text for text, ids in found.items() if not ids]
    if missing and or_id:
        raise RequestError(
            "{missing!r} is not a single token; try its first character, or write a "
            "token id as id:7 (in Python, as a number)",
            missing=min(missing),
        )
    if missing:
        raise RequestError(
            "{missing!r} is not a single token; try its first character", missing=min(missing)
        )
    return found


def _checked_ids(tokenizer: Tokenizer, ids: Sequence[int]) -> tuple[int, ...]:
    size = tokenizer.vocab_size
    if bad := [i for i in ids if not 0 <= i < size]:
        raise RequestError(
            "token id {bad} is banned; expected 0 to {size}", bad=bad[0], size=size - 1
        )
    return tuple(ids)


def _bias(tokenizer: Tokenizer, options: TextOptions) -> dict[int, Number]:
    """Return the bias of each id; a text stands for all tokens that have it."""
    size = tokenizer.vocab_size
    texts = [key for key in options.biases if isinstance(key, str)]
    named = ids_of_texts(tokenizer, texts, or_id=True)
    bias: dict[int, Number] = {}
    for key, number in options.biases.items():
        for token in named[key] if isinstance(key, str) else [key]:
            if not 0 <= token < size:
                raise RequestError(
                    "bias of token id {token}; expected 0 to {size}", token=token, size=size - 1
                )
            if bias.setdefault(token, number) != number:
                raise RequestError(
                    "token id {token} has two biases, by its text and by its id", token=token
                )
            if options.ignore_eos and token in tokenizer.end_ids:
                raise RequestError(
                    "bias of token id {token}, an end token, and ignore_eos is on, which "
                    "bans it; give one of them",
                    token=token,
                )
    return {token: number for token, number in bias.items() if number}


def _refuse_banned_stops(tokenizer: Tokenizer, texts: Iterable[str], stops: Iterable[str]) -> None:
    """Refuse a stop string that cannot appear because a part of it is banned."""
    plain = {text: tokenizer.as_generated(text) for text in texts}
    for stop in stops:
        if banned := next((text for text, form in plain.items() if form and form in stop), None):
            raise RequestError(
                "stop string {stop!r} holds the banned text {banned!r}, so it can never "
                "appear; leave one of them out",
                stop=stop,
                banned=banned,
            )


def _refuse_a_ban_of_everything(tokenizer: Tokenizer, filters: PathFilters) -> None:
    banned = {ban[0] for ban in filters.bans if len(ban) == 1}
    for text in filters.texts:
        banned.update(text.banned(0))
    if filters.min_tokens:
        banned |= set(filters.end_ids)
    if len(banned) == tokenizer.vocab_size:
        raise RequestError(
            "the bans leave none of the {vocab_size} tokens to draw; ban fewer",
            vocab_size=tokenizer.vocab_size,
        )
