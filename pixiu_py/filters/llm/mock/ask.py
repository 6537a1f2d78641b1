"""What a client asks: the parts of a request body that the mock heeds, checked. It ignores the rest, as vLLM does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pixiu_py.errors import DownstreamError

#: Most replies to one request: OpenAI's limit of ``n``, here of the prompts times ``n``.
MAX_CHOICES = 128
#: Most inputs of one embeddings request: OpenAI's limit.
MAX_INPUTS = 2048


class AskError(DownstreamError):
    """A request the mock does not answer. ``param`` names the part of the body that is at fault."""

    def __init__(self, status: int, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.param = param


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to the model. An empty ``model`` means the client named none."""

    model: str
    prompts: list[str]
    limit: int | None = None
    choices: int = 1
    stops: tuple[str, ...] = ()
    stream: bool = False
    include_usage: bool = False


def as_object(document: Any) -> dict[str, Any]:
    """The body, which must be a JSON object."""
    if not isinstance(document, dict):
        raise AskError(400, "The request body should be a JSON object.")
    return document


def text_field(body: dict[str, Any], name: str) -> str:
    """A string, or an empty one when it is absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise AskError(400, f"{name}: Input should be a valid string.", name)
    return value or ""


def flag(body: dict[str, Any], name: str) -> bool:
    """A boolean, false when it is absent or null."""
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise AskError(400, f"{name}: Input should be a valid boolean.", name)
    return bool(value)


def count(body: dict[str, Any], *names: str, most: int | None = None) -> int | None:
    """The first of these keys that has a value: a whole number from 1 to ``most``; None when there is none."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise AskError(400, f"{name}: Input should be a valid integer.", name)
        if value < 1 or (most is not None and value > most):
            reach = f"between 1 and {most}" if most is not None else "at least 1"
            raise AskError(400, f"{name} must be {reach}, got {value}.", name)
        return value
    return None


def stop_sequences(body: dict[str, Any], name: str) -> tuple[str, ...]:
    """A string or a list of strings; empty ones stop nothing."""
    value = body.get(name)
    stops = [value] if isinstance(value, str) else value or []
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise AskError(400, f"{name}: Input should be a string or a list of strings.", name)
    return tuple(stop for stop in stops if stop)


def conversation(messages: Any, param: str) -> list[str]:
    """The texts of a list of messages, each an object with ``content``."""
    if not isinstance(messages, list):
        raise AskError(400, f"{param}: Input should be a valid list.", param)
    texts = []
    for position, message in enumerate(messages):
        place = f"{param}.{position}"
        if not isinstance(message, dict):
            raise AskError(400, f"{place}: Input should be an object.", place)
        texts.append(content_text(message.get("content"), f"{place}.content"))
    return texts


def content_text(content: Any, param: str) -> str:
    """The text of a message: a string, or a list of parts; those without ``text`` (images, audio) are skipped."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise AskError(400, f"{param}: Input should be a string or a list.", param)
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "\n".join(text for text in texts if isinstance(text, str))


def prompts(value: Any, param: str, most: int) -> list[str]:
    """One or several prompts, each a text or a list of token ids."""
    single = isinstance(value, str) or (isinstance(value, list) and bool(value) and isinstance(value[0], int))
    several = [value] if single else value
    if not isinstance(several, list) or not several:
        raise AskError(400, f"{param}: Input should be a string or a list that is not empty.", param)
    if len(several) > most:
        raise AskError(400, f"{param}: at most {most} are taken at once, got {len(several)}.", param)
    return [prompt if isinstance(prompt, str) else _spelt(prompt, param) for prompt in several]


def _spelt(tokens: Any, param: str) -> str:
    """Token ids as text: four digits each, so that an id counts as one token."""
    if not isinstance(tokens, list) or not all(isinstance(token, int) for token in tokens):
        raise AskError(400, f"{param}: Input should be a string or a list of token ids.", param)
    return "".join(f"{token % 10_000:04d}" for token in tokens)
