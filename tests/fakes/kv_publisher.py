"""An engine that publishes KV events over ZeroMQ as vLLM does, from recordings or made up."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson
import zmq
import zmq.asyncio

from tests.fakes import engine_data


def recorded() -> list[tuple[int, bytes]]:
    """Number and payload of the messages that were recorded of vLLM."""
    lines = engine_data.text("vllm_kv_events.jsonl").splitlines()
    return [(record["seq"], bytes.fromhex(record["payload_hex"])) for record in map(orjson.loads, lines)]


def message(time: float, *events: dict[str, Any], rank: int = 0) -> bytes:
    """A payload."""
    return msgspec.msgpack.encode([time, list(events), rank])


def stored(hashes: list[int], tokens: list[int], parent: int | None = None) -> dict[str, Any]:
    """A ``BlockStored`` event."""
    return {
        "type": "BlockStored",
        "block_hashes": hashes,
        "parent_block_hash": parent,
        "token_ids": tokens,
        "block_size": len(tokens) // len(hashes),
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
        "extra_keys": None,
        "group_idx": 0,
    }


class Publisher:
    """Connects to a subscriber, and binds a replay socket. ``buffer``: what it can replay."""

    def __init__(self, address: str, topic: str = "kv@inst-a@tiny") -> None:
        self.topic = topic.encode()
        self.buffer: list[tuple[int, bytes]] = []
        #: Numbers from which replays were asked.
        self.asked: list[int] = []
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._replay = self._context.socket(zmq.ROUTER)
        self._replay.setsockopt(zmq.LINGER, 0)
        self._address = address
        self.replay_address = ""

    async def __aenter__(self) -> Publisher:
        port = self._replay.bind_to_random_port("tcp://127.0.0.1")
        self.replay_address = f"tcp://127.0.0.1:{port}"
        if self._address:
            await self.connect(self._address)
        return self

    async def connect(self, address: str) -> None:
        """Connect, and wait until the subscription has come."""
        self._socket.connect(address)
        await self._socket.recv()

    async def __aexit__(self, *_: object) -> None:
        self._socket.close()
        self._replay.close()
        self._context.term()

    async def publish(self, number: int, payload: bytes, *, keep: bool = True, send: bool = True) -> None:
        """Publish a message. Not ``send``: it is lost on its way. Not ``keep``: it cannot be replayed."""
        if keep:
            self.buffer.append((number, payload))
        if send:
            await self._socket.send_multipart([self.topic, number.to_bytes(8, "big"), payload])

    async def serve_replay(self) -> None:
        """Answer one question."""
        client, empty, start = await self._replay.recv_multipart()
        self.asked.append(int.from_bytes(start, "big"))
        for number, payload in self.buffer:
            if number >= self.asked[-1]:
                await self._replay.send_multipart([client, empty, self.topic, number.to_bytes(8, "big"), payload])
        await self._replay.send_multipart([client, b"", b"", b"\xff" * 8, b""])

    async def send_replay(self, *frames: bytes) -> None:
        """Answer one question with these frames instead."""
        client, _, _ = await self._replay.recv_multipart()
        await self._replay.send_multipart([client, *frames])
