"""Terminal input and output of all verbs: encodings, error lines, progress bars.

Knows the terminal; does not know the verbs.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from cpm_lm.cli.signals import interrupted
from cpm_lm.encodings import not_utf8
from cpm_lm.errors import CpmError, RequestError
from cpm_lm.escaping import escaped
from cpm_lm.languages import tr

__all__ = [
    "Text",
    "json_text",
    "listed",
    "on_terminal",
    "one_line",
    "print_json",
    "progress_bar",
    "reporting_errors",
    "use_utf8",
]


def use_utf8() -> None:
    """Write UTF-8 whatever the console's encoding is, so that Chinese is not printed as `?`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="cpm-original-bytes")


def _original_bytes(error: UnicodeError) -> tuple[bytes, int]:
    """Write bytes that the locale could not decode, as in a file name, as the UTF-8 they are."""
    assert isinstance(error, UnicodeEncodeError)
    surrogates = error.object[error.start : error.end]
    try:
        original = surrogates.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate that does not stand for a byte
        return b"?" * len(surrogates), error.end
    return original.decode("utf-8", "replace").encode(), error.end


codecs.register_error("cpm-original-bytes", _original_bytes)


@contextlib.contextmanager
def reporting_errors() -> Iterator[None]:
    """Print an error caused by a user, a file or the machine as one line; exit with code 1.

    A warning of ours is one line too, without the place in the source that Python adds.
    """
    try:
        with warnings.catch_warnings():
            shown = warnings.showwarning

            def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
                if category.__module__.startswith("cpm_lm."):
                    click.echo(f"# {one_line(str(message))}", err=True)
                else:
                    shown(message, category, *place, **more)

            warnings.showwarning = show
            yield
    except CpmError as error:
        fail(str(error))
    except KeyboardInterrupt:  # the user knows why; click would print "Aborted!"
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # the reader of our output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        fail(str(error))
    except ImportError as error:  # not one of ours is missing: a library could not be loaded
        reason = (str(error).strip() or "no reason was given").splitlines()[-1]
        fail(f"a package that cpm-lm needs cannot be loaded: {reason}; install cpm-lm again")
    except MemoryError:
        fail(
            tr("out of memory; a smaller model, fewer samples or a smaller --max-tokens needs less")
        )


def fail(message: str) -> None:
    """Print one line on stderr and exit with code 1; print nothing if a signal is the cause."""
    if not interrupted():
        click.echo(f"cpm: {one_line(message)}", err=True)
    sys.exit(1)


def one_line(message: str) -> str:
    """Return a message on one line; what would act on the terminal is escaped."""
    return escaped(" ".join(message.split()))


class Text(click.ParamType[str]):
    """Text from the command line, decoded as UTF-8 whatever the locale is."""

    name = "text"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Undo the locale's decoding, then decode as UTF-8 if possible."""
        if os.name == "nt":  # Windows passes Unicode
            return str(value)
        try:
            return os.fsencode(value).decode("utf-8")
        except UnicodeError:
            pass
        text = str(value)
        if any("\ud800" <= c <= "\udfff" for c in text):  # bytes that no locale could decode
            name = param.human_readable_name if param else "the text"
            raise RequestError(not_utf8(name, os.fsencode(value)))
        return text


def json_text(value: Any) -> str:
    """Return one JSON document; Chinese is not escaped.

    Raises:
        CpmError: a number is NaN or infinite, which JSON has no word for.
    """
    try:
        return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    except ValueError as error:
        raise CpmError(
            "the result holds a number that is not finite, which JSON cannot hold; the weights are "
            "damaged or overflow in this precision: `cpm verify` the model, or leave out --json"
        ) from error


def print_json(value: Any) -> None:
    """Print one JSON document; see `json_text`."""
    click.echo(json_text(value))


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return the first names on one line, and the total if there are more."""
    more = tr(" ({n} in all)", n=len(names)) if len(names) > most else ""
    return ", ".join(names[:most]) + more


def on_terminal() -> bool:
    """Return whether stderr is a terminal that can be drawn over; it may also be closed."""
    return sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


@contextlib.contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Return a function of (done, total) that draws a bar on a terminal, after one second."""
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        bar: Any = None

        def update(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                if not on_terminal() or time.monotonic() - started < 1:
                    return
                bar = stack.enter_context(
                    click.progressbar(length=total, label=label, file=sys.stderr)
                )
            bar.update(done - bar.pos)

        yield update
