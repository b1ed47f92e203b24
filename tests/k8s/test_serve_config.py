"""The Serve config of each render, parsed by Serve itself; what it would ignore in silence is a fault here."""

from collections.abc import Callable

import pytest
from pydantic import BaseModel
from ray.serve import Application
from ray.serve.config import HTTPOptions
from ray.serve.schema import (
    DeploymentSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from deployments import apps
from deployments.ledger.writer import Prices
from tests.k8s.cluster import Cluster
from tests.k8s.manifests import OVERLAYS, golden, serve_config


def unknown(values: dict, schema: type[BaseModel]) -> set[str]:
    return values.keys() - schema.model_fields.keys()


def builder_of(application: dict) -> Callable[[BaseModel], Application]:
    module, _, builder = application["import_path"].partition(":")
    assert module == "deployments.apps"
    return getattr(apps, builder)


def settings_of(application: dict) -> BaseModel:
    """The builder's settings, with the store that a pod has in its environment."""
    (kind,) = (kind for name, kind in builder_of(application).__annotations__.items() if name != "return")
    store = {"store": "postgresql://ledger"} if "store" in kind.model_fields else {}
    return kind(**store, **application["args"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_serve_takes_it(overlay: str):
    """Names, types, bounds, and that what it names can be imported."""
    config = ServeDeploySchema.model_validate(serve_config(golden(overlay)))
    assert len(config.applications) == len(serve_config(golden(overlay))["applications"])


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_serve_ignores_none_of_it(overlay: str):
    """A misspelt field would be dropped without a word."""
    config = serve_config(golden(overlay))
    assert not unknown(config, ServeDeploySchema)
    assert not unknown(config["http_options"], HTTPOptions)
    assert not unknown(config["logging_config"], LoggingConfig)
    for application in config["applications"]:
        assert not unknown(application, ServeApplicationSchema)
        for deployment in application["deployments"]:
            assert not unknown(deployment, DeploymentSchema)
            assert not unknown(deployment["ray_actor_options"], RayActorOptionsSchema)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_builders_take_its_arguments(overlay: str):
    """Those of `deployments/apps.py`, whose settings refuse what they do not know."""
    for application in serve_config(golden(overlay))["applications"]:
        assert settings_of(application)


def test_it_names_the_deployments_that_the_builders_make():
    """An override of a deployment that is not there fails when the application is deployed. One of each kind."""
    of_each_kind = {each.application["import_path"]: each for each in Cluster(golden("prod")).deployments}
    for deployment in of_each_kind.values():
        _, _, name = deployment.name.partition("/")
        assert builder_of(deployment.application)(settings_of(deployment.application))._bound_deployment.name == name


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_finds_every_model(overlay: str):
    """By the names of their applications; and the ledger knows every price."""
    applications = {each["name"]: each for each in serve_config(golden(overlay))["applications"]}
    served = {f"model-{name}" for name in applications["gateway"]["args"]["models"]}
    assert served == {name for name in applications if name.startswith("model-")}
    (writer,) = applications["ledger"]["deployments"]
    priced = [price.model for price in Prices.model_validate(writer["user_config"]).prices]
    assert priced == applications["gateway"]["args"]["models"]
