"""What commands print."""

from __future__ import annotations

import os
import sys


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
