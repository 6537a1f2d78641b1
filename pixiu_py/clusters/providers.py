"""Hosted providers by name, so that ``llm_meta.provider: openai`` alone is a complete endpoint.

Clients call the paths of the OpenAI or Anthropic API (``/v1/chat/completions``, ``/v1/messages``). ``path_prefix`` is
what a provider puts before them; one whose paths cannot be made that way (Gemini, Azure's older API) is not in the
table, or is in it for its key header only.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Provider:
    """What is known of a provider. ``host`` is empty where every customer has an address of their own."""

    host: str = ""
    path_prefix: str = ""
    #: Lower-case name of the header that carries the key; ``authorization`` carries it as a bearer token.
    auth_header: str = "authorization"
    scheme: str = "https"
    port: int = 443
    #: True where ``cache_control`` markers in a prompt are understood, and have a price.
    reads_markers: bool = False


_LOCAL_ENGINE = Provider(scheme="http", port=80)

PROVIDERS: dict[str, Provider] = {
    "anthropic": Provider("api.anthropic.com", auth_header="x-api-key", reads_markers=True),
    "azure": Provider(auth_header="api-key"),
    "cerebras": Provider("api.cerebras.ai"),
    "cohere": Provider("api.cohere.ai", "/compatibility"),
    "dashscope": Provider("dashscope.aliyuncs.com", "/compatible-mode", reads_markers=True),
    "dashscope-intl": Provider("dashscope-intl.aliyuncs.com", "/compatible-mode", reads_markers=True),
    "deepseek": Provider("api.deepseek.com"),
    "fireworks": Provider("api.fireworks.ai", "/inference"),
    "groq": Provider("api.groq.com", "/openai"),
    "mistral": Provider("api.mistral.ai"),
    "moonshot": Provider("api.moonshot.cn"),
    "nvidia": Provider("integrate.api.nvidia.com"),
    "openai": Provider("api.openai.com"),
    "openrouter": Provider("openrouter.ai", "/api", reads_markers=True),
    "siliconflow": Provider("api.siliconflow.cn"),
    "together": Provider("api.together.xyz"),
    "xai": Provider("api.x.ai"),
    # Engines that run wherever their owner put them.
    "llamacpp": _LOCAL_ENGINE,
    "ollama": _LOCAL_ENGINE,
    "sglang": _LOCAL_ENGINE,
    "vllm": _LOCAL_ENGINE,
}


def find_provider(name: str) -> Provider | None:
    """The provider of that name, whatever its case; None for a label of the user's own."""
    return PROVIDERS.get(name.strip().lower())


def is_engine(name: str) -> bool:
    """True for an engine of one's own: one of those in the table, or an endpoint that names no provider."""
    return not name.strip() or find_provider(name) is _LOCAL_ENGINE
