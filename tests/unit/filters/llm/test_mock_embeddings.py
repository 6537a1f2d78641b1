"""Embeddings: as numbers and in base64, never longer than configured."""

import base64
import struct
from typing import Any

import pytest

from pixiu_py.filters.llm.mock.model import embed
from tests.fakes.mock_model import document, mock_model, post

PATH = "/v1/embeddings"


async def test_each_input_gets_its_vector_in_order() -> None:
    answer = await document(await post(mock_model(embedding_dimensions=4), PATH, {"input": ["Hello", "Bye"]}))
    assert (answer["object"], answer["model"]) == ("list", "mock-small")
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert [item["embedding"] for item in answer["data"]] == [embed("Hello", 4), embed("Bye", 4)]
    assert answer["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


async def test_base64_is_little_endian_floats() -> None:
    answer = await document(await post(mock_model(), PATH, {"input": "Hello", "encoding_format": "base64"}))
    packed = base64.b64decode(answer["data"][0]["embedding"])
    assert struct.unpack("<8f", packed) == pytest.approx(embed("Hello", 8))


async def test_a_client_may_want_shorter_vectors() -> None:
    answer = await document(await post(mock_model(), PATH, {"input": "Hello", "dimensions": 3}))
    assert len(answer["data"][0]["embedding"]) == 3


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "input"),
        ({"input": "x", "dimensions": 9}, 400, "dimensions"),
        ({"input": "x", "encoding_format": "hex"}, 400, "encoding_format"),
        ({"input": ["x"] * 2049}, 400, "input"),
        ({"input": "x", "model": "nope"}, 404, "model"),
    ],
)
async def test_a_wrong_value_is_refused_by_name(body: dict[str, Any], status: int, param: str) -> None:
    response = await post(mock_model(), PATH, body)
    assert (response.status, (await document(response))["error"]["param"]) == (status, param)
