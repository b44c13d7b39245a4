"""The model as a user sees it: an engine and a tokenizer; text in, text out.

Knows tokenizers, engines, requests and the scheduler; does not know files of weights (except in
`load`), nor how an engine computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar, Unpack

from cpm_lm.choices import Boundary, EngineName
from cpm_lm.decoding.scheduler import Scheduler
from cpm_lm.decoding.session_pool import SessionPool
from cpm_lm.display import on_a_line
from cpm_lm.engines.base import Engine
from cpm_lm.engines.options import EngineOptions
from cpm_lm.errors import CheckpointError, RequestError, TokenizerError
from cpm_lm.generation.arguments import SamplingArguments, VotingArguments, with_options
from cpm_lm.generation.completion import CompletionRequest, Sample
from cpm_lm.generation.likeliest import Likeliest
from cpm_lm.generation.next_characters import NextCharacter, NextCharactersRequest
from cpm_lm.generation.next_tokens import NextToken, NextTokensRequest
from cpm_lm.generation.options import SamplingOptions, VotingOptions
from cpm_lm.generation.perplexity import STRIDE, Perplexity, PerplexityRequest
from cpm_lm.generation.prompt import Prompt, read_prompt
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.generation.scoring import Query, Score, ScoreRequest
from cpm_lm.generation.tally import AnswerShare
from cpm_lm.generation.vote import Vote
from cpm_lm.generation.vote_request import VoteRequest
from cpm_lm.home import DEMO
from cpm_lm.tokenizer import Tokenizer

__all__ = [
    "DEMO",
    "Model",
    "NextCharacter",
    "NextToken",
    "Sample",
    "SamplingOptions",
    "Vote",
    "VotingOptions",
    "load",
]

Event = TypeVar("Event")
Result = TypeVar("Result")


class Model:
    """A language model with its tokenizer.

    Thread-safe. A session and its KV cache are reused from call to call; as a context manager, the
    model frees them on exit.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer, *, digest: str = "") -> None:
        if tokenizer.vocab_size != engine.config.vocab_size:
            raise TokenizerError(
                "the tokenizer has {pieces} pieces and the model's embedding "
                "{rows} rows; use the vocabulary the model was trained with",
                pieces=tokenizer.vocab_size,
                rows=engine.config.vocab_size,
            )
        self.engine = engine
        self.tokenizer = tokenizer
        self.digest = digest
        """The sha256 of the weights' manifest; empty if there is none."""
        self._sessions = SessionPool(engine)

    @with_options(SamplingOptions)
    def sample(
        self,
        prompt: str | Sequence[int],
        *,
        on_text: Callable[[int, str, bool], None] | None = None,
        **options: Unpack[SamplingArguments],
    ) -> list[Sample]:
        """Draw n continuations of a prompt; the prompt and common prefixes are computed once.

        Args:
            prompt: text, or token ids that are used unchanged.
            on_text: called with the number of a sample, the next part of its text, and whether
                the sample has ended.
            **options: the fields of `SamplingOptions`, which says the unit and the range of each:
                n, max_tokens, temperature, top_p, top_k, min_p, typical_p, repetition_penalty, ban,
                stop, seed and so on.

        Raises:
            RequestError: an option is out of range, or the prompt is empty or too long.
            CapacityError: `memory` does not hold one continuation.
        """
        request = self._completion(prompt, SamplingOptions(**options))
        for delta in self._run(request):
            if on_text:
                on_text(delta.index, delta.text, delta.finished)
        return request.result()

    @with_options(SamplingOptions)
    def stream(
        self, prompt: str | Sequence[int], **options: Unpack[SamplingArguments]
    ) -> Iterator[str]:
        """Yield the text of one continuation while it is drawn.

        The parts joined are `sample(...)[0].text`; a prefix of a stop string is held back. Options
        and errors are those of `sample`; n must be 1. Closing the iterator stops the computation.
        """
        checked = SamplingOptions(**options)
        if checked.n != 1:
            raise RequestError(
                "n is {n}; a stream has one continuation: use sample for more", n=checked.n
            )
        if checked.top_logprobs:
            raise RequestError(
                "top_logprobs is {top_logprobs}; a stream is text only: use sample",
                top_logprobs=checked.top_logprobs,
            )
        request = self._completion(prompt, checked)
        return (delta.text for delta in self._run(request) if delta.text)

    @with_options(VotingOptions)
    def vote(
        self,
        prompt: str | Sequence[int],
        *,
        on_tally: Callable[[Sequence[AnswerShare], float], None] | None = None,
        **options: Unpack[VotingArguments],
    ) -> Vote:
        """Return the answer that most continuations of a prompt give, with shares and intervals.

        Args:
            prompt: text, or token ids that are used unchanged.
            on_tally: called with the answers so far and the share of samples, or of probability,
                that is decided.
            **options: the fields of `VotingOptions`, which says the unit and the range of each: n,
                method, choices, answer, match, aliases, confidence, budget, and those of a sample.

        Raises:
            RequestError: an option is out of range, or the prompt is empty or too long.
            CapacityError: `memory` does not hold one continuation.
        """
        options["aliases"] = options.get("aliases") or {}
        checked = VotingOptions(**options)  # type: ignore[arg-type]
        request = VoteRequest(self.tokenizer, self.engine.config, prompt, checked)
        for progress in self._run(request):
            if on_tally:
                on_tally(progress.tally, progress.decided)
        return request.result()

    def score(
        self,
        prompt: str | Sequence[int],
        continuations: Sequence[str | Sequence[int]],
        *,
        boundary: Boundary = "apart",
        pmi: bool = True,
        top: int = 0,
    ) -> list[Score]:
        """Return how likely each continuation of a prompt is; what they share is computed once.

        Args:
            prompt: text, or token ids that are used unchanged; empty: the start of a text.
            continuations: texts, or token ids that are used unchanged.
            boundary: "apart" or "joint", how prompt and continuation are encoded; see
                `ScoreRequest`.
            pmi: whether to compute `Score.pmi`, which scores each continuation once more.
            top: the number of likeliest tokens to report in the place of each token.

        Raises:
            RequestError: there is no continuation, one is empty, or the context does not hold it.
        """
        if isinstance(continuations, str):
            continuations = [continuations]
        query = Query(prompt=prompt, continuations=continuations)
        request = ScoreRequest(
            self.tokenizer, self.engine.config, [query], boundary=boundary, pmi=pmi, top=top
        )
        return list(self.run(request).scores[0])

    def perplexity(self, text: str, *, stride: int = STRIDE) -> Perplexity:
        """Return the perplexity of a text of any length, by token, character and byte.

        Args:
            text: at least one token.
            stride: tokens between the beginnings of two windows of the context's length.

        Raises:
            RequestError: the text has no token to score, or the stride is out of range.
        """
        config = self.engine.config
        return self.run(PerplexityRequest(self.tokenizer, config, text, stride=stride))

    def run(self, request: GenerationRequest[Any, Result]) -> Result:
        """Run any request to its end and return its result."""
        for _ in self._run(request):
            pass
        return request.result()

    def next_characters(
        self,
        prompt: str | Sequence[int],
        k: int = 10,
        *,
        also: str | Iterable[str] = (),
        special: bool = False,
    ) -> Likeliest[NextCharacter]:
        """Return the k likeliest next characters, likeliest first, among them the text's end.

        The tokens that begin with a character are summed; behind a token without text, as CPM's
        lone word mark, one more row is computed. Characters, ends and special tokens sum to one.

        Args:
            prompt: text, or token ids that are used unchanged.
            k: the number of characters, 1 to the size of the vocabulary.
            also: texts of any length to list as well, with the probability that what follows begins
                so: the sum over the token paths that spell it, with a word mark or without, in one
                piece or several. Of the paths to one place in a text the 8 likeliest are followed
                that are within a millionth of the first; the others are left out of the sum.
            special: whether names of special tokens in the prompt mean these tokens.

        Raises:
            RequestError: k is out of range, the prompt is bad, or a text of `also` cannot follow.
        """
        texts = (also,) if isinstance(also, str) else also
        return self.run(
            NextCharactersRequest(
                self.tokenizer, self.engine.config, prompt, k=k, also=texts, special=special
            )
        )

    def next_tokens(
        self,
        prompt: str | Sequence[int],
        k: int = 10,
        *,
        also: str | Iterable[str] = (),
        special: bool = False,
    ) -> Likeliest[NextToken]:
        """Return the k likeliest next tokens, likeliest first; ties by the lower id.

        Args:
            prompt: text, or token ids that are used unchanged.
            k: the number of tokens, 1 to the size of the vocabulary.
            also: texts of tokens to list as well, however unlikely; two tokens may have the same
                text, one within a word and one at its beginning.
            special: whether names of special tokens in the prompt mean these tokens.

        Raises:
            RequestError: k is out of range, the prompt is bad, or a text of `also` is no token.
        """
        texts = (also,) if isinstance(also, str) else also
        return self.run(
            NextTokensRequest(
                self.tokenizer, self.engine.config, prompt, k=k, also=texts, special=special
            )
        )

    def prompt_ids(self, prompt: str | Sequence[int]) -> list[int]:
        """Return a prompt's token ids, after the tokenizer's prefix ids.

        Raises:
            RequestError: the prompt is empty, fills the context, or holds an id out of range.
        """
        return self.read_prompt(prompt).ids

    def read_prompt(self, prompt: str | Sequence[int], *, special: bool = False) -> Prompt:
        """Return a prompt's token ids, and notes about what may not have been meant.

        Args:
            prompt: text, or token ids that are taken as they are.
            special: whether names of special tokens in the text mean these tokens.

        Raises:
            RequestError: the prompt is empty, fills the context, or holds an id out of range.
        """
        return read_prompt(self.tokenizer, self.engine.config, prompt, special=special)

    def _completion(
        self, prompt: str | Sequence[int], options: SamplingOptions
    ) -> CompletionRequest:
        return CompletionRequest(self.tokenizer, self.engine.config, prompt, options)

    def __repr__(self) -> str:
        """Return the size, the vocabulary and the engine on one line."""
        c = self.engine.config
        size = f"{c.parameter_count / 1e6:,.1f} M parameters ({c.n_layer} layers of {c.n_embd})"
        limits = f"{c.vocab_size:,} tokens, context {c.n_positions:,}"
        return on_a_line("Model", [size, limits, f"{self.engine.name} engine"])

    def close(self) -> None:
        """Free the session that is reused from call to call; the model can still be used."""
        self._sessions.close()

    def __enter__(self) -> Model:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, request: GenerationRequest[Event, Any]) -> Iterator[Event]:
        """Run one request to its end; yield its results as they become certain.

        Closing the iterator stops the computation and releases its nodes.
        """
        with self._sessions.lend(request.node_budget) as session, Scheduler(session) as scheduler:
            job = scheduler.add(request.algorithm())
            while not job.done:
                scheduler.step()
                yield from request.poll()
        job.result()  # raises what the algorithm raised


def load(
    path: str | Path | None = None,
    *,
    engine: EngineName = EngineOptions.engine,
    threads: int | None = EngineOptions.threads,
) -> Model:
    """Open a converted model with its tokenizer.

    Args:
        path: the directory of a converted model, or the name of one that `cpm list` shows; by
            default the small model in the package.
        engine: native, tensorflow, jax, reference or auto.
        threads: the number of CPU threads; by default the engine's own choice.

    Raises:
        CheckpointError: there is no such model, or it is damaged.
        TokenizerError: it has no tokenizer, or one of another vocabulary size.
        EngineError: the engine is unknown, not installed, or cannot run here.
    """
    from cpm_lm.checkpoints.layouts.store import Store
    from cpm_lm.checkpoints.manifest import files_digest
    from cpm_lm.checkpoints.named import model_path
    from cpm_lm.engines.select import start_engine

    if path is None and not DEMO.is_dir():
        raise CheckpointError(
            "this installation carries no model of its own; "
            "name one that `cpm convert` made: load(path), or --model PATH"
        )
    directory = DEMO if path is None else model_path(path)
    store = Store.open(directory)
    if not store.has_tokenizer:
        raise TokenizerError(
            "{directory} holds a model without a tokenizer; copy its vocabulary "
            "there (chinese_vocab.model and vocab.json, or vocab.txt), or convert it "
            "again with --tokenizer DIRECTORY",
            directory=directory,
        )
    tokenizer = Tokenizer.load(directory)
    options = EngineOptions(engine=engine, threads=threads)
    return Model(start_engine(store, options), tokenizer, digest=files_digest(directory))
