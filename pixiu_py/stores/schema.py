"""Tables and how they came about: versioned migrations, the same notion for every database."""

from __future__ import annotations

from typing import NamedTuple

from pixiu_py.errors import StartError


class Schema(NamedTuple):
    """The tables of one component, as the steps that made them; a database remembers how many steps it has seen.

    A step is never changed once it was released: the next change is another step.
    """

    component: str
    #: Each step is some statements.
    migrations: tuple[tuple[str, ...], ...]

    def unseen(self, done: int) -> tuple[tuple[str, ...], ...]:
        """The steps after the first ``done``. Raises ``StartError`` when the database has seen more than there are."""
        if done > len(self.migrations):
            raise StartError(f"the tables of {self.component} were made by a newer version of pixiu-py")
        return self.migrations[done:]
