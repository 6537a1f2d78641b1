"""What commands print."""

from __future__ import annotations

import os
import sys


def open_standard_streams() -> None:
    """Where a process was started without them, the next files would take their places, and their lines."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for the life of the process
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - likewise


def put(text: str) -> int:
    """Print ``text`` on standard output; the exit code. A reader that has seen enough, such as ``head``, is no fault."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _give_up()
        return 0
    except OSError as error:
        print(f"standard output: {error.strerror}", file=sys.stderr)
        _give_up()
        return 1
    return 0


def _give_up() -> None:
    """Else Python would try once more when it ends, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
