"""Fills a ``prefix`` index and tells the bytes of resident memory that it took: ``main()`` with the chunks as argument."""

from __future__ import annotations

import os
import random
import sys
import time

from benchmarks.cpu import rss_bytes
from benchmarks.kv.engine import Request
from benchmarks.kv.policies import TracePrompt
from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.config import KvCacheConfig
from pixiu_py.filters.ai.kvcache.index.prefix import PrefixConfig, PrefixIndex
from pixiu_py.filters.base import Context

#: Chunks of one prompt.
_LENGTH = 32


def main() -> None:
    """Print the bytes."""
    chunks = int(sys.argv[1])
    endpoints = [Endpoint("c", f"e{number}", "10.0.0.1", 1) for number in range(64)]
    context = Context(clusters=None, registry=None, tasks=None, clock=time.monotonic, random=random.Random(1))  # type: ignore[arg-type]
    before = rss_bytes(os.getpid())
    index = PrefixIndex(PrefixConfig(max_chunks=chunks), KvCacheConfig(enabled=True), context)
    number = 0
    # Rows fill unevenly: twice as many as there is room for leave few cells free.
    while number < 2 * chunks:
        blocks = tuple(range(number, number + _LENGTH))
        index.routed(TracePrompt(Request(0.0, _LENGTH, 1, blocks, 0), 1), endpoints[number // _LENGTH % 64])
        number += _LENGTH
    if index.size < 0.9 * chunks:
        raise SystemExit(f"only {index.size} of {chunks} chunks are there")
    print(rss_bytes(os.getpid()) - before)
