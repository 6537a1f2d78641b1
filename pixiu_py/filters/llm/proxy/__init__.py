"""``dgp.filter.llm.proxy``: calls one of several endpoints and moves on to another when it fails.

``filter.py`` is the plugin; ``walk.py`` goes from endpoint to endpoint for one request; ``verdict.py`` decides what an
outcome means; ``gate.py`` looks at the beginning of a stream before the client does; ``stream.py`` relays it and tells the
client when it broke; ``heartbeat.py`` keeps a waiting client's connection alive; ``failure.py`` makes the last answer.
"""

from pixiu_py.filters.llm.proxy.filter import LlmProxy, LlmProxyConfig

__all__ = ["LlmProxy", "LlmProxyConfig"]
