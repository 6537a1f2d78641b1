"""The provider table: a provider's name alone leads to its real URL and its key header."""

from __future__ import annotations

import pytest

from pixiu_py.clusters.providers import PROVIDERS, find_provider, is_engine

#: The URL that each provider documents for chat completions, or for Anthropic's messages.
URLS = {
    "anthropic": "https://api.anthropic.com/v1/messages",
    "cerebras": "https://api.cerebras.ai/v1/chat/completions",
    "cohere": "https://api.cohere.ai/compatibility/v1/chat/completions",
    "dashscope": "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions",
    "dashscope-intl": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
    "deepseek": "https://api.deepseek.com/v1/chat/completions",
    "fireworks": "https://api.fireworks.ai/inference/v1/chat/completions",
    "groq": "https://api.groq.com/openai/v1/chat/completions",
    "mistral": "https://api.mistral.ai/v1/chat/completions",
    "moonshot": "https://api.moonshot.cn/v1/chat/completions",
    "nvidia": "https://integrate.api.nvidia.com/v1/chat/completions",
    "openai": "https://api.openai.com/v1/chat/completions",
    "openrouter": "https://openrouter.ai/api/v1/chat/completions",
    "siliconflow": "https://api.siliconflow.cn/v1/chat/completions",
    "together": "https://api.together.xyz/v1/chat/completions",
    "xai": "https://api.x.ai/v1/chat/completions",
}


@pytest.mark.parametrize("name", sorted(name for name, provider in PROVIDERS.items() if provider.host))
def test_a_clients_path_ends_at_the_providers_url(name: str) -> None:
    provider = PROVIDERS[name]
    path = "/v1/messages" if name == "anthropic" else "/v1/chat/completions"
    assert f"{provider.scheme}://{provider.host}{provider.path_prefix}{path}" == URLS[name]
    assert provider.port == 443


def test_key_headers_that_are_not_bearer_tokens() -> None:
    special = {name: provider.auth_header for name, provider in PROVIDERS.items()}
    assert {name: header for name, header in special.items() if header != "authorization"} == {
        "anthropic": "x-api-key",
        "azure": "api-key",
    }


def test_engines_at_home_have_no_address() -> None:
    for name in ("vllm", "ollama", "llamacpp", "sglang"):
        assert not PROVIDERS[name].host


def test_names_are_found_in_any_case_and_labels_of_ones_own_are_not() -> None:
    assert find_provider(" OpenAI ") is PROVIDERS["openai"]
    assert find_provider("my-provider") is None
    assert find_provider("") is None


@pytest.mark.parametrize(
    ("name", "engine"),
    [("", True), ("vllm", True), (" VLLM ", True), ("llamacpp", True), ("openai", False), ("x", False)],
)
def test_engines_of_ones_own_are_known(name: str, engine: bool) -> None:
    """What may be asked for its metrics, and what is somebody else's."""
    assert is_engine(name) is engine
