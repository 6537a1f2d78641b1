"""Keys of the filter."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from pixiu_py.config.types import Duration, Model, Size, check_url, doc
from pixiu_py.filters.llm.promptcache.principals import PrincipalConfig
from pixiu_py.stores.ledger.base import LedgerRef
from pixiu_py.stores.ledger.tariff import Tariff
from pixiu_py.stores.promptcache.base import IndexRef, Tier


class TokenizerConfig(Model, frozen=True):
    """Who counts the tokens of a prefix."""

    type: Annotated[
        Literal["service", "endpoint", "file", "estimate"],
        doc("A tokenizer service, the endpoint's own /tokenize, a tokenizer.json, or four bytes for a token."),
    ] = "estimate"
    url: Annotated[str, doc("Of the service; with `endpoint`, of an engine to ask instead of the one that serves.")] = (
        ""
    )
    path: Annotated[str, doc("Of the file.")] = ""
    timeout: Annotated[Duration, Meta(gt=0, description="Time limit of one call.")] = 5.0

    def __post_init__(self) -> None:
        if self.type == "service" and not self.url:
            raise ValueError("a tokenizer service needs a url")
        if self.url:
            check_url("url", self.url)
        if self.type == "file" and not self.path:
            raise ValueError("a tokenizer file needs a path")


class TelemetryConfig(Model, frozen=True):
    """Parts of a system prompt that are a client's own bookkeeping and change with each request."""

    prefixes: Annotated[list[str], doc("What their text begins with; an empty list: there are none.")] = field(
        default_factory=lambda: ["x-anthropic-billing-header:"]
    )
    strip_from_prompt: Annotated[bool, doc("Take them out of the prompt as well, not only out of the hash.")] = True


class PromptCacheConfig(Model, frozen=True):
    """Config of ``dgp.filter.llm.promptcache``."""

    index: Annotated[IndexRef, doc("Where cached prefixes are remembered.")] = field(
        default_factory=lambda: IndexRef(name="sqlite", config={"path": "./promptcache.db"})
    )
    ledger: Annotated[
        LedgerRef | None, doc("Where usage is written, and tariffs and keys are kept; absent: nowhere.")
    ] = None
    enabled_ttls: Annotated[
        list[Tier], Meta(min_length=1, description="Tiers that clients may ask for: 5m, 1h, 24h.")
    ] = field(default_factory=lambda: ["5m", "1h"])
    default_ttl: Annotated[Tier, doc("Tier of a marker that names none.")] = "5m"
    principals: Annotated[
        list[PrincipalConfig], doc("Keys and their owners; the ledger may know more. An unknown key caches nothing.")
    ] = []
    tariffs: Annotated[list[Tariff], doc("Models that are cached; the ledger's tariffs come before these.")] = []
    tokenizer: Annotated[TokenizerConfig, doc("Who counts tokens.")] = field(default_factory=TokenizerConfig)
    telemetry_blocks: Annotated[TelemetryConfig, doc("What is no part of a prompt.")] = field(
        default_factory=TelemetryConfig
    )
    provider_fields: Annotated[
        Literal["replace", "keep"],
        doc("What an endpoint says of a cache of its own: replace it, or keep it where it says something."),
    ] = "replace"
    scrub_inactive: Annotated[bool, doc("Take it out of answers that are not accounted for, too.")] = False
    upstream_encoding: Annotated[
        Literal["identity", "any"],
        doc("Ask endpoints for answers that are not compressed, or let the client's Accept-Encoding pass."),
    ] = "identity"
    classify_timeout: Annotated[
        Duration, Meta(gt=0, description="How long the usage of an answer may wait for the classification.")
    ] = 5.0
    commit_timeout: Annotated[Duration, Meta(gt=0, description="Time limit of one commit to the index.")] = 30.0
    sweep_interval: Annotated[Duration, Meta(gt=0, description="Time between two sweeps of the index.")] = 60.0
    sweep_batch: Annotated[int, Meta(ge=1, description="Most entries that are removed in one step.")] = 1000
    max_classifying: Annotated[int, Meta(ge=1, description="Most classifications at a time; above it: none.")] = 1000
    max_committing: Annotated[int, Meta(ge=1, description="Most commits at a time; above it they are lost.")] = 1000
    max_collecting: Annotated[
        int,
        Meta(ge=1, description="Most JSON answers that are held at a time until they are whole; above it: unchanged."),
    ] = 10_000
    max_body: Annotated[Size, doc("Largest request body that is looked at.")] = 32 * 2**20
    max_document: Annotated[Size, doc("Largest JSON answer that is changed.")] = 16 * 2**20
    max_event: Annotated[Size, Meta(ge=1024, description="Largest event of a stream that is changed.")] = 4 * 2**20
    max_decoded: Annotated[Size, doc("Most bytes that are decompressed of one answer.")] = 64 * 2**20

    def __post_init__(self) -> None:
        if self.default_ttl not in self.enabled_ttls:
            raise ValueError(f"default_ttl {self.default_ttl} is not one of enabled_ttls")
        keys = [entry.key for entry in self.principals]
        if len(set(keys)) < len(keys):
            raise ValueError("principals: a key stands there twice")
        if any(not key for key in keys):
            raise ValueError("principals: a key is empty")
        models = [tariff.model for tariff in self.tariffs]
        if len(set(models)) < len(models):
            raise ValueError("tariffs: a model stands there twice")
