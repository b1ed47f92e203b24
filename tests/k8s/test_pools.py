"""Which models a fleet serves, and which pools they need."""

import pytest

from catalog import CardError, Catalog
from deployments.kubernetes.pools import Pool, choose, pools_of
from tests.k8s.fleets import CARDS, card, catalog, fleet


def names(models: Catalog) -> set[str]:
    return {each.served_name for each in models}


def test_every_means_what_may_be_hosted_and_has_an_image_and_machines():
    """The others are named, with what to do about each."""
    chosen, left_out = choose(fleet(), CARDS)
    assert "qwen2.5-vl-7b-instruct" in names(chosen)
    reasons = {reason.partition(":")[0]: reason for reason in left_out}
    assert names(chosen) | reasons.keys() == names(CARDS)
    assert "does not allow a paid hosted API" in reasons["qwen2.5-vl-3b-instruct"]
    assert "no image of vllm 0.23.0" in reasons["qwen-vl-chat"]
    assert "the fleet has no cpu" in reasons["demo-qwen2-vl"]


def test_every_less_some():
    """By any of a model's names."""
    chosen, left_out = choose(fleet(without=["llava-hf/llava-1.5-7b-hf"]), CARDS)
    assert "llava-1.5-7b-hf" not in names(chosen)
    assert "llava-1.5-7b-hf: left out by `without`" in left_out


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"models": ["qwen2.5-vl-3b-instruct"]}, "licence_accepted"),
        ({"models": ["qwen-vl-chat"]}, "no image of vllm 0.23.0"),
        ({"models": ["demo-qwen2-vl"]}, "no cpu"),
        ({"models": ["gpt-5"]}, "no card is named 'gpt-5'"),
        ({"without": ["gpt-5"]}, "no card is named 'gpt-5'"),
    ],
)
def test_a_model_that_is_named_and_cannot_be_served_is_refused(changes: dict, fault: str):
    """Before anything is written."""
    with pytest.raises(CardError, match=fault):
        choose(fleet(**changes), CARDS)


def test_a_licence_can_be_accepted():
    """As in serve.yaml."""
    chosen, _ = choose(fleet(models=["qwen2.5-vl-3b-instruct"], licence_accepted=["qwen2.5-vl-3b-instruct"]), CARDS)
    assert names(chosen) == {"qwen2.5-vl-3b-instruct"}


def scaled(name: str, most: int, count: int = 1, least: int = 1):
    scaling = {"replicas_min": least, "replicas_max": most}
    return card(name, autoscaling=scaling, accelerators={"count": count})


def test_models_of_one_engine_and_accelerator_share_a_pool():
    """It has room for all that each may want."""
    models = catalog(scaled("qwen2-vl-2b-instruct", 3), scaled("smolvlm2-2.2b-instruct", 2))
    assert pools_of(fleet(), models) == [Pool("vllm", "L4", 1, 5)]


def test_a_replica_over_two_accelerators_has_a_pool_of_its_own():
    """Its pods are twice as large."""
    models = catalog(scaled("qwen2-vl-2b-instruct", 3), scaled("smolvlm2-2.2b-instruct", 2, count=2))
    assert [pool.name for pool in pools_of(fleet(), models)] == ["vllm-l4", "vllm-l4-x2"]


def test_no_pool_is_larger_than_the_fleet_may_be():
    """24 accelerators are 12 replicas over two."""
    assert pools_of(fleet(), [scaled("qwen2-vl-2b-instruct", 100, count=2)]) == [Pool("vllm", "L4", 2, 12)]


def test_what_always_runs_must_have_room():
    """A fleet that can never be complete is refused."""
    with pytest.raises(CardError, match=r"always run on 26, and accelerators\.L4\.accelerators_max is 24"):
        pools_of(fleet(), [scaled("qwen2-vl-2b-instruct", 26, least=26)])
