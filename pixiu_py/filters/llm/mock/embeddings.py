"""``POST /v1/embeddings`` in OpenAI's shape."""

from __future__ import annotations

import base64
import struct
from dataclasses import dataclass
from typing import Any

from pixiu_py.filters.llm.mock import ask as read
from pixiu_py.filters.llm.mock.api import Document
from pixiu_py.filters.llm.mock.ask import AskError
from pixiu_py.filters.llm.mock.model import count_tokens, embed


@dataclass(frozen=True, slots=True)
class EmbeddingAsk:
    """One request for vectors. ``as_base64`` is what the SDKs ask for."""

    model: str
    inputs: list[str]
    dimensions: int
    as_base64: bool


def parse(document: Any, dimensions: int) -> EmbeddingAsk:
    """What a body asks for; ``dimensions`` is the length of a vector, and the most that the client may want."""
    body = read.as_object(document)
    encoding = read.text_field(body, "encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise AskError(400, f"encoding_format: Input should be float or base64, got {encoding}.", "encoding_format")
    return EmbeddingAsk(
        model=read.text_field(body, "model"),
        inputs=read.prompts(body.get("input"), "input", read.MAX_INPUTS),
        dimensions=read.count(body, "dimensions", most=dimensions) or dimensions,
        as_base64=encoding == "base64",
    )


def reply(ask: EmbeddingAsk, model: str) -> Document:
    """The vectors, in the order of the inputs."""
    vectors = (embed(text, ask.dimensions) for text in ask.inputs)
    tokens = sum(map(count_tokens, ask.inputs))
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _packed(vector) if ask.as_base64 else vector}
            for index, vector in enumerate(vectors)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _packed(vector: list[float]) -> str:
    """Little-endian 32-bit floats in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
