"""The composition root: what `serve.yaml` names. Here, and only here, are settings turned into running parts.

No `from __future__ import annotations`: Serve reads the builders' annotations to validate their arguments.
"""

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig

from autoscaling.config import Config
from catalog import Catalog, ModelCard
from catalog.licence import check_licence
from catalog.memory import check_memory
from catalog.revision import Concern
from deployments.batches.deployment import OWN_APP, BatchWorker
from deployments.cards import cards_of
from deployments.engines.door import DOOR, Door, engine_name
from deployments.engines.environment import find_environment
from deployments.engines.replica import Engine
from deployments.files.quota import QUOTA, Quota
from deployments.gateway.affinity_router import AffinityRouter
from deployments.gateway.arrivals import ArrivalLimits
from deployments.gateway.cors import ALL_ORIGINS
from deployments.gateway.gateway import Gateway, Neighbours
from deployments.gateway.life import ChatLimits
from deployments.gateway.media.fetch import FetchLimits
from deployments.gateway.media.media import MediaLimits
from deployments.ledger.client import LedgerClient
from deployments.ledger.writer import LedgerWriter
from deployments.log import logger_for
from deployments.pricing import price_of
from deployments.scaling.governor import Keeper
from deployments.scaling.members import members_of, pool_of

logger = logger_for(__name__)

CHECKOUT = Path(__file__).parent.parent
LEDGER_APP = "ledger"
POLICY = "deployments.scaling.policy:ScalingPolicy"

# A gateway waits for engines, so it holds many requests at once; an engine's slots are what its batch has room for.
GATEWAY_ONGOING_MAX = 1000
HEALTH_EVERY_S = 2
# Longer than the longest answer: a replica that is drained finishes what it streams.
DRAIN_S = 660


def _words(value: object) -> object:
    """`serve run` hands every argument over as text: "a,b" is a list of two."""
    return value.split(",") if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_words)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Places(_Settings):
    """Where things lie on each node. Relative paths start at the checkout. `revision` is that of the cards, see `cards.py`."""

    home: Path = Path(os.environ.get("VLMFLEET_HOME", ".vlmfleet"))
    engines: Path = Path(os.environ.get("VLMFLEET_ENGINES", ".venvs"))
    cards: Path = Path(os.environ.get("VLMFLEET_CARDS", "catalog/cards"))
    # What is uploaded, and batches: `s3://bucket/prefix`, or a folder; if empty, one in `home`.
    files: str = os.environ.get("VLMFLEET_FILES", "")
    revision: str = ""

    @property
    def state(self) -> Path:
        return CHECKOUT / self.home

    @property
    def objects(self) -> str:
        """Where files and batches lie."""
        return self.files or str(self.state / "files")

    def pick(self, names: list[str], concern: Concern = Concern.GATEWAY) -> Catalog:
        """The cards of these models. Raises `CardError`."""
        return cards_of(CHECKOUT / self.cards, names, self.revision, concern)


class LedgerSettings(Places):
    """`store` is a `postgresql://` URL, or empty: a SQLite file in `home`. It holds a password, so the environment is a
    better place for it than a file. `writers` above 1 need PostgreSQL. `models` are those whose prices it learns at its start;
    others come by `user_config`, without a new start (`ledger/writer.py`).
    """

    models: Names = []
    store: str = os.environ.get("VLMFLEET_STORE", "")
    writers: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _one_writer_of_a_file(self) -> Self:
        if self.writers > 1 and not self.store:
            raise ValueError("a SQLite ledger has one writer; set `store` to a postgresql:// URL for more")
        return self


class Hosting(Places):
    """`licence_accepted` names models that may start although their licence forbids a paid hosted API."""

    licence_accepted: Names = []


class EngineSettings(Hosting):
    model: str


class BatchSettings(Places):
    """`gateway`: the application that answers the lines."""

    models: Names
    gateway: str = "gateway"


class ScalingSettings(Places):
    """`gpus`: how many of each kind the models share, empty for no bound; `usd_per_hour_max` is a ceiling on what runs.
    Models with a higher priority (1 is usual) get theirs first.

    `late_start_s`: a replica idles so long rather than have one request wait for a start; `watch_s`: nothing is given back
    before the governor has watched so long.
    """

    models: Names
    gpus: dict[str, Annotated[int, Field(ge=0)]] = {}
    usd_per_hour_max: Annotated[float, Field(gt=0)] | None = None
    priorities: dict[str, Annotated[float, Field(gt=0)]] = {}
    late_start_s: Annotated[float, Field(ge=0)] = Config().late_price_s
    watch_s: Annotated[float, Field(ge=0)] = Config().warm_s


class GatewaySettings(Hosting):
    """`together: true` puts ledger and engines into the gateway's own application, for `serve run` without a file."""

    models: Names
    together: bool = False
    body_bytes_max: int = ChatLimits().body_bytes_max
    bodies_bytes_max: Annotated[int, Field(gt=0)] = ArrivalLimits().bytes_max
    # Serve itself cuts a request at `request_timeout_s` of serve.yaml, which must be above.
    deadline_s: Annotated[float, Field(gt=0, le=600)] = ChatLimits().deadline_s
    fetch_networks_allowed: Names = []
    # Buckets that a request may name as `s3://bucket/key`; every key may read all that is in them.
    media_buckets_allowed: Names = []
    media_cache_bytes_max: Annotated[int, Field(ge=0)] = MediaLimits().cache_bytes_max
    # Of each project: bytes of its files, and their number.
    project_files_bytes_max: Annotated[int, Field(gt=0)] = QUOTA.bytes_max
    project_files_max: Annotated[int, Field(gt=0, le=100_000)] = QUOTA.files_max
    # Origins whose web pages may call, such as `https://app.example.org`; `*` for all.
    cors_origins_allowed: Names = list(ALL_ORIGINS.allowed)
    # A line in the log for each request.
    request_log: bool = True

    @model_validator(mode="after")
    def _room_for_a_body(self) -> Self:
        if self.bodies_bytes_max < 2 * self.body_bytes_max:
            raise ValueError(
                "`bodies_bytes_max` is at least twice `body_bytes_max`: a project may have three quarters of it"
            )
        return self


def ledger(settings: LedgerSettings) -> Application:
    """The application `ledger`: the one writer of the embedded store."""
    return _ledger(settings, settings.pick(settings.models))


def engine(settings: EngineSettings) -> Application:
    """The application `model-<served name>`: the replicas of one model."""
    (card,) = settings.pick([settings.model], Concern.ENGINE)
    door = serve.deployment(name=DOOR, ray_actor_options={"num_cpus": 0})(Door)
    return door.bind(_engine(settings, card, LEDGER_APP))


def gateway(settings: GatewaySettings) -> Application:
    """The application `gateway`: the ingress."""
    return gateway_over(LedgerClient, settings)


def batches(settings: BatchSettings) -> Application:
    """The application `batches`: the one worker of the Batch API."""
    return _batches(settings, settings.pick(settings.models), settings.gateway)


def scaling(settings: ScalingSettings) -> Application:
    """The application `scaling`: who decides how many replicas each model has. Raises `DoesNotFit`."""
    catalog = settings.pick(settings.models)
    deployment = serve.deployment(name="Keeper", ray_actor_options={"num_cpus": 0.1})(Keeper)
    return deployment.bind(
        members_of(catalog, settings.priorities),
        pool_of(catalog, settings.gpus, settings.usd_per_hour_max),
        Config(late_price_s=settings.late_start_s, warm_s=settings.watch_s),
        settings.state / "scaling.jsonl",
    )


def gateway_over(client: type[LedgerClient], settings: GatewaySettings) -> Application:
    """The ingress with its own kind of connection to the ledger: the benchmark has one that leaves accounting out."""
    catalog = settings.pick(settings.models)
    neighbours = _together(settings, catalog) if settings.together else _apart(catalog)
    deployment = serve.deployment(
        name="Gateway",
        max_ongoing_requests=GATEWAY_ONGOING_MAX,
        graceful_shutdown_timeout_s=DRAIN_S,
        ray_actor_options={"num_cpus": 0.25},
    )(Gateway)
    return deployment.bind(
        catalog,
        [price_of(card) for card in catalog],
        neighbours,
        client,
        ChatLimits(
            settings.body_bytes_max,
            settings.deadline_s,
            ArrivalLimits(GATEWAY_ONGOING_MAX, settings.bodies_bytes_max),
        ),
        FetchLimits(allowed_networks=tuple(settings.fetch_networks_allowed)),
        settings.objects,
        tuple(settings.media_buckets_allowed),
        MediaLimits(cache_bytes_max=settings.media_cache_bytes_max),
        logs_requests=settings.request_log,
        quota=Quota(settings.project_files_bytes_max, settings.project_files_max),
        origins=tuple(settings.cors_origins_allowed),
    )


def engine_app_name(card: ModelCard) -> str:
    return f"model-{card.served_name}"


def _ledger(settings: LedgerSettings, catalog: Catalog) -> Application:
    deployment = serve.deployment(
        name="LedgerWriter", num_replicas=settings.writers, ray_actor_options={"num_cpus": 0.1}
    )(LedgerWriter)
    prices = [price_of(card) for card in catalog]
    return deployment.bind(settings.store or str(settings.state / "ledger.db"), settings.state, prices)


def _batches(places: Places, catalog: Catalog, gateway: str) -> Application:
    deployment = serve.deployment(name="BatchWorker", ray_actor_options={"num_cpus": 0.1})(BatchWorker)
    return deployment.bind(catalog, places.objects, gateway)


def _engine(hosting: Hosting, card: ModelCard, ledger: Application | str) -> Application:
    """Raises `CardError` for a card that cannot be served, before anything is downloaded or a GPU is taken."""
    check_licence(card, hosting.licence_accepted)
    check_memory(card)
    if card.licence.hosted_api == "no":
        logger.warning("%s starts by licence_accepted: %s", card.served_name, "; ".join(card.licence.conditions))
    folder = CHECKOUT / hosting.engines
    scaling = card.autoscaling
    deployment = serve.deployment(
        name=engine_name(card),
        max_ongoing_requests=card.engine.sequences_max,
        graceful_shutdown_timeout_s=DRAIN_S,
        health_check_period_s=HEALTH_EVERY_S,
        ray_actor_options={"num_cpus": 0.5, "num_gpus": _gpus(card, folder)},
        autoscaling_config=AutoscalingConfig(
            min_replicas=scaling.replicas_min,
            max_replicas=scaling.replicas_max,
            target_ongoing_requests=scaling.ongoing_requests_target,
            # When to go up and down is the policy's business alone.
            upscale_delay_s=0,
            downscale_delay_s=0,
            metrics_interval_s=1,
            look_back_period_s=5,
            policy=AutoscalingPolicy(policy_function=POLICY, policy_kwargs={"model": card.served_name}),
        ),
        request_router_config=RequestRouterConfig(request_router_class=AffinityRouter),
    )(Engine)
    return deployment.bind(card, folder, CHECKOUT, hosting.state / "weights", ledger)


def _gpus(card: ModelCard, engines: Path) -> int:
    """A card for CPUs takes a GPU all the same where its engine's environment is the GPU build."""
    if card.accelerators.count or not engines.is_dir():  # a cluster's builder may be a machine without engines
        return card.accelerators.count
    return int(find_environment(engines, card.engine.name, card.engine.version).build == "gpu")


def _apart(catalog: Catalog) -> Neighbours:
    return Neighbours(LEDGER_APP, {card.served_name: engine_app_name(card) for card in catalog})


def _together(hosting: Hosting, catalog: Catalog) -> Neighbours:
    ledger = _ledger(LedgerSettings(home=hosting.home, models=[]), catalog)
    engines = {card.served_name: _engine(hosting, card, ledger) for card in catalog}
    return Neighbours(ledger, engines, _batches(hosting, catalog, OWN_APP), scaled=False)
