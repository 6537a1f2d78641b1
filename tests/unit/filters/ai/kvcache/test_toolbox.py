"""What indexes get to work with: limits from Pixiu's keys, readings, states of breakers."""

from __future__ import annotations

import pytest

from pixiu_py.clusters.endpoint import Endpoint
from pixiu_py.filters.ai.kvcache.config import CircuitBreakerConfig, KvCacheConfig, RetryConfig, TokenCacheConfig
from pixiu_py.filters.ai.kvcache.load import Board, Load
from pixiu_py.filters.ai.kvcache.toolbox import CpuShare, Toolbox
from pixiu_py.filters.http.breaker import State
from tests.fakes.clusters import cluster_context


def test_zeros_are_defaults() -> None:
    """Pixiu reads a 0 as its default; none of them switches a limit off."""
    breaker = CircuitBreakerConfig(failure_threshold=0, recovery_timeout=0.0, half_open_max_calls=0)
    settings = KvCacheConfig(circuit_breaker=breaker, request_timeout=0.0, token_cache=TokenCacheConfig(enabled=True))
    tools = Toolbox(settings, cluster_context())
    assert (tools.limits.threshold, tools.limits.retry, tools.limits.probes, tools.timeout) == (5, 10.0, 2, 2.0)
    assert tools.token_source().cache is not None
    assert Toolbox(KvCacheConfig(), cluster_context()).token_source().cache is None


@pytest.mark.parametrize("attempts", [0, 1, 3])
def test_jobs_are_given_time_for_all_their_tries(attempts: int) -> None:
    """And not for ever."""
    settings = KvCacheConfig(retry=RetryConfig(max_attempts=attempts), request_timeout=1.0)
    assert 5.0 <= Toolbox(settings, cluster_context()).job_time <= 20.0


def test_load_is_what_engines_tell() -> None:
    """This process's own share of a core only where none does."""
    tools = Toolbox(KvCacheConfig(), cluster_context())
    board = Board(5.0)
    board.put(Endpoint("main", "a", "127.0.0.1", 1), Load(6, 2, 0.5, at=0.0))
    assert tools.readings(board, 1.0) == (0.5, 0.5)
    load, memory = tools.readings(None, 10.0)
    assert (0.0 <= load <= 1.0, memory) == (True, 0.0)


def test_share_of_a_core() -> None:
    """Over at least a second; between two looks it stays what it was."""
    share = CpuShare(10.0, 100.0)
    assert share.read(10.4, 100.5) == 0.0
    assert share.read(11.0, 102.0) == 0.5
    assert share.read(12.0, 102.5) == 0.5
    assert share.read(99.0, 104.0) == 1.0


async def test_states_of_breakers() -> None:
    """The worst of each kind of call; Pixiu's numbers."""
    context = cluster_context()
    tools = Toolbox(KvCacheConfig(), context)
    calls = [tools.calls("lookup") for _ in range(3)]
    tools.watch(lambda: {"lookup": calls, "tokenize": []})
    states = {"lookup": 0, "tokenize": 0}

    def shown() -> dict[str, int]:
        text = context.metrics.render().decode()
        return {
            kind: int(line.split()[-1])
            for kind in states
            for line in text.splitlines()
            if line.startswith(f'pixiu_py_kvcache_breaker_state{{call="{kind}"}}')
        }

    assert shown() == states
    calls[1].breaker.state = State.HALF_OPEN
    assert shown() == {**states, "lookup": 2}
    calls[2].breaker.state = State.OPEN
    assert shown() == {**states, "lookup": 1}
    await tools.close()
    assert shown() == {}
