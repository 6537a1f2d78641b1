"""KV-cache-aware routing: ``dgp.filter.ai.kvcache``."""
