import pytest

from autoscaling.pool import DoesNotFit
from catalog import Catalog, load_catalog
from deployments.scaling.members import members_of, pool_of

CATALOG = load_catalog()
MODELS = ("qwen2-vl-2b-instruct", "demo-qwen2-vl")
SOME = Catalog(card for card in CATALOG if card.served_name in MODELS)
GPU = next(card for card in SOME if card.accelerators.count)


def test_a_model_s_replica_costs_what_its_card_says():
    by_name = {member.model: member for member in members_of(SOME, {GPU.served_name: 3.0})}
    member = by_name[GPU.served_name]
    assert (member.offer.gpu, member.offer.gpus) == (GPU.accelerators.kind, GPU.accelerators.count)
    assert member.offer.hourly_nano_usd == GPU.accelerators.rent_nano_per_hour
    assert (member.priority, by_name["demo-qwen2-vl"].priority) == (3.0, 1.0)


def test_a_replica_on_cpus_counts_as_one():
    (demo,) = members_of(Catalog([CATALOG.find("demo-qwen2-vl")]), {})
    assert (demo.offer.gpu, demo.offer.gpus) == ("cpu", 1)


def test_without_bounds_there_is_no_pool():
    assert pool_of(SOME, {}, None) is None


def test_a_ceiling_alone_bounds_no_gpus():
    pool = pool_of(SOME, {}, 100.5)
    assert pool.hourly_nano_usd == 100_500_000_000
    assert min(pool.gpus.values()) > 1_000_000


@pytest.mark.parametrize(("gpus", "ceiling"), [({"cpu": 1}, None), ({}, 0.000001)])
def test_floors_that_cannot_hold_together_are_refused_when_the_application_is_built(gpus, ceiling):
    with pytest.raises(DoesNotFit):
        pool_of(SOME, gpus, ceiling)
