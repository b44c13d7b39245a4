"""What every family of vocabularies offers.

Does not know the families: `families` lists them, and each has modules of its own.
"""

from __future__ import annotations

import abc
import operator
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, SupportsIndex

from cpm_lm.errors import RequestError, TokenizerError
from cpm_lm.tokenizer.unsupported import unsupported

__all__ = ["NOTHING", "Decoder", "Tokenizer"]

NOTHING: tuple[int, ...] = ()


class Decoder(abc.ABC):
    """Ids to text, one at a time; the parts joined are the text of all ids together."""

    @abc.abstractmethod
    def feed(self, token: SupportsIndex) -> str:
        """Return the text that is settled now that this id has come; it may be empty."""

    @abc.abstractmethod
    def flush(self) -> str:
        """Return what was held back, at the end of the ids."""


class Tokenizer(abc.ABC):
    """What every family of vocabularies offers."""

    vocab_size: int
    """The number of ids, 0 to vocab_size - 1."""
    end_ids: frozenset[int]
    """The ids that end a text."""
    pad_id: int | None
    """The id that fills up the rows of a batch, where the vocabulary has one."""
    prefix_ids: tuple[int, ...]
    """What goes before the ids of every prompt."""

    families: ClassVar[tuple[type[Tokenizer], ...]] = ()
    """Set by `families.py`, so that no family is imported here."""

    @staticmethod
    def load(directory: str | Path) -> Tokenizer:
        """Read the vocabulary files in a directory, of whichever family they are.

        Raises:
            TokenizerError: files are missing, damaged, or do not fit together.
        """
        directory = Path(directory)
        for family in Tokenizer.families:
            if family.files_in(directory):
                return family.read(directory)
        if what := unsupported(directory):
            raise TokenizerError(
                f"no vocabulary that can be read: that in {directory} is {what}; the families "
                "that are read are CPM's (chinese_vocab.model) and BERT's word pieces "
                "(vocab.txt); the model itself can be converted and run on ids without a "
                "vocabulary"
            )
        raise TokenizerError(
            f"no vocabulary: {directory} has no chinese_vocab.model, as CPM's models do, and no "
            "vocab.txt, as those with BERT's word pieces do; put the model's own files there"
        )

    @staticmethod
    def files(directory: str | Path) -> tuple[str, ...]:
        """Return the names of the files that `load` reads there; empty: no tokenizer there."""
        found = (family.files_in(Path(directory)) for family in Tokenizer.families)
        return next(filter(None, found), ())

    @staticmethod
    @abc.abstractmethod
    def files_in(directory: Path) -> tuple[str, ...]:
        """Return the names of this family's files in a directory; empty: it is not theirs."""

    @classmethod
    @abc.abstractmethod
    def read(cls, directory: Path) -> Tokenizer:
        """Read this family's files in a directory.

        Raises:
            TokenizerError: files are missing, damaged, or do not fit together.
        """

    @abc.abstractmethod
    def encode(self, text: str) -> list[int]:
        """Return the ids of a text; none of them is a special token, whatever the text says."""

    @abc.abstractmethod
    def decode(self, ids: Iterable[SupportsIndex]) -> str:
        """Return the text of ids.

        Encoding is lossy: CPM's makes full-width punctuation half-width and drops tabs and
        ideographic spaces, BERT's drops line ends and most spaces; what is not in the vocabulary
        becomes `⁇`. So never cut a prompt off a result by its length; decode the new ids only.

        Raises:
            RequestError: an id is not in the vocabulary.
        """

    @abc.abstractmethod
    def decoder(self, after: Iterable[SupportsIndex] = NOTHING) -> Decoder:
        """Return a new incremental decoder.

        Args:
            after: the ids that the text follows; a family that writes no spaces decides by them
                whether the text begins with one.
        """

    @abc.abstractmethod
    def piece(self, token: SupportsIndex) -> str:
        """Return one id's text, or its name if it stands for no text (`<eod>`), for display.

        Raises:
            RequestError: the id is not in the vocabulary.
        """

    @abc.abstractmethod
    def unknown_count(self, ids: Iterable[SupportsIndex]) -> int:
        """Return how many of the ids stand for what is not in the vocabulary."""

    @abc.abstractmethod
    def splits_word(self, prompt: str) -> bool:
        """Say whether a prompt ends where a word could go on, which its ids then cannot."""

    def normalize(self, text: str) -> str:
        """Return a text as it would come back from `decode`."""
        return self.decode(self.encode(text))

    def as_generated(self, text: str) -> str:
        """Return a stop string as it would be drawn, or nothing if no model can draw it.

        What the vocabulary lacks comes back as one and the same sign; a stop string with that
        sign would stop at everything else the vocabulary lacks.
        """
        ids = self.encode(text)
        return "" if self.unknown_count(ids) else self.decode(ids)

    def _index(self, token: SupportsIndex) -> int:
        """Return an id, checked."""
        index = operator.index(token)
        if not 0 <= index < self.vocab_size:
            raise RequestError(
                f"token id {index} is not in the vocabulary; expected 0 to {self.vocab_size - 1}"
            )
        return index
