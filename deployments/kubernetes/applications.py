"""The Serve config of a fleet: the same applications as in `serve.yaml`, each placed on its pool."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from catalog import Catalog, ModelCard
from catalog.revision import Concern
from deployments.engines.door import DOOR, engine_name
from deployments.kubernetes.fleet import Fleet
from deployments.kubernetes.labels import GATEWAY_POOL, MARKET, ON_DEMAND, POOL, SPOT
from deployments.kubernetes.pools import pool_of
from deployments.pricing import price_of

# A writer of the ledger, and the worker of the batches: they wait more than they compute.
WORKER_CPUS = 0.25

Config = dict[str, Any]
Revision = Callable[[list[str], Concern], str]


def serve_config(fleet: Fleet, models: Catalog, revision: Revision) -> Config:
    """What `serve deploy`, `serve run` and KubeRay take. Each application has the revision of what it reads of the cards, for
    Serve replaces nothing whose arguments stay the same. Pure.
    """
    names = [card.served_name for card in models]
    all_cards = {"models": names, "revision": revision(names, Concern.GATEWAY)}
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": 8000, "request_timeout_s": fleet.drain_s},  # noqa: S104  # a pod's own
        "logging_config": {"encoding": "JSON", "enable_access_log": False},
        "applications": [
            _ledger(fleet, models),
            *(_engine(fleet, card, revision([card.served_name], Concern.ENGINE)) for card in models),
            _gateway(fleet, all_cards),
            _batches(fleet, all_cards),
            _scaling(fleet, all_cards),
        ],
    }


def _ledger(fleet: Fleet, models: Catalog) -> Config:
    """Prices are told to the writers that run: a model that is added stops no payment."""
    deployment = {
        "name": "LedgerWriter",
        "ray_actor_options": _beside_gateways(WORKER_CPUS),
        "user_config": {"prices": [asdict(price_of(card)) for card in models]},
    }
    return _application("ledger", "ledger", {"writers": fleet.ledger_writers}, deployment)


def _engine(fleet: Fleet, card: ModelCard, revision: str) -> Config:
    arguments: Config = {"model": card.served_name, "revision": revision}
    if not card.names.isdisjoint(fleet.licence_accepted):
        arguments["licence_accepted"] = [card.served_name]
    return _application(
        f"model-{card.served_name}",
        "engine",
        arguments,
        {
            "name": engine_name(card),
            "graceful_shutdown_timeout_s": fleet.drain_s,
            "ray_actor_options": _on_its_pool(fleet, card),
        },
        {"name": DOOR, "ray_actor_options": _beside_gateways(0)},
    )


def _gateway(fleet: Fleet, cards: Config) -> Config:
    gateway = fleet.gateway
    deployment = {
        "name": "Gateway",
        "num_replicas": gateway.replicas,
        "max_replicas_per_node": gateway.replicas_per_node_max,
        "max_surge_percent": 50,
        "graceful_shutdown_timeout_s": fleet.drain_s,
        "ray_actor_options": _beside_gateways(gateway.cpus),
    }
    arguments = {**cards, "deadline_s": fleet.deadline_s, **_files(fleet)}
    return _application("gateway", "gateway", arguments, deployment, route_prefix="/")


def _batches(fleet: Fleet, cards: Config) -> Config:
    deployment = {"name": "BatchWorker", "ray_actor_options": _beside_gateways(WORKER_CPUS)}
    return _application("batches", "batches", {**cards, **_files(fleet)}, deployment)


def _scaling(fleet: Fleet, cards: Config) -> Config:
    deployment = {"name": "Keeper", "ray_actor_options": _beside_gateways(WORKER_CPUS)}
    arguments: Config = {**cards, "gpus": {kind: each.accelerators_max for kind, each in fleet.accelerators.items()}}
    if fleet.usd_per_hour_max is not None:
        arguments["usd_per_hour_max"] = fleet.usd_per_hour_max
    if fleet.priorities:
        arguments["priorities"] = dict(fleet.priorities)
    return _application("scaling", "scaling", arguments, deployment)


def _files(fleet: Fleet) -> Config:
    return {"files": fleet.files} if fleet.files else {}


def _application(
    name: str, builder: str, arguments: Config, *deployments: Config, route_prefix: str | None = None
) -> Config:
    return {
        "name": name,
        "route_prefix": route_prefix,
        "import_path": f"deployments.apps:{builder}",
        "args": arguments,
        "deployments": list(deployments),
    }


def _beside_gateways(cpus: float) -> Config:
    return {"num_cpus": cpus, "label_selector": {POOL: GATEWAY_POOL}}


def _on_its_pool(fleet: Fleet, card: ModelCard) -> Config:
    """A replica takes its pod whole, so Ray never puts two into one."""
    count = card.accelerators.count
    options: Config = {"num_cpus": fleet.accelerators[card.accelerators.kind].cpus * max(1, count), "num_gpus": count}
    pool = {POOL: pool_of(card)}
    if not (fleet.spot and count):
        return options | {"label_selector": pool}
    return options | {
        "label_selector": pool | {MARKET: SPOT},
        "fallback_strategy": [{"label_selector": pool | {MARKET: ON_DEMAND}}],
    }
