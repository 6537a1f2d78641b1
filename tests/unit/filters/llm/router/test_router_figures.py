"""Documents of others are read for what they say, and what they do not say stays unknown."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from pixiu_py.filters.llm.router.figures import read_catalogue, read_vector
from pixiu_py.filters.llm.router.prices import Rates


def catalogue(**models: Any) -> bytes:
    """A catalogue with one provider, whose models have these costs."""
    return orjson.dumps(
        {"lab": {"id": "lab", "models": {name: {"id": name, "cost": cost} for name, cost in models.items()}}}
    )


def test_catalogue() -> None:
    """Full and bare names; the price of cached tokens may be missing."""
    body = catalogue(big={"input": 3, "output": 15.5, "cache_read": 0.3}, free={"input": 0, "output": 0})
    assert read_catalogue(body, {}) == {
        "lab/big": Rates(3.0, 15.5, 0.3),
        "big": Rates(3.0, 15.5, 0.3),
        "lab/free": Rates(0.0, 0.0),
        "free": Rates(0.0, 0.0),
    }


@pytest.mark.parametrize(
    "cost", [None, {}, {"input": 1}, {"output": 1}, {"input": None, "output": 1}, {"input": "1", "output": 1}, 3]
)
@pytest.mark.parametrize("bad", [{"input": -1, "output": 1}, {"input": True, "output": 1}])
def test_missing_price_is_unknown(cost: Any, bad: Any) -> None:
    """It is not zero, or the model nothing is known of would be the cheapest."""
    assert set(read_catalogue(catalogue(good={"input": 1, "output": 1}, odd=cost, worse=bad), {})) == {
        "lab/good",
        "good",
    }


def test_aliases_give_other_names() -> None:
    """To the full or to the bare name."""
    body = catalogue(big={"input": 1, "output": 1}, small={"input": 2, "output": 2})
    found = read_catalogue(body, {"lab/big": "our-big", "small": "our-small"})
    assert found["our-big"] == Rates(1.0, 1.0)
    assert found["our-small"] == Rates(2.0, 2.0)
    assert "lab/big" not in found


def test_first_provider_has_the_bare_name() -> None:
    """In the order of the document: the same one each time."""
    cost = [{"models": {"m": {"cost": {"input": price, "output": 0}}}} for price in (5, 1)]
    assert read_catalogue(orjson.dumps({"b": cost[0], "a": cost[1]}), {})["m"] == Rates(5.0, 0.0)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"lab":3}', b'{"lab":{"models":[]}}', catalogue(odd=None)])
def test_what_is_no_catalogue_is_refused(body: bytes) -> None:
    """So that it cannot replace one."""
    with pytest.raises(ValueError):
        read_catalogue(body, {})


def vector(*series: Any) -> bytes:
    """Prometheus's answer."""
    return orjson.dumps({"status": "success", "data": {"resultType": "vector", "result": list(series)}})


def test_vector() -> None:
    """The last value of each model; what has no label or no number is left out."""
    body = vector(
        {"metric": {"model_name": "big"}, "value": [1.0, "9"]},
        {"metric": {"model_name": "big"}, "value": [1.0, "2.5"]},
        {"metric": {"model_name": "o/small"}, "value": [1.0, "0.5"]},
        {"metric": {"other": "x"}, "value": [1.0, "1"]},
        {"metric": {"model_name": "nan"}, "value": [1.0, "NaN"]},
        {"metric": {"model_name": "odd"}, "value": [1.0, "fast"]},
        {"metric": {"model_name": "odd"}, "value": 3},
        3,
    )
    assert read_vector(body, {"o/small": "small"}) == {"big": 2.5, "small": 0.5}


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"data":{"resultType":"matrix","result":[]}}', b'{"status":"error"}'])
def test_what_is_no_vector_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):
        read_vector(body, {})
