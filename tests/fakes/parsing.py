"""A connection to an endpoint that takes none of the short ways: what the others have to come to."""

from __future__ import annotations

from pixiu_py.upstream.connection import UpstreamConnection


class ParsingConnection(UpstreamConnection):
    """Has the parser do everything."""

    def _recognised(self, data: bytes) -> bool:
        return False

    def data_received(self, data: bytes) -> None:
        """See ``UpstreamConnection``."""
        self._aligned = False
        super().data_received(data)
