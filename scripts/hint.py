"""Says what to try once the gateway runs. Called by ``make run`` with the configuration's path.

The command is the one in the comment at the top of the file: whoever wrote the file knows what it answers.
"""

from __future__ import annotations

import sys
from itertools import dropwhile, takewhile
from pathlib import Path

START = "Starting the gateway on {config}."
TRY = """ When it is ready, try from another terminal:

{command}
"""
NEXT = """
Ctrl-C ends it. Next: read the comments in {config}, look at the other files in conf/,
or write a filter of your own in plugins/ (docs/plugins.md).
"""


def command(text: str) -> str:
    """The first curl in the comment at the top of a configuration, with the lines that go on with it; empty: none."""
    comment = (line.removeprefix("#") for line in takewhile(lambda line: line.startswith("#"), text.splitlines()))
    lines = dropwhile(lambda line: not line.strip().startswith("curl "), comment)
    return "\n".join(takewhile(str.strip, lines)).rstrip()


def main() -> None:
    """Print the hint; leave every complaint about the file to the gateway, which says it better."""
    config = Path(sys.argv[1])
    try:
        found = command(config.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return
    text = START + (TRY.format(command=found) if found else "\n") + NEXT
    sys.stdout.write(text.replace("{config}", str(config)))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
