"""The keys of ``dgp.filter.llm.router``; where Plano has a key for it, it is Plano's."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from pixiu_py.config.types import Duration, KindRef, Model, Secret, Size, check_url, doc
from pixiu_py.filters.llm.router.session_model import Routing
from pixiu_py.registry import Family

Name = Annotated[str, Meta(min_length=1)]


class SelectionPolicy(Model, frozen=True):
    """How the models of a route are put in order."""

    prefer: Annotated[
        Literal["cheapest", "fastest", "none", ""] | None, doc("`cheapest`, `fastest`, or `none`: as they are written.")
    ] = "none"


class Preference(Model, frozen=True):
    """A kind of task and the models that are good at it: a route."""

    name: Annotated[Name, doc("Name of the route; each is there once.")]
    description: Annotated[str, doc("What the task is, in words that a decider compares requests with.")]
    models: Annotated[list[Name], Meta(min_length=1, description="The models for it, best first.")]
    selection_policy: Annotated[SelectionPolicy | None, doc("Another order of the models than this one.")] = None
    examples: Annotated[list[str], doc("Requests that belong here, for deciders that compare texts.")] = []

    @property
    def prefer(self) -> str:
        """The policy's name; ``none`` when there is none."""
        return (self.selection_policy.prefer if self.selection_policy else "") or "none"


class Alias(Model, frozen=True):
    """Another name for a model."""

    target: Annotated[Name, doc("The model that it stands for; no alias itself.")]


class DeciderRef(KindRef, frozen=True):
    """A decider."""

    family: ClassVar[Family] = Family.DECIDER


class RouterModel(Model, frozen=True):
    """A language model that is asked which route fits."""

    endpoint: Annotated[str, doc("Base URL of an OpenAI-compatible API, such as http://127.0.0.1:9009/v1.")] = ""
    cluster: Annotated[str, doc("Or a cluster of this gateway.")] = ""
    model: Annotated[str, doc("Name of the model there.")] = "router"
    api_key: Annotated[Secret | None, doc("Sent to `endpoint`; a cluster's endpoints have keys of their own.")] = None
    timeout: Annotated[Duration, Meta(gt=0, description="After this the decision is made without it.")] = 2.0
    cooldown: Annotated[
        Duration,
        Meta(ge=0, description="After failures, `endpoint` is not asked for this long; a cluster has its own."),
    ] = 5.0
    failure_threshold: Annotated[int, Meta(ge=1, description="Consecutive failures that start a cooldown.")] = 3
    max_prompt_tokens: Annotated[
        int, Meta(ge=256, description="Size of the prompt, at four bytes a token; older messages are left out.")
    ] = 8192
    max_messages: Annotated[int, Meta(ge=1, description="Of a conversation no more than the last ones are shown.")] = 16
    max_answer: Annotated[Size, doc("A longer answer counts as none.")] = 64 * 1024
    max_tokens: Annotated[int, Meta(ge=0, description="`max_tokens` of the question; 0: not sent.")] = 0
    structured: Annotated[
        bool,
        doc("Ask for an answer that follows a JSON schema (`response_format`): helps small models keep to the names."),
    ] = False

    def __post_init__(self) -> None:
        if bool(self.endpoint) == bool(self.cluster):
            raise ValueError("a router model needs either endpoint or cluster")
        if self.endpoint:
            check_url("endpoint", self.endpoint, self.api_key)
        if self.api_key and not self.endpoint:
            raise ValueError("api_key goes with endpoint; the endpoints of a cluster have their own")


class Price(Model, frozen=True):
    """What a model costs, in USD per million tokens."""

    input: Annotated[float, Meta(ge=0, description="Tokens of a prompt.")]
    output: Annotated[float, Meta(ge=0, description="Tokens of an answer.")]
    cache_read: Annotated[float | None, doc("Tokens of a prompt that come from a cache; absent: not known.")] = None


class MetricsSource(Model, frozen=True):
    """Where prices or latencies come from."""

    type: Annotated[Literal["cost", "latency"], doc("What it tells.")]
    provider: Annotated[
        Literal["static", "models.dev", "prometheus", "traffic"],
        doc("cost: `static` or `models.dev`; latency: `prometheus` or `traffic`, what this gateway measures itself."),
    ]
    prices: Annotated[dict[str, Price], doc("static: by model.")] = {}
    url: Annotated[str, doc("models.dev: of the catalogue; prometheus: of the server.")] = ""
    file: Annotated[str, doc("models.dev: a catalogue on disk instead.")] = ""
    query: Annotated[str, doc("prometheus: an instant query whose series have the label model_name.")] = ""
    api_key: Annotated[Secret | None, doc("Bearer token for the URL.")] = None
    refresh_interval: Annotated[Duration, Meta(ge=0, description="Fetched again after this; 0: once, at start.")] = (
        3600.0
    )
    timeout: Annotated[Duration, Meta(gt=0, description="How long fetching may take.")] = 10.0
    max_bytes: Annotated[Size, doc("A larger answer is refused.")] = 16 * 2**20
    model_aliases: Annotated[dict[str, str], doc("Name in the catalogue, then the model's name here.")] = {}
    half_life: Annotated[
        Duration, Meta(gt=0, description="traffic: the time in which an answer comes to count half as much.")
    ] = 300.0

    def __post_init__(self) -> None:
        if self.provider not in _PROVIDERS[self.type]:
            raise ValueError(f"a source of type {self.type} has one of these providers: {_PROVIDERS[self.type]}")
        needs = {
            "static": bool(self.prices),
            "models.dev": bool(self.url) != bool(self.file),
            "prometheus": bool(self.url and self.query),
            "traffic": True,
        }
        if not needs[self.provider]:
            raise ValueError(_NEEDS[self.provider])
        if self.url:
            check_url("url", self.url, self.api_key)


_PROVIDERS = {"cost": ("static", "models.dev"), "latency": ("prometheus", "traffic")}
_NEEDS = {
    "static": "static needs prices",
    "models.dev": "models.dev needs either url or file",
    "prometheus": "prometheus needs url and query",
}


class ModelList(Model, frozen=True):
    """What the list of models is made of."""

    enable: Annotated[bool, doc("Answer GET and HEAD of /v1/models here.")] = True
    clusters: Annotated[list[str], doc("Whose models are listed; empty: those of the route's cluster.")] = []
    from_upstreams: Annotated[
        Duration,
        Meta(ge=0, description="Ask endpoints of `clusters` that declare no models for theirs this often; 0: never."),
    ] = 0.0
    timeout: Annotated[Duration, Meta(gt=0, description="How long an endpoint may take to tell.")] = 5.0

    def __post_init__(self) -> None:
        if self.from_upstreams and not self.clusters:
            raise ValueError("from_upstreams needs clusters: whose endpoints are to be asked")


class RouterConfig(Model, frozen=True):
    """Config of ``dgp.filter.llm.router``."""

    default_model: Annotated[str, doc("For requests that name no model, or none that is served.")] = ""
    model_aliases: Annotated[dict[str, Alias], doc("Other names for models.")] = {}
    routing_preferences: Annotated[list[Preference], doc("Routes, in the order in which deciders see them.")] = []
    router: Annotated[RouterModel | None, doc("The model that decides, after the deciders.")] = None
    deciders: Annotated[
        list[DeciderRef], doc("What decides, one after the other until one does; without any: `similarity`.")
    ] = []
    model_metrics_sources: Annotated[list[MetricsSource], doc("Prices and latencies: at most one of each type.")] = []
    routing: Annotated[Routing | None, doc("Conversations stay on their model; absent: they do not.")] = None
    max_models: Annotated[int, Meta(ge=1, description="Models that are tried for one request.")] = 4
    max_attempts: Annotated[int, Meta(ge=1, description="Attempts after which no further model is tried.")] = 8
    fallback_window: Annotated[
        Duration, Meta(ge=0, description="Time after which no further model is tried; 0: no limit.")
    ] = 120.0
    max_body_size: Annotated[Size, doc("Largest request body.")] = 32 * 2**20
    decision_path: Annotated[str, doc("Prefix of the paths that answer with the decision alone; empty: none.")] = (
        "/routing"
    )
    models: Annotated[ModelList, doc("The list of models.")] = field(default_factory=ModelList)

    def __post_init__(self) -> None:
        once("source of type", [source.type for source in self.model_metrics_sources])
        types = {source.type for source in self.model_metrics_sources}
        for preference in self.routing_preferences:
            if preference.prefer == "cheapest" and "cost" not in types:
                raise ValueError(f"route {preference.name!r} prefers the cheapest model, but no source tells prices")
        if self.routing is not None and self.routing.session_mode == "budget" and "cost" not in types:
            raise ValueError("session_mode budget weighs prices, but no source tells them")


def once(what: str, names: list[str]) -> None:
    """Raise ``ValueError`` for a name that is there twice."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is there twice")
