"""Says what to try once the gateway runs. Called by ``make run`` with the configuration's path."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

HINT = """\
Starting the gateway on {config}. When it is ready, try from another terminal:

  curl -N {url}/v1/chat/completions -H 'Content-Type: application/json' \\
       -d '{{"model": "mock-small", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

Ctrl-C ends it. Next: read the comments in {config}, look at the other files in conf/,
or write a filter of your own in plugins/ (docs/plugins.md).
"""


def first_url(config: Path) -> str:
    """Where the first listener can be reached from this machine."""
    document = yaml.safe_load(config.read_text())
    address = document["static_resources"]["listeners"][0]["address"]["socket_address"]
    host = address.get("address", "127.0.0.1")
    return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{address['port']}"  # noqa: S104 - a comparison


def main() -> None:
    """Print the hint; leave every complaint about the file to the gateway, which says it better."""
    config = Path(sys.argv[1])
    try:
        url = first_url(config)
    except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError):
        return
    sys.stdout.write(HINT.format(config=config, url=url))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
