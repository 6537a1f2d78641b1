"""The keys of ``dgp.filter.http.auth.jwt``; the spelling is Pixiu's, and Envoy's."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from pixiu_py.config.types import Duration, Model, Secret, Size, check_url, doc


class Match(Model, frozen=True):
    """Which paths a rule is for."""

    prefix: Annotated[str, doc("Path prefix, by whole segments; of several that fit, the longest counts.")]


class Requirement(Model, frozen=True):
    """A token of one provider."""

    provider_name: Annotated[str, doc("Name of a provider.")]


class Requires(Model, frozen=True):
    """The tokens that a request must have."""

    requires_any: Annotated[Requirement | list[Requirement], doc("A token of one of them.")] = []
    requires_all: Annotated[list[Requirement], doc("And a token of each of these.")] = []

    def __post_init__(self) -> None:
        if not self.any_of and not self.all_of:
            raise ValueError("requires names no provider; leave it away for paths that need no token")

    @property
    def any_of(self) -> list[str]:
        """Providers of which one is enough."""
        given = self.requires_any if isinstance(self.requires_any, list) else [self.requires_any]
        return [requirement.provider_name for requirement in given]

    @property
    def all_of(self) -> list[str]:
        """Providers that must all be satisfied."""
        return [requirement.provider_name for requirement in self.requires_all]


class Rule(Model, frozen=True):
    """What requests to some paths need."""

    match: Annotated[Match, doc("Which paths.")]
    requires: Annotated[Requires | None, doc("Which tokens; absent: none.")] = None


class FromHeaders(Model, frozen=True):
    """Where a token is."""

    name: Annotated[str, Meta(min_length=1, description="Name of the header.")] = "Authorization"
    value_prefix: Annotated[str, doc("What stands before the token; case does not matter.")] = "Bearer "


class LocalJwks(Model, frozen=True):
    """A key set in the configuration."""

    inline_string: Annotated[Secret, doc("The key set, as JSON text. Symmetric keys are allowed here only.")]


class HttpUri(Model, frozen=True):
    """A key set to be fetched."""

    uri: Annotated[str, doc("URL of the key set; no redirect is followed.")]
    cluster: Annotated[str, doc("Accepted and unused: the URL says where it is.")] = ""
    timeout: Annotated[Duration, Meta(gt=0, description="Time to fetch it.")] = 5.0
    refresh_interval: Annotated[Duration, Meta(gt=0, description="It is fetched again after this.")] = 600.0
    min_refresh_interval: Annotated[
        Duration, Meta(gt=0, description="Not sooner than this, also for an unknown key or after a failure.")
    ] = 10.0
    max_bytes: Annotated[Size, doc("A larger one is refused.")] = 2**18

    def __post_init__(self) -> None:
        check_url("uri", self.uri)


class RemoteJwks(Model, frozen=True):
    """Where a key set is fetched."""

    http_uri: Annotated[HttpUri, doc("Its URL, and how often it is fetched.")]


class Provider(Model, frozen=True):
    """An issuer of tokens, and what its tokens must be like."""

    name: Annotated[str, doc("Name that rules refer to.")]
    issuer: Annotated[str, doc("`iss` of its tokens; empty: not looked at.")] = ""
    audiences: Annotated[list[str], doc("One of them must be in `aud`; empty: not looked at.")] = []
    leeway: Annotated[Duration, Meta(ge=0, description="Tolerance for `exp` and `nbf`.")] = 60.0
    from_headers: Annotated[FromHeaders, doc("Where the token is.")] = field(default_factory=FromHeaders)
    forward: Annotated[bool, doc("Leave the token in the request, for the endpoint.")] = False
    forward_payload_header: Annotated[
        str, doc("Header in which the endpoint gets the claims, as base64url of JSON; a client's own is removed.")
    ] = ""
    local_jwks: Annotated[LocalJwks | None, doc("Its keys.")] = None
    remote_jwks: Annotated[RemoteJwks | None, doc("Where its keys are.")] = None

    def __post_init__(self) -> None:
        if (self.local_jwks is None) == (self.remote_jwks is None):
            raise ValueError(f"provider {self.name!r} needs either local_jwks or remote_jwks")


class JwtConfig(Model, frozen=True):
    """Config of ``dgp.filter.http.auth.jwt``."""

    rules: Annotated[
        list[Rule], Meta(min_length=1, description="Which paths need which tokens; a path of no rule needs none.")
    ]
    providers: Annotated[list[Provider], Meta(min_length=1, description="Issuers of tokens.")]
    err_msg: Annotated[str, doc("`error` of the 401.")] = "token invalid"

    def __post_init__(self) -> None:
        names = [provider.name for provider in self.providers]
        _only_once("provider", names)
        _only_once("prefix", [rule.match.prefix.strip("/") for rule in self.rules])
        for rule in self.rules:
            for name in (*rule.requires.any_of, *rule.requires.all_of) if rule.requires else ():
                if name not in names:
                    raise ValueError(f"a rule names the provider {name!r}, which is not there")
        check_keys(self.providers)


def check_keys(providers: list[Provider]) -> None:
    """Raise ``ValueError`` when PyJWT is missing, or when a key set of the configuration cannot be used."""
    try:
        import cryptography  # noqa: F401

        from pixiu_py.filters.http.jwt.keys import KeySet
    except ImportError:
        raise ValueError("PyJWT is needed for this filter: pip install 'pixiu-py[jwt]'") from None
    for provider in providers:
        if provider.local_jwks is None:
            continue
        try:
            KeySet(provider.local_jwks.inline_string.reveal(), shared_secrets=True)
        except ValueError as error:
            raise ValueError(f"local_jwks of provider {provider.name!r}: {error}") from None


def _only_once(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} is there twice")
