"""What keeps a conversation on its model: the contract between the filter and the ways of doing so.

For each request the filter calls, in this order, what there is a session for:

    look_up(headers, conversation)           which session, and what is known of it; None: the request belongs to none
    released(session)                        its pin names a model that is not served any more
    held(session, conversation)              a pin that stands: nothing is decided
    settle(session, candidate, conversation) after a decision: the pin or the candidate
    answered(session, served)                a good answer has begun, the client has seen nothing of it yet
    ended(session, served, usage)            the answer is over; asked only of those that want its ``usage``

Instead of all of these, ``again(session, head)`` tells of a head that has led to a pin before whether it still does.

A store that fails is as good as an empty one: none of these raises.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pixiu_py.filters.llm.router.choice import Choice
    from pixiu_py.filters.llm.router.conversation import Conversation
    from pixiu_py.filters.llm.usage import Usage
    from pixiu_py.http.headers import Headers
    from pixiu_py.http.received import Received


class Pin(NamedTuple):
    """A model, and the route that led to it: None when no route matched."""

    model: str
    route: str | None = None


@lru_cache(maxsize=1024)
def pin(model: str, route: str | None) -> Pin:
    """The same as ``Pin``, but one object for all requests, which are for a few models."""
    return Pin(model, route)


@dataclass(slots=True)
class Session:
    """A conversation, as one request finds it."""

    #: What the client calls it; empty when it was recognised without a name.
    id: str
    #: What the store calls it.
    key: str
    #: The pin that was found, whether it stands or not.
    pin: Pin | None = None
    #: Whatever else is kept of it.
    state: Any = None
    #: The choice that follows from it, where that is the same each time (``Affinity.steady``).
    choice: Choice | None = None


class Settled(NamedTuple):
    """What a session makes of a decision. ``pinned``: it was known; ``switched``: it leaves its model."""

    pin: Pin
    pinned: bool = False
    switched: bool = False


class Affinity:
    """Base of the ways of keeping conversations on their models."""

    #: True when the conversation must have been read before ``look_up``. False: it is given when it has been read anyway.
    reads_body: bool = False
    #: True when a pin that was found stands, whatever the request, and another answer from its model changes nothing.
    steady: bool = False
    #: True when ``ended`` wants the token counts of the answer.
    reads_usage: bool = False

    async def start(self) -> None:
        """Connect. Raise to stop the gateway from starting."""

    async def close(self) -> None:
        """Disconnect."""

    async def look_up(self, headers: Headers, conversation: Conversation | None) -> Session | None:
        """The session of a request, with what the store knows of it; None: it belongs to none."""
        raise NotImplementedError

    def released(self, session: Session) -> Session:
        """The pin cannot be followed: the session as if there were none. The next answer will take its place."""
        return replace(session, pin=None, choice=None)

    def again(self, session: Session, head: Received) -> Received | None:
        """What ``look_up`` leaves of the head of another request like the last one, if its session is just as it was.

        None: it has to be looked up. Asked of those that are ``steady``.
        """
        return None

    def held(self, session: Session, conversation: Conversation | None) -> Pin | None:
        """The pin that is to be used without a decision; None: decide. ``conversation``: see ``reads_body``."""
        raise NotImplementedError

    def settle(self, session: Session, candidate: Pin, conversation: Conversation) -> Settled:
        """What is used after a decision for ``candidate``."""
        raise NotImplementedError

    def strip(self, headers: Headers) -> None:
        """Take out of a request what is meant for this gateway alone."""

    def answered(self, session: Session, served: Pin) -> None:
        """``served`` has begun to answer well: this is what is to be found next time. Not called after a failure.

        Never waits: the client does not wait for the store.
        """
        raise NotImplementedError

    def ended(self, session: Session, served: Pin, usage: Usage | None) -> None:
        """An answer that began well is over. Called for ``reads_usage`` only; ``usage`` is None when it was not told."""
