"""Each model's replicas start pods of its own group, as many as may be, and a typo starts none."""

from functools import cache

import pytest

from catalog import load_catalog
from deployments.kubernetes.pools import pool_of
from tests.k8s.autoscaler import Autoscaler
from tests.k8s.cluster import Cluster, Deployment
from tests.k8s.manifests import OVERLAYS, golden

CATALOG = load_catalog()


@cache
def cluster(overlay: str) -> Cluster:
    return Cluster(golden(overlay))


def engines(overlay: str) -> list[Deployment]:
    """Those behind a model's door; the door itself is beside the gateways."""
    return [each for each in cluster(overlay).deployments if "/Engine-" in each.name]


def model(deployment: Deployment):
    card = CATALOG.find(deployment.application["args"]["model"])
    assert card
    return card


ENGINES = [
    pytest.param(overlay, each, id=f"{overlay}-{each.name}") for overlay in OVERLAYS for each in engines(overlay)
]


@pytest.mark.parametrize(("overlay", "engine"), ENGINES)
def test_a_replica_starts_one_pod_of_its_models_pool(overlay: str, engine: Deployment):
    """Spot first, where there is."""
    autoscaler = Autoscaler(cluster(overlay))
    spot = "-spot" if overlay == "spot" else ""
    started = autoscaler.start([(engine, 1)])
    assert started.pods == autoscaler.minimum | {f"{pool_of(model(engine))}{spot}": 1}
    assert not started.infeasible


@pytest.mark.parametrize("engine", engines("spot"), ids=lambda each: each.name)
def test_without_spot_machines_a_replica_starts_an_on_demand_pod(engine: Deployment):
    """The second choice of the deployment is the autoscaler's, too."""
    gone = [group.name for group in cluster("spot").workers if group.name.endswith("-spot")]
    autoscaler = Autoscaler(cluster("spot"), without=gone)
    started = autoscaler.start([(engine, 1)])
    assert started.pods == autoscaler.minimum | {pool_of(model(engine)): 1}


@pytest.mark.parametrize(("overlay", "engine"), ENGINES)
def test_a_misspelt_selector_is_infeasible_and_not_silent(overlay: str, engine: Deployment):
    """Nothing is rented for it, and the autoscaler says so."""
    autoscaler = Autoscaler(cluster(overlay))
    typo = [{label: f"{value}-" for label, value in selector.items()} for selector in engine.selectors]
    started = autoscaler.start([(engine, 1)], typo)
    assert started.infeasible == 1
    assert started.pods == autoscaler.minimum


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_always_runs_has_room(overlay: str):
    """Gateways, ledger and every model's least replicas at once, within what may be rented."""
    demands = [
        (each, model(each).autoscaling.replicas_min if each.name.startswith("model-") else always(each))
        for each in cluster(overlay).deployments
    ]
    started = Autoscaler(cluster(overlay)).start(demands)
    assert not started.infeasible
    for deployment, count in demands:
        if deployment.name.startswith("model-"):
            pods = sum(
                started.pods.get(group.name, 0) for s in deployment.selectors for group in cluster(overlay).hosts(s)
            )
            assert pods >= count, deployment.name


def always(deployment: Deployment) -> int:
    return deployment.spec.get("num_replicas", deployment.application["args"].get("writers", 1))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_demand_rents_more_than_the_fleet_may_occupy(overlay: str):
    """However many replicas are asked for."""
    started = Autoscaler(cluster(overlay)).start([(engine, 1000) for engine in engines(overlay)])
    for group in cluster(overlay).workers:
        assert started.pods.get(group.name, 0) <= group.spec["maxReplicas"]
    assert started.infeasible
