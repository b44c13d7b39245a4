"""A request for a vote over the continuations of a prompt: draws or enumerates texts.

Knows tokenizers, the algorithms and how answers are compared; does not know engines or sessions,
nor how the result is built: `vote` does.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence

from cpm_lm.config import GPTConfig
from cpm_lm.decoding.adaptive import sample_until
from cpm_lm.decoding.best_first import NO_ANSWER, Found, best_first, row_bytes
from cpm_lm.decoding.choices import MAX_ROWS, choose
from cpm_lm.decoding.protocol import Algorithm
from cpm_lm.decoding.rng import Independent, Stratified
from cpm_lm.decoding.sampling import Sampled, sample
from cpm_lm.generation.answers import Answers, normalized
from cpm_lm.generation.choices import Choices, read_choices
from cpm_lm.generation.numbers import commas_separate
from cpm_lm.generation.options import VotingOptions
from cpm_lm.generation.plan import SamplingPlan
from cpm_lm.generation.request import GenerationRequest
from cpm_lm.generation.stop_marks import cut_off_advice, inferred_stop, scatter_advice
from cpm_lm.generation.stopping import StoppedText
from cpm_lm.generation.vote import (
    CUT_OFF,
    Vote,
    VoteProgress,
    bounds,
    drawn_vote,
    exact_vote,
    leads,
    tally_decisions,
)
from cpm_lm.languages import tr
from cpm_lm.tokenizer import Tokenizer

__all__ = ["VoteRequest"]

LINE_END = "\n"
"""A stop string of every vote: an answer ends at the end of its line."""


class VoteRequest(GenerationRequest[VoteProgress, Vote]):
    """A vote over the continuations of a prompt.

    Raises:
        RequestError: an option or the prompt is wrong.
        CapacityError: the memory allowed does not hold one text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        config: GPTConfig,
        prompt: str | Sequence[int],
        options: VotingOptions,
    ) -> None:
        aliases = {normalized(form): name for form, name in options.aliases.items()}
        self._options = options
        self._plan = plan = SamplingPlan(
            tokenizer,
            config,
            prompt,
            options,
            stops=() if options.choices else (LINE_END,),
            row_bytes=row_bytes(config.vocab_size) if options.method == "exact" else 0,
        )
        self._started = time.perf_counter()  # after the tokenizer has read its data
        text = prompt if isinstance(prompt, str) else tokenizer.decode(plan.ids)
        self._end_where_examples_end(text)
        self._answers = Answers(
            pattern=options.answer,
            aliases=aliases,
            match=options.match,
            commas_separate=commas_separate(text),
        )
        banned = [ban for ban in options.bans if isinstance(ban, str)]
        names = read_choices(options.choices) if options.choices else ()
        self._choices = Choices(tokenizer, names, banned) if names else None
        if options.method == "exact":
            most_nodes = max(self._row_budget(), plan.most_rows)
        else:
            most_nodes = plan.nodes_of(options.n)
        self.node_budget = plan.node_budget(most_nodes)
        self._outcome: Sampled | Found | None = None
        self._reported = -1.0
        """The share decided at the last progress that `poll` returned."""
        self._reset()

    def algorithm(self) -> Algorithm[None]:
        """Return a new generator that draws or enumerates the texts; see `GenerationRequest`."""
        self._reset()
        self._outcome = yield from self._plan.observed(self._decoding())

    def poll(self) -> list[VoteProgress]:
        """Return the tally, if more is decided than at the last call."""
        if self._found:
            decided = 1 - self._found.unexplored
        else:
            decided = len(self._known_decisions()) / self._options.n
        if decided <= self._reported:
            return []
        self._reported = decided
        rows = (
            bounds(self._found, self._options)
            if self._found
            else tally_decisions(self._known_decisions())
        )
        return [VoteProgress(tally=rows, decided=decided)]

    def result(self) -> Vote:
        """Return the vote."""
        assert self._outcome is not None, "the algorithm has not ended"
        plan, options = self._plan, self._options
        if isinstance(self._outcome, Found):
            return exact_vote(self._outcome, plan, options, started=self._started)
        return drawn_vote(
            self._known_decisions(),
            self._outcome,
            plan,
            options,
            advice=self._advice(),
            started=self._started,
        )

    def _end_where_examples_end(self, prompt: str) -> None:
        """Add the stop string that the prompt's examples have, unless the options say otherwise."""
        options = self._options
        if options.stop or options.answer is not None or options.whole_line:
            return
        mark = inferred_stop(prompt)
        if mark and mark != LINE_END:
            self._plan.end_at(
                mark,
                tr(
                    "answers end at {mark!r}, as the prompt's examples do; --whole-line "
                    "takes lines",
                    mark=mark,
                ),
            )

    def _advice(self) -> str:
        """Return a note about a stop string that would make answers of the texts, or ""."""
        options = self._options
        if options.answer is not None or options.whole_line:
            return ""
        every = zip(self._texts, self._decisions, strict=True)
        decided = [(text, decision) for text, decision in every if decision is not None]
        cut_off = [text.text for text, decision in decided if decision is CUT_OFF]
        if 2 * len(cut_off) > len(decided):
            return cut_off_advice(cut_off, len(decided), self._plan.longest)
        return scatter_advice([text.text for text, _ in decided])

    def _decoding(self) -> Algorithm[Sampled | Found]:
        """Return the decoding algorithm of the method."""
        options, plan = self._options, self._plan
        limits = plan.within(self.node_budget)
        if self._choices:
            return choose(
                plan.ids,
                rules=options,
                limits=limits,
                branch_of=self._choices.branch,
                start=self._choices.start,
                rows=self._row_budget(),
                filters=plan.filters,
                on_found=self._on_found,
            )
        if options.method == "exact":
            return best_first(
                plan.ids,
                rules=options,
                limits=limits,
                filters=plan.filters,
                answer_of=self._answer_of,
                rows=self._row_budget(),
                on_found=self._on_found,
            )
        if options.confidence is not None:
            return sample_until(
                plan.ids,
                options.n,
                rules=options,
                seed=plan.seed,
                limits=limits,
                filters=plan.filters,
                enough=self._enough,
                on_token=self._on_token,
                on_end=self._on_end,
            )
        stratified = options.method == "stratified"
        return sample(
            plan.ids,
            options.n,
            rules=options,
            source=Stratified(plan.seed, options.n) if stratified else Independent(plan.seed),
            limits=limits,
            filters=plan.filters,
            on_token=self._on_token,
            on_end=self._on_end,
        )

    def _reset(self) -> None:
        n = self._options.n
        self._texts = [self._plan.new_text() for _ in range(n)]
        self._token_counts = [0] * n
        self._decisions: list[object | None] = [None] * n
        self._found: Found | None = None
        self._outcome = None

    def _row_budget(self) -> int:
        """Return the maximum number of rows of an exact vote; by default, what n texts need."""
        options = self._options
        if options.budget is not None:
            return options.budget
        if self._choices:
            return len(self._plan.ids) + MAX_ROWS
        return len(self._plan.ids) + options.n * options.max_tokens

    def _decision(self, text: StoppedText, ended: bool) -> Hashable | None:
        """Return a text's answer, or NO_ANSWER, or None while it may still change."""
        finished = ended or text.stopped
        decided, answer = self._answers.decide(text.text, finished=finished)
        return NO_ANSWER if decided and answer is None else answer

    def _answer_of(self, ids: tuple[int, ...], ended: bool) -> Hashable | None:
        text = self._plan.new_text()
        for token in ids:
            text.feed(token)
        if ended:
            text.finish()
        return self._decision(text, ended)

    def _on_token(self, i: int, token: int) -> bool:
        """Append a token to a sample; return whether the sample's answer is decided."""
        self._token_counts[i] += 1
        self._texts[i].feed(token)
        self._decisions[i] = self._decision(self._texts[i], ended=False)
        return self._decisions[i] is not None

    def _on_end(self, i: int) -> None:
        """Decide a sample after its last token."""
        self._texts[i].finish()
        if self._decisions[i] is None:
            # End tokens are not counted, so a sample with the maximum count drew none.
            cut_off = self._token_counts[i] == self._plan.longest
            self._decisions[i] = CUT_OFF if cut_off else self._decision(self._texts[i], ended=True)

    def _on_found(self, found: Found) -> None:
        self._found = found

    def _known_decisions(self) -> list[object]:
        """Return the decisions so far, in the order of the samples."""
        return [decision for decision in self._decisions if decision is not None]

    def _enough(self) -> bool:
        """Return whether the leader leads with the probability asked for."""
        confidence = self._options.confidence
        return confidence is not None and leads(self._known_decisions(), confidence)
