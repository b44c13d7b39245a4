"""The command line: `cpm`, and `python -m cpm_lm` if the script is not on the PATH.

Knows only what to do about Ctrl-C while the command line itself is imported: end at once, since
nothing has begun.
"""

import os
import signal
from types import FrameType

__all__ = ["main"]


def main() -> None:
    """Import the command line and run it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _end)
    from cpm_lm.cli import main as run

    run()


def _end(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
