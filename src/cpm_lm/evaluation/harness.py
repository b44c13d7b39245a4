"""An adapter to lm-evaluation-harness (lm-eval 0.4.13 or newer): `--model cpm`.

    python -m cpm_lm.evaluation.harness run --model cpm --model_args path=STORE --tasks TASK

The harness has no way for another package to announce a model, so this module registers the model
and then runs the harness's own command line. It overrides `loglikelihood` itself, so ids are never
cut at the length of a string, and what requests begin with is computed once.

Knows the harness's interface; does not know engines.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from cpm_lm.choices import Boundary, EngineName, choices
from cpm_lm.distributions.checks import check_number, check_one_of
from cpm_lm.errors import RequestError
from cpm_lm.generation.perplexity import PerplexityRequest
from cpm_lm.generation.scoring import Query, ScoreRequest, start_ids
from cpm_lm.model import load

__all__ = ["CpmLM", "main"]

MAX_TOKENS = 256
"""Tokens of a generated text, where a task does not say how many."""

log = logging.getLogger(__name__)


@register_model("cpm")
class CpmLM(LM):  # type: ignore[misc]
    """A converted model, for the harness.

    Args:
        path: what `cpm_lm.load` takes.
        engine: see `cpm_lm.load`.
        threads: see `cpm_lm.load`.
        boundary: "apart" or "joint"; "joint" is what the harness's own models do.
        batch_size: the requests scored in one tree; "auto": 32.
        max_batch_size: a limit of it.
        device: not used, because the harness always passes one; the engine chooses the device.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        engine: EngineName = "auto",
        threads: int | None = None,
        boundary: str = "apart",
        batch_size: int | str = 32,
        max_batch_size: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__()
        check_one_of("boundary", boundary, choices(Boundary))
        del device  # the harness passes one even where its user gave none
        self.model = load(path, engine=engine, threads=threads)
        self.boundary = cast(Boundary, boundary)
        size = 32 if str(batch_size).startswith("auto") else int(batch_size)
        check_number("batch_size", size, low=1, whole=True)
        self.batch_size = min(size, max_batch_size or size)
        self.shortened = 0
        """Requests whose context lost its beginning, because the model's does not hold it."""

    @property
    def tokenizer_name(self) -> str:
        """Return a name for the harness's cache of requests."""
        return f"cpm-{self.model.digest[:12]}-{self.boundary}"

    def loglikelihood(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return for each (context, continuation) its log-probability, and whether it is greedy."""
        found: list[tuple[float, bool]] = []
        pairs = [request.args for request in requests]
        for batch in _batches(pairs, self.batch_size, "loglikelihood", disable_tqdm):
            queries = [self._query(*pair) for pair in batch]
            request = ScoreRequest(
                self.model.tokenizer,
                self.model.engine.config,
                queries,
                boundary=self.boundary,
                pmi=False,
                top=1,
            )
            for (score,) in self.model.run(request).scores:
                greedy = all(
                    token == top[0][0]
                    for token, top in zip(score.token_ids, score.top, strict=True)
                )
                found.append((score.logprob, greedy))
        for pair, answer in zip(pairs, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", pair, answer)
        if self.shortened:
            log.warning("%d contexts lost their beginning", self.shortened)
        return found

    def _query(self, context: str, continuation: str) -> Query:
        """Return the query of a request; a context that is too long loses its beginning."""
        tokenizer, room = self.model.tokenizer, self.model.engine.config.n_positions + 1
        before, after = tokenizer.encode(context), tokenizer.encode(continuation)
        start = start_ids(tokenizer) if not before else tokenizer.prefix_ids
        if len(start) + len(before) + len(after) <= room:
            return Query(prompt=context, continuations=[continuation])
        kept = room - len(start) - len(after)
        if kept < 1:
            raise RequestError(
                "a continuation has {n} tokens; the model can score {room}",
                n=len(after),
                room=room,
            )
        if self.boundary == "joint":
            raise RequestError(
                "a request has {n} tokens, the model can score {room}; with boundary=apart its "
                "context is shortened",
                n=len(start) + len(before) + len(after),
                room=room,
            )
        self.shortened += 1
        return Query(prompt=[*start, *before[-kept:]], continuations=[continuation])

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-probability of each text, in windows that do not overlap."""
        config, found = self.model.engine.config, []
        for request in tqdm(requests, desc="loglikelihood_rolling", disable=disable_tqdm):
            (text,) = request.args
            scored = PerplexityRequest(
                self.model.tokenizer, config, text, stride=config.n_positions
            )
            found.append(self.model.run(scored).logprob)
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), found[-1])
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Return a text for each (context, options).

        Requests that are equal, as a task's `repeats` makes them, are samples of one tree, for the
        task's own vote.
        """
        found = [""] * len(requests)
        groups: dict[str, list[int]] = {}
        for at, request in enumerate(requests):
            groups.setdefault(repr(request.args), []).append(at)
        for places in tqdm(groups.values(), desc="generate_until", disable=disable_tqdm):
            context, options = requests[places[0]].args
            for at, text in zip(places, self._texts(context, options, len(places)), strict=True):
                found[at] = text
                self.cache_hook.add_partial("generate_until", requests[at].args, text)
        return found

    def _texts(self, context: str, options: dict[str, Any], n: int) -> list[str]:
        """Return n continuations of a context, each cut off before a stop string."""
        options = dict(options)
        until = options.pop("until", None) or []
        most = int(options.pop("max_gen_toks", options.pop("max_new_tokens", MAX_TOKENS)))
        sampled = options.pop("do_sample", bool(options.get("temperature")))
        temperature = float(options.pop("temperature", 1.0)) if sampled else 0.0
        top_p, top_k = float(options.pop("top_p", 1.0)), int(options.pop("top_k", 0))
        if not sampled:
            options.pop("temperature", None)
        if options:
            raise RequestError(
                "a task asks for the option {name!r}, which is not supported",
                name=min(options),
            )
        stops = [until] if isinstance(until, str) else [stop for stop in until if stop]
        known = [stop for stop in stops if stop not in self.model.tokenizer.special_ids]
        samples = self.model.sample(
            self._fitting(context, most),
            n=n,
            max_tokens=most,
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            stop=[stop for stop in known if self.model.tokenizer.as_generated(stop)] or None,
            seed=0,
        )
        return [sample.text for sample in samples]

    def _fitting(self, context: str, more: int) -> str | list[int]:
        """Return a context that leaves room for more tokens."""
        tokenizer, room = self.model.tokenizer, self.model.engine.config.n_positions - more
        ids = tokenizer.encode(context)
        if len(tokenizer.prefix_ids) + len(ids) <= room:
            return context
        self.shortened += 1
        return [*tokenizer.prefix_ids, *ids[-max(1, room - len(tokenizer.prefix_ids)) :]]


def _batches(
    pairs: Sequence[tuple[str, str]], size: int, label: str, quiet: bool
) -> Iterator[Sequence[tuple[str, str]]]:
    starts: Iterable[int] = range(0, len(pairs), size)
    for start in tqdm(starts, desc=label, disable=quiet):
        yield pairs[start : start + size]


def main() -> None:
    """Run the harness's command line, with the model `cpm` registered."""
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    main()
