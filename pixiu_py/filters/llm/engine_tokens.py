"""The tokens of a prompt, from an engine's own tokenizer. Only the engine knows its chat template, so it is asked with the
client's whole request: contents that are joined to one text give other tokens.

Two dialects. vLLM takes a chat body as it is. llama-server takes a text, which ``/apply-template`` makes of a chat; for
vLLM's form it answers 200 with no tokens, so no tokens for a prompt that is not empty are a failure, and tell the two apart.
"""

from __future__ import annotations

from array import array
from typing import Any

import orjson

from pixiu_py.http.splice import replace_string
from pixiu_py.upstream.client import CallFailed, Client, Service

VLLM, LLAMA = "vllm", "llama-server"
#: Tokenizers whose dialect is remembered.
_MOST_KNOWN = 1024

#: Tokens, 4 bytes each.
Tokens = array


class Tokenizer:
    """Asks tokenizers. ``dialect`` empty: found out for each, and remembered."""

    def __init__(self, client: Client, dialect: str = "") -> None:
        self._client = client
        self._dialect = dialect
        self._known: dict[str, str] = {}

    async def tokens(self, engine: Service, request: TokenizeRequest, model: str, timeout: float) -> Tokens[int]:
        """The tokens of ``request`` for ``model``, as the engine names it. Raises ``CallFailed``."""
        if request.tokens is not None:
            return request.tokens
        dialect = self._dialect or self._known.get(engine.url, "")
        if dialect == LLAMA:
            return await self._llama(engine, request, timeout)
        try:
            answer = await self._client.ask(engine, "/tokenize", request.for_vllm(model), timeout)
            tokens = tokens_of(answer)
        except NoTokens:
            if dialect:
                raise
            tokens = await self._llama(engine, request, timeout)
            self._remember(engine.url, LLAMA)
        else:
            self._remember(engine.url, VLLM)
        return tokens

    async def _llama(self, engine: Service, request: TokenizeRequest, timeout: float) -> Tokens[int]:
        text = request.text
        if text is None:
            answer = await self._client.ask(engine, "/apply-template", request.body, timeout)
            text = answer.get("prompt") if isinstance(answer, dict) else None
            if not isinstance(text, str):
                raise CallFailed("answer", "a template without a prompt")
        document = {"content": text, "add_special": True, "with_pieces": False}
        return tokens_of(await self._client.ask(engine, "/tokenize", document, timeout))

    def _remember(self, url: str, dialect: str) -> None:
        if url in self._known or len(self._known) < _MOST_KNOWN:
            self._known[url] = dialect


class NoTokens(CallFailed):
    """A tokenizer that answers well and finds no tokens."""

    def __init__(self) -> None:
        super().__init__("answer", "no tokens for a prompt that is not empty")


class TokenizeRequest:
    """The prompt of one request, in the form in which tokenizers take it."""

    __slots__ = ("body", "text", "tokens")

    def __init__(self, body: bytes, text: str | None = None, tokens: Tokens[int] | None = None) -> None:
        #: A request with ``messages``, or with one ``prompt``.
        self.body = body
        #: The text, when the request has no messages.
        self.text = text
        #: The tokens, when the client has sent them itself.
        self.tokens = tokens

    def for_vllm(self, model: str) -> bytes:
        """The body for vLLM, under its own name for the model."""
        return replace_string(self.body, "model", model) if model else self.body


def tokenize_request(document: Any, body: bytes) -> TokenizeRequest | None:
    """The prompt in a request's body; None when there is none that can be tokenized whole.

    ``messages`` of the Chat Completions API go as they are, those of the Messages API with their ``system`` in front. Of
    ``prompt``, a text or a list of one; a list of numbers is tokens already.
    """
    if not isinstance(document, dict):
        return None
    if document.get("messages"):
        return _chat(document, body)
    prompt = document.get("prompt")
    if isinstance(prompt, list) and prompt and isinstance(prompt[0], int):
        try:
            return TokenizeRequest(body, tokens=_packed(prompt))
        except CallFailed:
            return None
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
        body = orjson.dumps({"model": document.get("model", ""), "prompt": prompt}) if isinstance(prompt, str) else b""
    return TokenizeRequest(body, prompt) if isinstance(prompt, str) and prompt else None


def _chat(document: dict[str, Any], body: bytes) -> TokenizeRequest | None:
    messages = document["messages"]
    if not isinstance(messages, list):
        return None
    system = document.get("system")
    if not system:
        return TokenizeRequest(body)
    kept: dict[str, Any] = {key: document[key] for key in ("model", "tools", "chat_template_kwargs") if key in document}
    kept["messages"] = [{"role": "system", "content": system}, *messages]
    try:
        return TokenizeRequest(orjson.dumps(kept))
    except orjson.JSONEncodeError:  # nested deeper than can be written
        return None


def tokens_of(answer: Any) -> Tokens[int]:
    """The tokens of an answer of ``/tokenize``. Raises ``CallFailed``, ``NoTokens``."""
    found = answer.get("tokens") if isinstance(answer, dict) else None
    if not isinstance(found, list):
        raise CallFailed("answer", "a tokenizer's answer without tokens")
    if not found:
        raise NoTokens
    return _packed(found)


def _packed(tokens: list[Any]) -> Tokens[int]:
    try:
        return array("I", tokens)
    except (TypeError, OverflowError):
        raise CallFailed("answer", "tokens that are no numbers of a vocabulary") from None
