"""What a request costs: tokens by class times prices, exactly.

``uncached × in + read × in × m_read + Σ written_t × in × m_t + completion × out``, where uncached is what is left of the
input. Everything is a ``Decimal`` and nothing is rounded.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from typing import NamedTuple

from pixiu_py.stores.ledger.tariff import Tariff

#: More digits than a product of the largest count, price and multiplier has; to lose one would be an error, not a rounding.
EXACT = Context(prec=80, traps=[Inexact, InvalidOperation])
_MILLION = Decimal(1_000_000)
#: The largest count that is believed: an endpoint's number above it is cut, so that every database can hold it,
#: and the sum of millions.
MOST_TOKENS = 2**40


class Tokens(NamedTuple):
    """Tokens of one request by class. ``prompt`` is the whole input: read, written and neither."""

    prompt: int = 0
    completion: int = 0
    read: int = 0
    write_5m: int = 0
    write_1h: int = 0
    write_24h: int = 0

    @property
    def written(self) -> int:
        """Written, for whichever time."""
        return self.write_5m + self.write_1h + self.write_24h


class Cost(NamedTuple):
    """``listed`` as if nothing were cached, ``charged`` with what was."""

    listed: Decimal
    charged: Decimal


def capped(tokens: Tokens) -> Tokens:
    """A split that fits into the input: counts of text are about 1 % off the engine's.

    What is read gives way to what is written; where the writes alone are too many the split is wrong as a whole, and all
    of the input counts as uncached.
    """
    tokens = Tokens(*(min(max(count, 0), MOST_TOKENS) for count in tokens))
    if tokens.written > tokens.prompt:
        return Tokens(tokens.prompt, tokens.completion)
    return tokens._replace(read=min(tokens.read, tokens.prompt - tokens.written))


def cost(tokens: Tokens, tariff: Tariff | None) -> Cost | None:
    """What a request costs under a tariff; None without a tariff, or with one that has no prices. Tokens are capped."""
    if tariff is None or tariff.input_price is None:
        return None
    tokens = capped(tokens)
    with localcontext(EXACT):
        weighted = (
            tokens.prompt
            - tokens.read
            - tokens.written
            + tokens.read * tariff.read_multiplier
            + tokens.write_5m * tariff.write_multiplier_5m
            + tokens.write_1h * tariff.write_multiplier_1h
            + tokens.write_24h * tariff.write_multiplier_24h
        )
        output = tokens.completion * (tariff.output_price or Decimal(0))
        return Cost(
            (tokens.prompt * tariff.input_price + output) / _MILLION,
            (weighted * tariff.input_price + output) / _MILLION,
        )
