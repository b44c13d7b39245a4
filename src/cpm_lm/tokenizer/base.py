"""The interface of all tokenizers.

Knows text and ids; does not know the families of vocabularies, which `families` lists.
"""

from __future__ import annotations

import abc
import operator
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, SupportsIndex

from cpm_lm.choices import TextStyleName
from cpm_lm.errors import RequestError, TokenizerError
from cpm_lm.storage.replacing import put_back
from cpm_lm.tokenizer.beginnings import Beginnings
from cpm_lm.tokenizer.unsupported import unsupported

__all__ = ["NOTHING", "Decoder", "Tokenizer"]

NOTHING: tuple[int, ...] = ()


class Decoder(abc.ABC):
    """An incremental decoder: the parts joined are the text of all ids."""

    @abc.abstractmethod
    def feed(self, token: SupportsIndex) -> str:
        """Return the text that has become certain with this id; it may be empty."""

    @abc.abstractmethod
    def flush(self) -> str:
        """Return the text held back, after the last id."""


class Tokenizer(abc.ABC):
    """Text to token ids and back, for one vocabulary."""

    vocab_size: int
    """The number of ids, 0 to vocab_size - 1."""
    end_ids: frozenset[int]
    """The ids that end a text."""
    pad_id: int | None
    """The id that pads the rows of a batch, or None if the vocabulary has none."""
    prefix_ids: tuple[int, ...]
    """The ids before those of every prompt."""
    special_ids: Mapping[str, int] = MappingProxyType({})
    """Special tokens by name. A name in a text is text: `encode` never returns these ids."""
    text_style: str = ""
    """The name of the text style; empty for a family that has only one."""
    text_style_evidence: str = ""
    """How the text style is known, in words; empty if it is assumed."""
    text_style_record: Mapping[str, str] = MappingProxyType({})
    """What a store records of the text style: its name, and its special pieces by role."""
    note: str = ""
    """One line for the user if the text style is assumed, else empty."""

    def __repr__(self) -> str:
        """Return the family, the vocabulary's size and the text style on one line."""
        style = f", {self.text_style}" if self.text_style else ""
        return f"<{type(self).__name__} {self.vocab_size:,} tokens{style}>"

    families: ClassVar[tuple[type[Tokenizer], ...]] = ()
    """Set by `families`, so that this module imports no family."""

    @staticmethod
    def load(directory: str | Path, *, text_style: TextStyleName | None = None) -> Tokenizer:
        """Read the vocabulary files in a directory; the files determine the family.

        Args:
            directory: the directory.
            text_style: for BERT's WordPiece, the special pieces around and in a text: uer,
                gpt2-chinese, gpt2-chitchat, bos-eos or eos; by default as the files tell, else uer.

        Raises:
            TokenizerError: files are missing, damaged, or do not fit together; or the style is
                unknown, or the family has only one.
        """
        directory = Path(directory)
        put_back(directory)
        for family in Tokenizer.families:
            if family.files_in(directory):
                return family.read(directory, text_style)
        if what := unsupported(directory):
            raise TokenizerError(
                "no vocabulary that can be read: that in {directory} is {what}; the "
                "families that are read are CPM's (chinese_vocab.model) and BERT's word "
                "pieces (vocab.txt); the model itself can be converted and run on ids "
                "without a vocabulary",
                directory=directory,
                what=what,
            )
        raise TokenizerError(
            "no vocabulary: {directory} has no chinese_vocab.model, as CPM's models "
            "do, and no vocab.txt, as those with BERT's word pieces do; put the "
            "model's own files there",
            directory=directory,
        )

    @staticmethod
    def files(directory: str | Path) -> tuple[str, ...]:
        """Return the names of the files that `load` reads; empty if there is no tokenizer."""
        found = (family.files_in(Path(directory)) for family in Tokenizer.families)
        return next(filter(None, found), ())

    @staticmethod
    @abc.abstractmethod
    def files_in(directory: Path) -> tuple[str, ...]:
        """Return the names of this family's files in a directory; empty if there are none."""

    @classmethod
    @abc.abstractmethod
    def read(cls, directory: Path, text_style: str | None = None) -> Tokenizer:
        """Read this family's files in a directory.

        Raises:
            TokenizerError: files are missing, damaged, or do not fit together; or the family has
                no such text style.
        """

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; none is a special token, whatever the text contains."""

    @abc.abstractmethod
    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Return the text of ids.

        Encoding is lossy. CPM's makes full-width punctuation half-width and drops tabs and
        ideographic spaces; BERT's drops most spaces and, in most text styles, newlines; an unknown
        character becomes `⁇`. So decode only the new ids of a continuation; do not cut the decoded
        text by the length of the prompt.

        Raises:
            RequestError: an id is not in the vocabulary.
        """

    @abc.abstractmethod
    def decoder(self, after: Iterable[SupportsIndex] = NOTHING) -> Decoder:
        """Return a new incremental decoder.

        Args:
            after: the ids before the text; a family without space tokens needs them to decide
                whether the text begins with a space.
        """

    def text_after(self, token: SupportsIndex, before: str) -> str:  # noqa: ARG002
        """Return what an id adds to a text that ends in `before`; nothing for a special token.

        A family in which that depends on the text before it overrides this.
        """
        return self.decode([token])

    @abc.abstractmethod
    def piece(self, token: SupportsIndex) -> str:
        """Return the text of an id for display, or its name if it has no text (`<eod>`).

        Raises:
            RequestError: the id is not in the vocabulary.
        """

    @abc.abstractmethod
    def unknown_count(self, ids: Iterable[SupportsIndex]) -> int:
        """Return the number of unknown ids."""

    @abc.abstractmethod
    def splits_word(self, prompt: str) -> bool:
        """Return whether a prompt may end within a word, which its ids treat as complete."""

    def word_part(self, token: SupportsIndex) -> tuple[str, bool]:
        """Return the text of an id, and whether it begins a word.

        By default every id is a word by itself.
        """
        return self.decode([token]), True

    def beginnings(
        self, path: Sequence[int] = (), after: Iterable[SupportsIndex] = NOTHING
    ) -> Beginnings:
        """Return what each id adds to a text.

        Args:
            path: the ids of the text so far.
            after: the ids before the text; see `decoder`.
        """
        before = tuple(after)
        return Beginnings(
            [self._added(before, path, i) for i in range(self.vocab_size)], self.silent
        )

    @property
    def silent(self) -> frozenset[int]:
        """The ids that stand for no text: ends, and special tokens that decode to nothing."""
        named = (i for i in self.special_ids.values() if not self.decode([i]))
        return self.end_ids.union(named)

    def _added(self, after: Sequence[SupportsIndex], path: Sequence[int], token: int) -> str:
        decoder = self.decoder(after)
        for before in path:
            decoder.feed(before)
        return decoder.feed(token)

    def normalize(self, text: str) -> str:
        """Return a text after encoding and decoding."""
        return self.decode(self.encode(text))

    def as_generated(self, text: str) -> str:
        """Return a stop string in the form that is generated, or "" if no model can generate it.

        All unknown characters decode to the same character, so a stop string with that character
        would match every unknown one.
        """
        ids = self.encode(text)
        return "" if self.unknown_count(ids) else self.decode(ids)

    def _index(self, token: SupportsIndex) -> int:
        """Return an id as an int, checked to be in the vocabulary."""
        index = operator.index(token)
        if not 0 <= index < self.vocab_size:
            raise RequestError(
                "token id {index} is not in the vocabulary; expected 0 to {vocab_size}",
                index=index,
                vocab_size=self.vocab_size - 1,
            )
        return index
