"""The contract of a decider: which of the declared routes a conversation belongs to.

Deciders are a plugin family of their own: ``@plugin(Family.DECIDER, "kind")`` on a class in the plugins folder, and
``deciders: [{type: kind, …}]`` in the configuration. Life of a decider: as a filter's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pixiu_py.config.types import Empty, Model
from pixiu_py.errors import PixiuError

if TYPE_CHECKING:
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.conversation import Conversation
    from pixiu_py.filters.llm.router.model import Preference

#: A decider's answer when it is sure that no route fits: nobody else is asked.
NO_ROUTE = ""


class DeciderError(PixiuError):
    """A decider could not do its work. ``kind`` is a short name for the metrics, such as ``timeout``."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(detail or kind)
        self.kind = kind


class Decider:
    """Base of deciders."""

    #: The model of its keys, which stand beside ``type``.
    Config: ClassVar[type[Model]] = Empty

    def __init__(self, config: Any, context: Context) -> None:
        self.config = config
        self.context = context

    async def start(self) -> None:
        """Open what is needed. Raise to stop the gateway from starting."""

    async def close(self) -> None:
        """Release what ``start`` opened."""

    def decide(self, conversation: Conversation, routes: Sequence[Preference]) -> str | None | Awaitable[str | None]:
        """The name of a route; ``NO_ROUTE``: none fits; None: no opinion, ask the next one. May be a coroutine function.

        ``routes`` are in their declared order, never empty; those of a request stand in for those of the configuration.
        Raises ``DeciderError``: the next one is asked, and the failure is counted.
        """
        raise NotImplementedError
