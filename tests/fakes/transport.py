"""A transport for tests that feed a protocol by hand."""

from __future__ import annotations

import asyncio
from typing import Any


class FedTransport(asyncio.Transport):
    """Keeps what is written, and closes at once. Nothing comes by itself, so there is nothing to pause."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None:
        """The test feeds."""

    def resume_reading(self) -> None:
        """The test feeds."""
