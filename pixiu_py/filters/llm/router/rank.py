"""In which order the models of a route are tried. Pure.

The sort is stable: equals stay as they were declared. A model that nothing is known of comes last, in declared order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixiu_py.filters.llm.router.prices import Rates

#: A model's figure, lower is better; None: unknown.
Figure = Callable[[str], float | None]


def ranked(models: Sequence[str], figure: Figure) -> tuple[str, ...]:
    """``models`` by ``figure``, ascending."""
    return tuple(sorted(models, key=lambda model: _known(figure(model))))


def price(rates: Rates | None) -> float | None:
    """What cheapness is measured by: a million tokens in and a million out."""
    return None if rates is None else rates.input + rates.output


def _known(value: float | None) -> float:
    return math.inf if value is None or math.isnan(value) else value
