"""Which pools of machines a fleet's models need. A pool is what an engine asks for: engine, accelerator, how many."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from catalog import CardError, Catalog, ModelCard
from catalog.licence import check_licence
from catalog.memory import check_memory
from deployments.engines.environment import environment_name
from deployments.kubernetes.fleet import Fleet

CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Pool:
    """Pods that each hold one replica. `engine` names its environment; `replicas_max` is what its models may want, within
    what the fleet may occupy.
    """

    engine: str
    kind: str
    accelerators: int
    replicas_max: int

    @property
    def name(self) -> str:
        """The value of the label `vlmfleet.dev/pool`, and the worker group's name."""
        return pool_name(self.engine, self.kind, self.accelerators)


def pool_name(engine: str, kind: str, accelerators: int) -> str:
    """`vllm-l4`; `vllm-a100-80-x2` for replicas over two."""
    several = f"-x{accelerators}" if accelerators > 1 else ""
    return re.sub(r"[^a-z0-9-]", "-", f"{engine}-{kind}{several}".lower())


def pool_of(card: ModelCard) -> str:
    return pool_name(engine_of(card), card.accelerators.kind, card.accelerators.count)


def engine_of(card: ModelCard) -> str:
    """The name of the environment that the card's engine needs, and of the fleet's image with it."""
    return environment_name(card.engine.name, card.engine.version)


def choose(fleet: Fleet, catalog: Catalog) -> tuple[Catalog, list[str]]:
    """The fleet's models, and for `every` why each of the others is not one.

    Raises `CardError` for a model that is named and cannot be served.
    """
    if fleet.models != "every":
        chosen = catalog.pick(fleet.models)
        for card in chosen:
            _check(fleet, card)
        return chosen, []
    unwanted = {card.served_name for card in catalog.pick(fleet.without)}
    chosen_names, reasons = [], []
    for card in catalog:
        try:
            _check(fleet, card)
        except CardError as error:
            reasons.append(str(error))
            continue
        if card.served_name in unwanted:
            reasons.append(f"{card.served_name}: left out by `without`")
        else:
            chosen_names.append(card.served_name)
    return catalog.pick(chosen_names), reasons


def pools_of(fleet: Fleet, cards: Iterable[ModelCard]) -> list[Pool]:
    """The pools of these models, by name. A kind's accelerators are shared out among its pools by what they may want.

    Raises `CardError` where the machines cannot hold what must always run.
    """
    models: dict[str, list[ModelCard]] = defaultdict(list)
    for card in cards:
        models[pool_of(card)].append(card)
    pools = [_pool(fleet, models[name]) for name in sorted(models)]
    _check_budget(fleet, [card for name in models for card in models[name]])
    return pools


def _pool(fleet: Fleet, models: list[ModelCard]) -> Pool:
    first = models[0]
    kind, count = first.accelerators.kind, first.accelerators.count
    wanted = sum(card.autoscaling.replicas_max for card in models)
    most = fleet.accelerators[kind].accelerators_max // max(1, count)
    return Pool(engine_of(first), kind, count, min(wanted, most))


def _check_budget(fleet: Fleet, cards: list[ModelCard]) -> None:
    for kind, machine in fleet.accelerators.items():
        always = sum(
            card.autoscaling.replicas_min * max(1, card.accelerators.count)
            for card in cards
            if card.accelerators.kind == kind
        )
        if always > machine.accelerators_max:
            raise CardError(
                f"the models on {kind} always run on {always}, and accelerators.{kind}.accelerators_max is "
                f"{machine.accelerators_max}; raise it, or leave models out"
            )


def _check(fleet: Fleet, card: ModelCard) -> None:
    """Raise `CardError` for a model that this fleet cannot serve."""
    check_licence(card, fleet.licence_accepted)
    check_memory(card)
    image = fleet.images.get(engine_of(card))
    if image is None or image.version != card.engine.version:
        raise CardError(
            f"{card.served_name}: the fleet has no image of {card.engine.name} {card.engine.version}; add it to `images`"
        )
    if card.accelerators.kind not in fleet.accelerators:
        raise CardError(
            f"{card.served_name}: the fleet has no {card.accelerators.kind}; add it to `accelerators`, with a node pool"
        )
