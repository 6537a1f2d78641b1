"""The way past the sinks says what it is for."""

from __future__ import annotations

from typing import Any, cast

from pixiu_py.http.passage import Passage


def test_any_whole_chunk_may_pass_unless_someone_asked_for_more() -> None:
    passage = Passage(cast(Any, None), cast(Any, None), cast(Any, None))
    framed = b"2\r\nhi\r\n"
    assert framed[passage.cut :] == passage.ends
    passage.watch(framed)


def test_only_what_ends_so_may_pass_and_is_shown() -> None:
    """The end of an event with the framing's behind it."""
    seen: list[bytes] = []
    passage = Passage(cast(Any, None), cast(Any, None), cast(Any, None))
    passage.only(b"\n\n", seen.append)
    assert b"3\r\nx\n\n\r\n"[passage.cut :] == passage.ends
    for other in (b"2\r\nx\n\r\n", b"4\r\nx\n\nx\r\n", b"5\r\nx\r\n\r\n\r\n"):
        assert other[passage.cut :] != passage.ends
    passage.watch(b"3\r\nx\n\n\r\n")
    assert seen == [b"3\r\nx\n\n\r\n"]
