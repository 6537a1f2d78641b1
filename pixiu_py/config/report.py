"""What is wrong with a configuration file: collected, put in its place, and cleared of secrets."""

from __future__ import annotations

import re

from pixiu_py.config.node import Place
from pixiu_py.errors import Problem

#: A hidden text of at least this length is taken out wherever it stands; a shorter one only where it is quoted, so that
#: a port from the environment does not blot out every number.
_ANYWHERE = 8


class Report:
    """Problems and warnings of one file. Values from outside the file are kept out of every message."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._places: dict[str, Place] = {"": (1, 1)}
        self._hidden: dict[str, str] = {}

    @property
    def problems(self) -> list[Problem]:
        """Every problem, in the order of the file."""
        return sorted(map(self._clear, self._problems), key=_position)

    @property
    def warnings(self) -> list[Problem]:
        """Every warning, in the order of the file."""
        return sorted(map(self._clear, self._warnings), key=_position)

    def seen(self, path: str, place: Place) -> None:
        """Remember where the value at ``path`` stands."""
        self._places[path] = place

    def where(self, path: str) -> Place:
        """Where ``path`` stands, or the nearest block around it that is in the file."""
        while path not in self._places:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self._places[path]

    def problem(self, path: str, message: str, place: Place | None = None) -> None:
        """Something that keeps the file from being used. ``place`` is looked up when it is not given."""
        self._problems.append(self._entry(path, message, place))

    def warning(self, path: str, message: str, place: Place | None = None) -> None:
        """Something that works, but not as its author may think."""
        self._warnings.append(self._entry(path, message, place))

    def below(self, path: str) -> BlockReport:
        """This report, for who knows one block only: its paths begin there."""
        return BlockReport(self, path)

    def hide(self, text: str, source: str) -> None:
        """Keep ``text`` out of all messages; ``source`` is shown in its place."""
        for shown in (text, text.strip()):
            if shown:
                self._hidden[shown] = source

    def trial(self) -> Report:
        """An empty report on the same file, for a reading that may be thrown away."""
        return Report(self.file)

    def absorb(self, trial: Report) -> None:
        """Take over what a trial has found."""
        self._problems += trial._problems
        self._warnings += trial._warnings
        self._places.update(trial._places)

    def _entry(self, path: str, message: str, place: Place | None) -> Problem:
        line, column = place or self.where(path)
        return Problem(path, message, self.file, line, column)

    def _clear(self, problem: Problem) -> Problem:
        message = problem.message
        for text in sorted(self._hidden, key=len, reverse=True):
            message = _hide(message, text, self._hidden[text])
        return Problem(problem.path, message, problem.file, problem.line, problem.column)


class BlockReport:
    """What is wrong with one block. Paths are those below it, such as ``routes[0].models[1]``; empty: the block."""

    def __init__(self, report: Report, path: str) -> None:
        self._report = report
        self._path = path

    def problem(self, path: str, message: str) -> None:
        """See ``Report.problem``."""
        self._report.problem(self._at(path), message)

    def warning(self, path: str, message: str) -> None:
        """See ``Report.warning``."""
        self._report.warning(self._at(path), message)

    def _at(self, path: str) -> str:
        return f"{self._path}.{path}" if path else self._path


def _hide(message: str, text: str, source: str) -> str:
    message = message.replace(repr(text), f"the value from {source}")
    if len(text) < _ANYWHERE:
        return message
    shapes = "|".join(re.escape(shape) for shape in (text, repr(text)[1:-1]))
    return re.sub(shapes, lambda _: source, message, flags=re.IGNORECASE)


def _position(problem: Problem) -> Place:
    return problem.line, problem.column
