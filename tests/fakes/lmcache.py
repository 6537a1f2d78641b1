"""LMCache's controller and a vLLM that fills its cache, as far as the gateway can see them: by the recorded answers.

``test_fake_lmcache.py`` holds both against the recordings.
"""

from __future__ import annotations

import re
import zlib
from typing import Any

import orjson

from tests.fakes import engine_data
from tests.fakes.actions import respond, stall
from tests.fakes.upstream import Action, Request, Upstream

CHUNK = 256
LOCATION = "LocalCPUBackend"
_SAME = "The number of tokens {} should be the same across all workers."


def _json(document: Any, status: int = 200) -> Action:
    return respond(status, body=orjson.dumps(document))


class FakeController(Upstream):
    """Instances are registered in the order of their names here. ``mode``: ``ok``, ``stall``, ``garbage``, ``error``."""

    def __init__(self, *instances: str) -> None:
        super().__init__(self._answer)
        #: Instance → the chunks it holds, each as the tokens up to its end; pinned or not.
        self.chunks: dict[str, dict[tuple[int, ...], bool]] = {name: {} for name in instances}
        self.mode = "ok"

    def store(self, instance: str, tokens: list[int]) -> None:
        """The instance's cache holds these tokens' whole chunks."""
        for end in range(CHUNK, len(tokens) + 1, CHUNK):
            self.chunks[instance].setdefault(tuple(tokens[:end]), False)

    def asked(self, path: str) -> list[Any]:
        """The bodies of the requests to a path."""
        return [orjson.loads(request.body) for request in self.requests if request.target == path]

    def _answer(self, request: Request) -> Action:
        if self.mode == "stall":
            return stall()
        if self.mode == "garbage":
            return respond(body=b'{"layout_info": 7}')
        if self.mode == "error":
            return _json({"detail": ""}, 500)
        handler = {"/lookup": self._lookup, "/pin": self._pin, "/clear": self._clear, "/compress": self._compress}
        if request.target not in handler:
            return _json({"detail": "Not Found"}, 404)
        return handler[request.target](orjson.loads(request.body))

    def _lookup(self, body: dict[str, Any]) -> Action:
        tokens = body["tokens"]
        layout: dict[str, list[Any]] = {}
        for end in range(CHUNK, len(tokens) + 1, CHUNK):
            holder = next((name for name, chunks in self.chunks.items() if tuple(tokens[:end]) in chunks), None)
            if holder is None:
                break
            layout[holder] = [LOCATION, end]
        return _json({"event_id": "Lookup0", "layout_info": layout})

    def _pin(self, body: dict[str, Any]) -> Action:
        chunks = self.chunks.get(body["instance_id"])
        if chunks is None:
            return _json({"detail": _SAME.format("pinned")}, 500)
        pinned = 0
        tokens = body["tokens"]
        for end in range(CHUNK, len(tokens) + 1, CHUNK):
            if tuple(tokens[:end]) in chunks and body["location"] == LOCATION:
                chunks[tuple(tokens[:end])] = True
                pinned = end
        return _json({"event_id": "Pin0", "num_tokens": pinned})

    def _clear(self, body: dict[str, Any]) -> Action:
        chunks = self.chunks.get(body["instance_id"])
        if chunks is None:
            return _json({"detail": _SAME.format("cleared")}, 500)
        gone = [chunk for chunk, pinned in chunks.items() if not pinned]
        for chunk in gone:
            del chunks[chunk]
        return _json({"event_id": "Clear0", "num_tokens": CHUNK * len(gone)})

    def _compress(self, body: dict[str, Any]) -> Action:
        if body["method"] == "cachegen":  # on a CPU the worker fails, and nobody is told
            return stall()
        return _json({"event_id": "Compress0", "num_tokens": 0})


class FakeCoordinator(Upstream):
    """Cache servers and what each holds, as LMCache's coordinator tells it. ``model`` is the engines' path."""

    def __init__(self, *instances: str, model: str = "/models/tiny") -> None:
        super().__init__(self._answer)
        self.model = model
        self.chunks: dict[str, set[tuple[int, ...]]] = {name: set() for name in instances}

    def store(self, instance: str, tokens: list[int]) -> None:
        """The cache server holds these tokens' whole chunks."""
        self.chunks[instance].update(tuple(tokens[:end]) for end in range(CHUNK, len(tokens) + 1, CHUNK))

    def _answer(self, request: Request) -> Action:
        if request.target != "/directory/lookup":
            return _json({"detail": "Not Found"}, 404)
        body = orjson.loads(request.body)
        tokens = body["token_ids"]
        results = []
        for end in range(CHUNK, len(tokens) + 1, CHUNK):
            holders = [name for name, chunks in self.chunks.items() if tuple(tokens[:end]) in chunks]
            placements = [
                {
                    "instance_id": name,
                    "incarnation": 1,
                    "tier": "l1",
                    "backend": "dram",
                    "size_bytes": 1,
                    "shared": False,
                }
                for name in (holders if body["model_name"] == self.model else ())
            ]
            key = {"chunk_hash_hex": f"{end:064x}", "model_name": body["model_name"], "kv_rank": 16777472}
            results.append({"key": key, "placements": placements, "token_ids": [], "access_count": len(holders)})
        return _json({"chunks": len(results), "results": results})


class FakeVllm(Upstream):
    """One engine: tokenizes by words, answers chats, and stores what it was asked at its controller."""

    def __init__(self, instance: str, controller: FakeController | None = None) -> None:
        super().__init__(self._answer)
        self.instance = instance
        self.controller = controller
        #: What ``/metrics`` tells.
        self.running, self.waiting, self.usage = 0, 0, 0.0
        #: Chats that it has answered.
        self.chats: list[Any] = []
        self.tokenizer = "ok"

    def _answer(self, request: Request) -> Action:
        if request.target == "/metrics":
            return respond(headers=[(b"Content-Type", b"text/plain")], body=self._metrics())
        if request.target == "/v1/models":
            return _json(engine_data.exchanges("vllm_openai")["models"]["response"]["body"])
        body = orjson.loads(request.body)
        if request.target == "/tokenize":
            return self._tokenize(body)
        if request.target != "/v1/chat/completions":
            return _json({"detail": "Not Found"}, 404)
        self.chats.append(body)
        if self.controller is not None:
            self.controller.store(self.instance, tokens_of(body))
        message = {"role": "assistant", "content": f"from {self.instance}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return _json({"id": "c", "object": "chat.completion", "model": "tiny", "choices": [choice]})

    def _tokenize(self, body: dict[str, Any]) -> Action:
        if self.tokenizer == "stall":
            return stall()
        if self.tokenizer == "empty":
            return _json({"tokens": []})
        recorded = engine_data.exchanges("vllm_tokenize")
        if body.get("model", "tiny") != "tiny":
            error = recorded["error_unknown_model"]["response"]
            return _json(error["body"], error["status"])
        if not isinstance(body.get("messages", body.get("prompt")), list | str):
            error = recorded["error_neither_prompt_nor_messages"]["response"]
            return _json(error["body"], error["status"])
        tokens = tokens_of(body)
        return _json({"count": len(tokens), "max_model_len": 2048, "tokens": tokens, "token_strs": None})

    def _metrics(self) -> bytes:
        text = engine_data.text("vllm_metrics.prom")
        for name, value in (
            ("num_requests_running", self.running),
            ("num_requests_waiting", self.waiting),
            ("kv_cache_usage_perc", self.usage),
        ):
            text = re.sub(rf"^(vllm:{name}{{.*?}}) .*$", rf"\1 {float(value)}", text, flags=re.MULTILINE)
        return text.encode()


def tokens_of(body: dict[str, Any]) -> list[int]:
    """Tokens of a body: one for each word of what a chat template makes of it."""
    text = body.get("prompt", "")
    for message in body.get("messages", ()):
        text += f" <|im_start|>{message['role']} {message['content']} <|im_end|> "
    return [zlib.crc32(word.encode()) % 4096 for word in text.split()]


def words(seed: str, count: int) -> str:
    """A text of so many words, which differ from those of another seed."""
    return " ".join(f"{seed}{number}" for number in range(count))
