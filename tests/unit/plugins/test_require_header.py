"""The example request filter."""

from typing import Any

import msgspec
import pytest

from plugins.require_header import RequireHeader, RequireHeaderConfig
from tests.fakes.exchange import collect, make_context, make_exchange


def require(**config: Any) -> RequireHeader:
    return RequireHeader(RequireHeaderConfig(**config), make_context())


@pytest.mark.parametrize("headers", [{"x-team": "red"}, {"X-Team": "anything"}])
def test_a_request_with_the_header_goes_on(headers: dict[str, str]) -> None:
    assert require(header="x-team").decode(make_exchange(headers=headers)) is None


@pytest.mark.parametrize("headers", [{}, {"x-team": ""}, {"x-teams": "red"}])
async def test_a_request_without_it_is_answered_401_in_json(headers: dict[str, str]) -> None:
    reply = require(header="x-team").decode(make_exchange(headers=headers))
    assert reply is not None
    assert (reply.status, reply.headers.get("www-authenticate")) == (401, "x-team")
    document = msgspec.json.decode(await collect(reply.body))
    assert (document["status"], document["error"]) == (401, "this needs a valid x-team header")


def test_only_the_listed_values_are_accepted() -> None:
    filter_ = require(header="x-team", values=["red"])
    assert filter_.decode(make_exchange(headers={"x-team": "red"})) is None
    assert filter_.decode(make_exchange(headers={"x-team": "green"})) is not None


@pytest.mark.parametrize("config", [{}, {"header": ""}, {"header": "a", "value": "b"}])
def test_a_config_without_a_header_or_with_an_unknown_key_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(config, RequireHeaderConfig)
