"""The list of models that this gateway serves: what endpoints declare, what their upstreams say, and the aliases.

One document serves both kinds of client: it has the fields of OpenAI's list and of Anthropic's.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from weakref import WeakKeyDictionary

import orjson
import structlog

from pixiu_py.errors import StartError
from pixiu_py.http.exchange import Response
from pixiu_py.http.local_reply import local_reply
from pixiu_py.tasks import Tasks
from pixiu_py.upstream.client import CallFailed, Client, api_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixiu_py.clusters.cluster import Cluster
    from pixiu_py.clusters.endpoint import Endpoint
    from pixiu_py.filters.base import Context
    from pixiu_py.filters.llm.router.model import RouterConfig

log = structlog.get_logger("pixiu_py.filters.router")

PATH = "/v1/models"
#: Of one endpoint's list, no more than this is taken: models, letters of a name, bytes in all.
MOST_MODELS = 1000
LONGEST_NAME = 256
MAX_ANSWER = 2**20
_US = "pixiu-py"


class Listing:
    """Answers GET and HEAD of ``/v1/models`` and ``/v1/models/{id}``."""

    def __init__(self, config: RouterConfig, context: Context) -> None:
        self._config = config
        self._context = context
        self._created = int(time.time())
        self._tasks = Tasks("router models")
        self._client = Client()
        #: What endpoints have said that they serve, the last time that they said so.
        self._told: WeakKeyDictionary[Endpoint, tuple[str, ...]] = WeakKeyDictionary()
        #: The clusters of the configuration; none: the one that a request goes to.
        self._clusters: list[Cluster] = []

    async def start(self) -> None:
        """Begin to ask the endpoints, if that is wanted. Raises ``StartError`` for a cluster that is not there."""
        for name in self._config.models.clusters:
            cluster = self._context.clusters.get(name)
            if cluster is None:
                raise StartError(f"the cluster {name!r}, whose models are to be listed, is not there")
            self._clusters.append(cluster)
        if self._config.models.from_upstreams:
            _ = self._tasks.spawn(self._refresh(), "refresh")

    async def close(self) -> None:
        """Ask nobody any more."""
        await self._tasks.close()
        await self._client.close()

    def has(self, path: str) -> bool:
        """Whether this is a path of the list, and the list is wanted."""
        return path.startswith(PATH) and path[len(PATH) :][:1] in ("", "/") and self._config.models.enable

    def answer(self, path: str, cluster: Cluster | None) -> Response:
        """The list, or one of its entries, for a request that goes to ``cluster``."""
        owners: dict[str, str] = {}
        for name, owner in self._models(cluster):
            owners.setdefault(name, owner)
        found = {name: self._entry(name, owner) for name, owner in owners.items()}
        if path.rstrip("/") == PATH:
            names = list(found)
            ends = {"first_id": names[0] if names else None, "last_id": names[-1] if names else None}
            return Response.json(200, {"object": "list", "data": list(found.values()), "has_more": False, **ends})
        entry = found.get(unquote(path.removeprefix(PATH + "/")))
        return Response.json(200, entry) if entry is not None else local_reply(404, "there is no such model")

    def _models(self, cluster: Cluster | None) -> Iterator[tuple[str, str]]:
        """Name and owner of each model, perhaps several times: by endpoint, then those of routes, then aliases."""
        clusters = self._clusters or ([cluster] if cluster is not None else [])
        for one in clusters:
            for endpoint in one.endpoints:
                owner = endpoint.provider or one.name
                for name in endpoint.models or self._told.get(endpoint, ()):
                    yield name, owner
        config = self._config
        aliases = config.model_aliases
        named = [config.default_model, *(model for route in config.routing_preferences for model in route.models)]
        for name in named:
            target = aliases[name].target if name in aliases else name
            if target and any(one.serves(target) for one in clusters):
                yield target, _US
        for name in aliases:
            yield name, _US

    def _entry(self, name: str, owner: str) -> dict[str, Any]:
        created = datetime.fromtimestamp(self._created, UTC).isoformat().replace("+00:00", "Z")
        openai = {"id": name, "object": "model", "created": self._created, "owned_by": owner}
        return {**openai, "type": "model", "display_name": name, "created_at": created}

    # --- asking the endpoints --------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        while True:
            await self.refresh()
            await asyncio.sleep(self._config.models.from_upstreams)

    async def refresh(self) -> None:
        """Ask every endpoint that declares no models. One that does not answer keeps what it said before."""
        for cluster in self._clusters:
            for endpoint in cluster.endpoints:
                if not endpoint.models:
                    await self._ask(endpoint)

    async def _ask(self, endpoint: Endpoint) -> None:
        try:
            body = await self._client.get(api_service(endpoint), PATH, self._config.models.timeout, MAX_ANSWER)
            self._told[endpoint] = read_models(body)
        except (CallFailed, ValueError) as error:
            log.warning("an endpoint's models are not known", endpoint=endpoint.id, why=str(error))


def read_models(body: bytes) -> tuple[str, ...]:
    """The names in a list of models. Raises ``ValueError`` when it is none."""
    document = orjson.loads(body)
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        raise ValueError("the answer is no list of models")
    names = [item.get("id") for item in data[:MOST_MODELS] if isinstance(item, dict)]
    return tuple(name for name in names if isinstance(name, str) and 0 < len(name) <= LONGEST_NAME)
