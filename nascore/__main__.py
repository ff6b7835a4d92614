"""The command `nascore`, also `python -m nascore`. Until a command begins, Ctrl-C has nothing to
lose: it ends the process with one line, whatever is being imported."""

import os
import signal
import sys
from io import TextIOWrapper
from signal import SIGINT, default_int_handler, getsignal
from types import FrameType


def main() -> int:
    """Run one command; the exit status."""
    _open_standard_streams()
    if getsignal(SIGINT) is default_int_handler:
        signal.signal(SIGINT, _leave)
    from nascore.cli import main

    return main()


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"nascore: interrupted\n")
    os._exit(130)


def _open_standard_streams() -> None:
    """A stream that was closed (`2>&-`) is nowhere, and no file that is opened later takes its
    place. What a stream's encoding does not have is written as Python writes it."""
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(nowhere)
    sys.stdout = sys.stdout or open(os.devnull, "w")
    sys.stderr = sys.stderr or open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    sys.exit(main())
