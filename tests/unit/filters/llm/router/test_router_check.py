"""Models that nobody serves are named, each with what was probably meant."""

from __future__ import annotations

from pixiu_py.clusters.cluster import Cluster
from pixiu_py.config.model import ServedModel
from pixiu_py.filters.llm.router.check import missing_models
from pixiu_py.filters.llm.router.model import Alias, Preference, RouterConfig
from tests.fakes.clusters import endpoint_config, make_cluster

CONFIG = RouterConfig(
    default_model="smal",
    model_aliases={"fast": Alias(target="small"), "best": Alias(target="huge")},
    routing_preferences=[Preference(name="code", description="", models=["big", "fast", "bigg"])],
)


def serving(*models: str) -> Cluster:
    """A cluster of one endpoint that declares these models."""
    return make_cluster(endpoint_config(models=[ServedModel(name=model) for model in models]))


def test_missing_models_are_named() -> None:
    """Wherever they stand; aliases are resolved first."""
    assert missing_models(CONFIG, [serving("big"), serving("small")]) == [
        "default_model: no endpoint serves the model 'smal'; did you mean 'small'?",
        "model_aliases.best.target: no endpoint serves the model 'huge'",
        "routing_preferences, route 'code': no endpoint serves the model 'bigg'; did you mean 'big'?",
    ]


def test_endpoint_that_serves_anything_serves_these() -> None:
    assert missing_models(CONFIG, [serving("big"), serving()]) == []
    assert missing_models(CONFIG, []) == []
